import { setImmediate as nextTurn } from 'node:timers/promises'
import { z } from 'zod'
import type { Dialect, Endpoint } from '../dialects/dialect.ts'
import { bases, openaiDialects } from '../dialects/index.ts'
import { statusesOf } from '../errors.ts'
import { sse } from '../sse.ts'

/**
 * The OpenAPI 3.1 document of the API, made from the schemas that the server uses. An endpoint that several dialects
 * have appears once, with the errors of the first one. Of two that differ and have one path, the second has its base in it.
 * Others have the event loop after each endpoint: all together take 100 ms.
 */
export async function openapiDocument(dialects: readonly Dialect[], version: string): Promise<object> {
  const paths: Record<string, Record<string, unknown>> = {}
  const known = new Map<string, Endpoint>()
  for (const dialect of dialects)
    for (const endpoint of dialect.endpoints) {
      if (endpoint.isHidden) continue
      const method = endpoint.method.toLowerCase()
      const first = known.get(`${method} ${endpoint.path}`) ?? endpoint
      known.set(`${method} ${endpoint.path}`, first)
      const path = first === endpoint ? endpoint.path : `${dialect.bases[0]}${endpoint.path}`
      const described =
        paths[path] ?? (first === endpoint ? serversOf(endpoint, dialects) : { servers: [serverAt('')] })
      described[method] ??= operation({ ...endpoint, path }, dialect)
      paths[path] = described
      await nextTurn()
    }
  const titles = new Intl.ListFormat('en').format(new Set(dialects.map(({ title }) => title)))
  return {
    openapi: '3.1.0',
    info: {
      title: 'Oriel',
      version,
      description: `An inference server for vision-language models that speaks the APIs of ${titles}.`,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: shared.map(serverAt),
    security: [{}, { bearer: [] }, { header: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key. A server without keys takes any, and none.',
        },
        header: { type: 'apiKey', in: 'header', name: 'x-api-key', description: 'The same, as Anthropic has it.' },
      },
    },
  }
}

/** The bases of most endpoints. */
const shared = openaiDialects.flatMap((dialect) => dialect.bases)

/** The bases of an endpoint, if they are not those of most. */
function serversOf(endpoint: Endpoint, dialects: readonly Dialect[]): Record<string, unknown> {
  const own = dialects.filter(({ endpoints }) => endpoints.includes(endpoint))
  const below = own.flatMap((dialect) => dialect.bases)
  return below.toSorted().join() === shared.toSorted().join() ? {} : { servers: below.map(serverAt) }
}

const serverAt = (base: string) => ({
  url: base || '/',
  description: `Errors and defaults of ${bases.get(base)?.title}`,
})

function operation(endpoint: Endpoint, { errors }: Dialect): object {
  const { method, path, tag, summary, body, takes, query } = endpoint
  const bodyType = takes === undefined ? 'application/json' : 'multipart/form-data'
  const error = schemaOf(errors.schema, 'output')
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
  const parameters = [
    ...names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
    ...(query ?? []).map((parameter) => ({ ...parameter, in: 'query', required: false, schema: { type: 'string' } })),
  ]
  return {
    operationId: `${method.toLowerCase()}${path.replace(/\W+(\w)/g, (_, letter: string) => letter.toUpperCase()).replace(/\W/g, '')}`,
    tags: [tag],
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { [bodyType]: { schema: schemaOf(body, 'input') } } } }),
    responses: {
      ...answerOf(endpoint),
      ...Object.fromEntries(
        statusesOf(errors).map(({ status, kinds }) => [
          status,
          { description: kinds.join(', '), content: { 'application/json': { schema: error } } },
        ]),
      ),
    },
  }
}

function answerOf({ answer, otherType, event, transport = sse }: Endpoint): object {
  if (answer === null && event === undefined) return { 204: { description: 'It is done' } }
  return {
    200: {
      description: 'The answer',
      content: {
        ...(answer === null ? {} : { 'application/json': { schema: schemaOf(answer, 'output') } }),
        ...(event === undefined ? {} : { [transport.contentType]: { schema: schemaOf(event, 'output') } }),
        ...(otherType === undefined ? {} : { [otherType]: { schema: { type: 'string' } } }),
      },
    },
  }
}

const schemaOf = (schema: z.ZodType, io: 'input' | 'output'): unknown => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return tidy(rest)
}

/** A schema without refused parts and without artefacts of the conversion. */
function tidy(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.filter((item) => !isRefused(item)).map(tidy)
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema).flatMap(([key, value]): [string, unknown][] => {
    if (isRefused(value)) return []
    return Math.abs(Number(value)) === Number.MAX_SAFE_INTEGER ? [] : [[key, tidy(value)]]
  })
  return flat(Object.fromEntries(entries))
}

const isRefused = (schema: unknown): boolean => typeof schema === 'object' && schema !== null && 'x-refused' in schema

type JsonSchema = { [key: string]: unknown }

/** Merges nested `anyOf`, and writes a nullable type as a pair of types. */
function flat(schema: JsonSchema): JsonSchema {
  if (!Array.isArray(schema.anyOf)) return schema
  const { anyOf, ...rest } = schema
  const branches = (anyOf as JsonSchema[]).flatMap((branch) =>
    Object.keys(branch).length === 1 && Array.isArray(branch.anyOf) ? (branch.anyOf as JsonSchema[]) : [branch],
  )
  const [first, second, ...others] = branches
  const pair = others.length === 0 && second?.type === 'null' && typeof first?.type === 'string'
  if (pair && !('enum' in first) && !('const' in first)) return { ...rest, ...first, type: [first.type, 'null'] }
  return { ...rest, anyOf: branches }
}
