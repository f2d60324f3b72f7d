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

/** An error of that schema, told as one of the tool that it is about. */
export function inTools({ kind, message, code }: OrielError, tools: readonly CallableTool[]): OrielError {
  const [whole, index] = /\.anyOf\.(\d+)\.properties\.arguments/.exec(message) ?? []
  const tool = tools[Number(index)]
  if (whole === undefined || tool === undefined) return new OrielError(kind, message, { param: 'tools', code })
  const told = message.replace(`$${whole}`, tool.param).replace(`#/anyOf/${index}/properties/arguments`, '#')
  return new OrielError(kind, told, { param: tool.param, code })
}

/** A schema that stands elsewhere now: its references to itself go along. */
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
