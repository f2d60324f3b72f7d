import './docs.css'
import { useSignal } from '@preact/signals'
import { Fragment } from 'preact'
import { useEffect } from 'preact/hooks'
import { get, keyWanted, ServerError } from '../../server/client.ts'
import { type Endpoint, objectsOf, readReference, reference } from '../../server/openapi.ts'
import { Refused } from '../../ui/refused.tsx'
import { Fields, nameOf } from './fields.tsx'
import { TryIt } from './try-it.tsx'

/** The API: every endpoint with its fields, and a form to try it. */
export default function Page() {
  const failure = useSignal<ServerError | undefined>(undefined)
  const model = useSignal('pocket')
  const chosen = useSignal(location.hash.slice(1))
  const read = (): void => {
    failure.value = undefined
    readReference().catch((error: unknown) => {
      failure.value = error instanceof ServerError ? error : new ServerError(String(error), 0)
    })
    get<{ data: readonly { id: string }[] }>('/v1/models').then(
      ({ data }) => {
        model.value = data[0]?.id ?? model.value
      },
      () => {},
    )
  }
  useEffect(() => {
    read()
    const follow = (): void => {
      const named = location.hash.slice(1)
      // “Skip to the content” leads to no endpoint: the one that is shown stays.
      if (named === '' || endpoints().some(({ operationId }) => operationId === named)) chosen.value = named
    }
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  // The reference is for everybody; to try it, this server may want a key.
  const error = failure.value ?? (keyWanted.value ? new ServerError('This server needs a key.', 401) : undefined)
  const groups = reference.value?.groups
  const all = endpoints()
  const endpoint = all.find(({ operationId }) => operationId === chosen.value) ?? all[0]
  return (
    <div class="page docs">
      <header>
        <h1>API</h1>
        <p class="dim small">
          {reference.value === undefined ? '' : `Oriel ${reference.value.version} · `}
          <a href="/openapi.json">openapi.json</a>
        </p>
      </header>
      {error === undefined ? null : <Refused error={error} again={read} />}
      {endpoint === undefined && error === undefined ? <div class="card waiting" aria-busy="true" /> : null}
      {endpoint === undefined ? null : (
        <div class="docs-columns">
          <Index groups={groups ?? new Map()} chosen={endpoint} />
          <Reference endpoint={endpoint} model={model.value} />
        </div>
      )}
    </div>
  )
}

const endpoints = (): readonly Endpoint[] => [...(reference.value?.groups.values() ?? [])].flat()

interface IndexProps {
  groups: ReadonlyMap<string, readonly Endpoint[]>
  chosen: Endpoint
}

/** A list beside the endpoint; on a phone, where the endpoint comes first, a field to choose one. */
const Index = ({ groups, chosen }: IndexProps) => (
  <>
    <nav class="docs-index" aria-label="Endpoints">
      {[...groups].map(([tag, endpoints]) => (
        <div key={tag}>
          <h2>{tag}</h2>
          {endpoints.map((endpoint) => (
            <a
              key={endpoint.operationId}
              href={`#${endpoint.operationId}`}
              {...(endpoint === chosen ? { 'aria-current': 'page' as const } : {})}
            >
              <span class="method">{endpoint.method}</span>
              <span>
                <Path path={endpoint.path} />
              </span>
            </a>
          ))}
        </div>
      ))}
    </nav>
    <label class="docs-choice field">
      <span>Endpoint</span>
      <select
        class="input"
        onChange={(event) => {
          location.hash = event.currentTarget.value
        }}
      >
        {[...groups].map(([tag, endpoints]) => (
          <optgroup key={tag} label={tag}>
            {endpoints.map(({ operationId, method, path }) => (
              <option key={operationId} value={operationId} selected={operationId === chosen.operationId}>
                {method} {path}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
    </label>
  </>
)

/** A path that breaks behind a slash, not within a word. */
const Path = ({ path }: { path: string }) =>
  path.split(/(?<=[^/]\/)/).map((part, at) => (
    <Fragment key={part}>
      {at > 0 && <wbr />}
      {part}
    </Fragment>
  ))

function Reference({ endpoint, model }: { endpoint: Endpoint; model: string }) {
  const { method, path, summary, parameters = [], requestBody, responses } = endpoint
  const [[type, { schema }] = ['application/json', { schema: undefined }]] = Object.entries(requestBody?.content ?? {})
  const content = Object.entries(responses[200]?.content ?? {})
  const failures = Object.entries(responses).filter(([status]) => !status.startsWith('2'))
  const named = Object.fromEntries(parameters.map(({ name, schema, ...one }) => [name, { ...schema, ...one }]))
  return (
    <article class="endpoint" key={endpoint.operationId}>
      <h2 class="mono">
        <span class="method">{method}</span> <Path path={path} />
      </h2>
      <p>{summary}.</p>
      {type === 'application/json' ? <TryIt endpoint={endpoint} model={model} /> : null}
      {parameters.length === 0 ? null : (
        <>
          <h3>Parameters</h3>
          <Fields schema={{ properties: named }} />
        </>
      )}
      {schema === undefined ? null : (
        <>
          <h3>{type === 'application/json' ? 'Request' : 'Request, as a form'}</h3>
          <Fields schema={schema} />
        </>
      )}
      {content.map(([type, { schema: answer }]) => (
        <div key={type}>
          <h3>{type === 'application/json' ? 'Answer' : type === 'text/csv' ? 'As CSV' : 'Events of the stream'}</h3>
          {objectsOf(answer).map((one, index) => (
            <details key={nameOf(one, index)}>
              <summary class="mono">{nameOf(one, index)}</summary>
              <Fields schema={one} />
            </details>
          ))}
        </div>
      ))}
      <h3>Errors</h3>
      <ul class="errors">
        {failures.map(([status, { description }]) => (
          <li key={status}>
            <code>{status}</code> {description.replaceAll('_', ' ')}
          </li>
        ))}
      </ul>
    </article>
  )
}
