import type { Tool } from './messages.ts'
import { jsonOrText } from './tools.ts'

/** A call whose arguments are in tags. */
export interface TaggedCall {
  name: string
  /** JSON. */
  arguments: string
}

/**
 * How models write them. A model may repeat anything, so each expression takes a time in proportion to the text: it is
 * anchored, or finds its end in what it is given.
 */
const forms = [
  /** `<function=name><parameter=key>value</parameter></function>`: Qwen's coders, and Qwen since 3.5. */
  {
    head: /^<function=([^>\s]+)>/,
    argument: /<parameter=([^<>\s]+)>([\s\S]*?)<\/parameter>/g,
    end: '</parameter>',
  },
  /** `name<arg_key>key</arg_key><arg_value>value</arg_value>`: GLM. */
  {
    head: /^([\w.-]+)(?=\s*(?:$|<arg_key>))/,
    argument: /<arg_key>([^<]*)<\/arg_key>\s*<arg_value>([\s\S]*?)<\/arg_value>/g,
    end: '</arg_value>',
  },
]

/** Whether a text may be the beginning of such a call. */
export const maybeTagged = (text: string): boolean =>
  '<function='.startsWith(text.trimStart().slice(0, 10)) || /^\s*[\w.-]{1,64}\s*(?:$|<)/.test(text)

/** Reads the text between the opening and the end of a call. The tools say which values are text and which are JSON. */
export function readTagged(text: string, tools: ReadonlyMap<string, Tool>): TaggedCall | null {
  const whole = text.trim()
  for (const { head, argument, end } of forms) {
    const [, name] = head.exec(whole) ?? []
    if (name === undefined) continue
    const types = typesOf(tools.get(name))
    const last = whole.lastIndexOf(end)
    const written = last < 0 ? '' : whole.slice(0, last + end.length)
    const members = [...written.matchAll(argument)].map(([, key = '', value = '']) => {
      const trimmed = value.replace(/^\n|\n$/g, '')
      return [key.trim(), types.get(key.trim()) === 'string' ? trimmed : jsonOrText(trimmed)]
    })
    return { name, arguments: JSON.stringify(Object.fromEntries(members)) }
  }
  return null
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
