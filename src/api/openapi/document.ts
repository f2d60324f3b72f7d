import { z } from 'zod'
import { bases } from '../dialects.ts'
import type { Endpoint } from '../endpoints.ts'
import { statuses } from '../errors.ts'

/** The OpenAPI 3.1 document of the API, made from the schemas that requests are parsed with. */
export function openapiDocument(endpoints: readonly Endpoint[], version: string): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const endpoint of endpoints) {
    const path = paths[endpoint.path] ?? {}
    path[endpoint.method.toLowerCase()] = operation(endpoint)
    paths[endpoint.path] = path
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Oriel',
      version,
      description:
        'An inference server for vision-language models that speaks the APIs of OpenAI, Fireworks, Novita and Anthropic.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: Object.entries(bases).map(([url, dialect]) => ({
      url,
      description: `Errors and defaults as ${titles[dialect]} has them`,
    })),
    security: [{ bearer: [] }, {}],
    paths,
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
  }
}

const titles = { openai: 'OpenAI', fireworks: 'Fireworks', novita: 'Novita', anthropic: 'Anthropic' } as const

function operation({ method, path, tag, summary, body, query, answer, event, error }: Endpoint): object {
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
      : { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(body, 'input') } } } }),
    responses: {
      200: {
        description: 'The answer',
        content: {
          'application/json': { schema: schemaOf(answer, 'output') },
          ...(event === undefined ? {} : { 'text/event-stream': { schema: schemaOf(event, 'output') } }),
        },
      },
      ...Object.fromEntries(
        statuses(tag === 'Anthropic' ? 'anthropic' : 'openai').map(({ status, kinds }) => [
          status,
          { description: kinds.join(', '), content: { 'application/json': { schema: schemaOf(error, 'output') } } },
        ]),
      ),
    },
  }
}

const schemaOf = (schema: z.ZodType, io: 'input' | 'output'): unknown => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return tidy(rest)
}

/** The same schema for people: without what is refused, and without the seams of how it is written in code. */
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

/** `anyOf` within `anyOf` is one, and a single type that may be null is a pair of types. */
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
