import type { Tool } from './messages.ts'
import { jsonOrText } from './tools.ts'

/** A call whose arguments are in tags. */
export interface TaggedCall {
  name: string
  /** JSON. */
  arguments: string
}

/** `<function=name><parameter=key>value</parameter></function>`: Qwen's coders, and Qwen since 3.5. */
const functionCall = /^\s*<function=([^>\s]+)>([\s\S]*?)(?:<\/function>)?\s*$/
const parameter = /<parameter=([^>\s]+)>([\s\S]*?)<\/parameter>/g

/** `name<arg_key>key</arg_key><arg_value>value</arg_value>`: GLM. */
const namedCall = /^\s*([\w.-]+)\s*((?:<arg_key>[\s\S]*)?)$/
const pair = /<arg_key>([\s\S]*?)<\/arg_key>\s*<arg_value>([\s\S]*?)<\/arg_value>/g

/** Whether a text may be the beginning of such a call. */
export const maybeTagged = (text: string): boolean =>
  '<function='.startsWith(text.trimStart().slice(0, 10)) || /^\s*[\w.-]{1,64}\s*(?:$|<)/.test(text)

/** Reads the text between the opening and the end of a call. The tools say which values are text and which are JSON. */
export function readTagged(text: string, tools: ReadonlyMap<string, Tool>): TaggedCall | null {
  const [, name, body = ''] = functionCall.exec(text) ?? namedCall.exec(text) ?? []
  if (name === undefined) return null
  const types = typesOf(tools.get(name))
  const members = [...body.matchAll(text.includes('<function=') ? parameter : pair)].map(([, key = '', value = '']) => {
    const trimmed = value.replace(/^\n|\n$/g, '')
    return [key.trim(), types.get(key.trim()) === 'string' ? trimmed : jsonOrText(trimmed)]
  })
  return { name, arguments: JSON.stringify(Object.fromEntries(members)) }
}

function typesOf(tool: Tool | undefined): Map<string, unknown> {
  const properties = tool?.parameters.properties
  if (typeof properties !== 'object' || properties === null) return new Map()
  return new Map(
    Object.entries(properties).map(([key, schema]: [string, unknown]) => [
      key,
      typeof schema === 'object' && schema !== null && 'type' in schema ? schema.type : undefined,
    ]),
  )
}
