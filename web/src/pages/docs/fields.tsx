import { useSignal } from '@preact/signals'
import { objectsOf, type Schema, typeOf } from '../../server/openapi.ts'

/** The fields of an object, each with its type and what it means. */
export const Fields = ({ schema }: { schema: Schema }) => (
  <dl class="fields">
    {Object.entries(schema.properties ?? {}).map(([name, inner]) => (
      <div key={name}>
        <dt>
          <code>{name}</code>
          {schema.required?.includes(name) ? <span class="small dim"> required</span> : null}
        </dt>
        <dd>
          <code class="dim">{typeOf(inner)}</code>
          {inner.description ? <p>{withCode(inner.description)}</p> : null}
          <Inner schemas={objectsOf(inner)} />
        </dd>
      </div>
    ))}
  </dl>
)

/** A description, in which code stands between backticks. */
const withCode = (text: string) =>
  text.split('`').map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))

/** The objects of a field. They are drawn when they are unfolded: some schemas are deep. */
function Inner({ schemas }: { schemas: readonly Schema[] }) {
  const open = useSignal(false)
  if (schemas.length === 0) return null
  return (
    <details
      onToggle={(event) => {
        open.value = event.currentTarget.open
      }}
    >
      <summary class="small">{schemas.length === 1 ? 'Fields' : `One of ${schemas.length} forms`}</summary>
      {open.value ? schemas.map((schema, index) => <Fields key={nameOf(schema, index)} schema={schema} />) : null}
    </details>
  )
}

/** What an object of several forms is called. */
export const nameOf = ({ properties }: Schema, index: number): string =>
  String(properties?.object?.const ?? properties?.type?.const ?? `form ${index + 1}`)
