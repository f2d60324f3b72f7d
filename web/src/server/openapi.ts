import { signal } from '@preact/signals'
import { get } from './client.ts'

/** A JSON Schema, as far as the page shows it. */
export interface Schema {
  readonly type?: string | readonly string[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly description?: string
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum?: number
}

interface Content {
  readonly schema: Schema
}

export interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly parameters?: readonly { name: string; description?: string; in: string; schema: Schema }[]
  /** By its type: JSON, or a form. */
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> }
  readonly responses: Readonly<Record<string, { description: string; content?: Readonly<Record<string, Content>> }>>
}

interface Document {
  readonly info: { readonly version: string; readonly description: string }
  readonly servers: readonly Base[]
  readonly paths: Readonly<Record<string, { readonly servers?: readonly Base[] } & Record<string, Operation>>>
}

/** The beginning of URLs, whose errors and defaults are those of one provider. */
export interface Base {
  readonly url: string
  readonly description: string
}

/** An operation with its place. */
export interface Endpoint extends Operation {
  readonly method: string
  readonly path: string
  readonly bases: readonly Base[]
}

/** What the server can do; undefined until it has said so. */
export const reference = signal<{ version: string; groups: ReadonlyMap<string, readonly Endpoint[]> } | undefined>(
  undefined,
)

/** @throws ServerError */
export async function readReference(): Promise<void> {
  const { info, paths, servers: shared } = await get<Document>('/openapi.json')
  const groups = new Map<string, Endpoint[]>()
  for (const [path, { servers, ...methods }] of Object.entries(paths))
    for (const [method, operation] of Object.entries(methods)) {
      const [tag = 'Other'] = operation.tags
      const group = groups.get(tag) ?? []
      groups.set(tag, [...group, { ...operation, method: method.toUpperCase(), path, bases: servers ?? shared }])
    }
  reference.value = { version: info.version, groups }
}

const branchesOf = (schema: Schema): readonly Schema[] => schema.anyOf ?? schema.oneOf ?? [schema]

/** A schema's type in a few words: `integer, ≥ 1 | null`. */
export function typeOf(schema: Schema): string {
  if ('const' in schema) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (schema.anyOf ?? schema.oneOf) return [...new Set(branchesOf(schema).map(typeOf))].join(' | ')
  if (schema.type === 'array') return `${typeOf(schema.items ?? {})}[]`
  const bounds = [
    schema.minimum === undefined ? [] : `≥ ${schema.minimum}`,
    schema.exclusiveMinimum === undefined ? [] : `> ${schema.exclusiveMinimum}`,
    schema.maximum === undefined ? [] : `≤ ${schema.maximum}`,
  ].flat()
  return [[schema.type ?? 'any'].flat().join(' | '), ...bounds].join(', ')
}

/** The objects within a schema, whose fields can be unfolded. */
export function objectsOf(schema: Schema): readonly Schema[] {
  if (schema.anyOf ?? schema.oneOf) return branchesOf(schema).flatMap(objectsOf)
  if (schema.type === 'array') return objectsOf(schema.items ?? {})
  return schema.properties ? [schema] : []
}
