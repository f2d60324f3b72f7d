import { OrielError } from '../../errors.ts'
import type { CallableTool, Sampling } from '../ask.ts'

/** The grammar of an answer that is a call of one of these tools and nothing else. */
export function forcedCall(tools: readonly CallableTool[]): Sampling['grammar'] {
  const calls = tools.map(({ name, parameters }, index) => ({
    type: 'object',
    properties: { name: { const: name }, arguments: moved(parameters, `#/anyOf/${index}/properties/arguments`) },
    required: ['name', 'arguments'],
    additionalProperties: false,
  }))
  return { kind: 'json_schema', schema: { anyOf: calls } }
}

/** An error of that schema as one of the tool whose parameters are at fault. */
export function inTools(error: OrielError, tools: readonly CallableTool[]): OrielError {
  const { kind, code, schemaFault } = error
  const [anyOf, index, , keyword, ...inside] = schemaFault?.path ?? []
  const tool = anyOf === 'anyOf' && keyword === 'arguments' ? tools[Number(index)] : undefined
  if (schemaFault === undefined || tool === undefined) return error.at('tools')
  const place = [tool.param, ...inside].join('.').slice(0, 200)
  return new OrielError(kind, `The JSON schema cannot be used: ${place} ${schemaFault.reason}.`, {
    param: tool.param,
    code,
  })
}

/** A schema that was moved to `root`: its references to itself move along. */
function moved(schema: unknown, root: string): unknown {
  if (Array.isArray(schema)) return schema.map((item) => moved(item, root))
  if (typeof schema !== 'object' || schema === null) return schema
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) =>
      key === '$ref' && typeof value === 'string' && value.startsWith('#')
        ? [key, root + value.slice(1)]
        : [key, moved(value, root)],
    ),
  )
}
