import type { Tool } from './messages.ts'
import { maybeTagged, readTagged, type TaggedCall } from './tagged-call.ts'

/**
 * The markup that model families write around the JSON of calls. Their openings differ, so one reader handles all of them:
 * - Hermes, Qwen: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, once for each call
 * - Qwen since 3.5, GLM: the same with tags within
 * - Mistral: `[TOOL_CALLS][{…}, {…}]`, and since 2025 `[TOOL_CALLS]name[ARGS]{…}`
 * - Llama 3: the object alone, or after `<|python_tag|>`; further objects after `;`
 */
export interface CallMarkup {
  /** Empty for a call without markup, which is looked for only at the beginning of an answer. */
  open: string
  /**
   * The text between the opening and the object, with the call's name if it contains it; or a call without an object.
   * @returns undefined while it is undecided, null if this is not a call
   */
  lead(text: string, last: boolean, tools: ReadonlyMap<string, Tool>): Lead | null | undefined
  /** The text after a call. @returns undefined while it is undecided */
  next(text: string, last: boolean): { length: number; another: boolean } | undefined
}

interface Lead {
  length: number
  name?: string
  call?: TaggedCall
}

const toObject: CallMarkup['lead'] = (text) => {
  const object = text.trimStart()
  if (object === '') return undefined
  return object.startsWith('{') ? { length: text.length - object.length } : null
}

/** The text between consecutive objects. */
const separated: CallMarkup['next'] = (text, last) => {
  const [between = ''] = /^[\s;,]*/.exec(text) ?? []
  if (between.length === text.length && !last) return undefined
  return { length: between.length, another: text.charAt(between.length) === '{' }
}

/** A function's name before the object. */
const named = /^\s*([\w.-]+)(?:\s*\[CALL_ID\]\s*[\w-]+)?\s*(?:\[ARGS\])?\s*\{/

const close = '</tool_call>'

export const markups = {
  hermes: {
    open: '<tool_call>',
    lead(text, last, tools) {
      if (toObject(text, last, tools) !== null) return toObject(text, last, tools)
      const end = text.indexOf(close)
      if (end < 0) return maybeTagged(text) ? undefined : null
      const call = readTagged(text.slice(0, end), tools)
      return call === null ? null : { length: end, call }
    },
    next(text, last) {
      const rest = text.trimStart()
      if (rest.startsWith(close)) return { length: text.length - rest.length + close.length, another: false }
      if (close.startsWith(rest) && !last) return undefined
      return separated(text, last)
    },
  },
  mistral: {
    open: '[TOOL_CALLS]',
    lead(text, last) {
      const object = /^\s*\[?\s*(?=\{)/.exec(text)
      if (object !== null) return { length: object[0].length }
      const name = named.exec(text)
      if (name?.[1] !== undefined) return { length: name[0].length - 1, name: name[1] }
      return last || text.length > longestLead ? null : undefined
    },
    next(text, last) {
      const [between = ''] = /^[\s,]*(\]|\[TOOL_CALLS\])?/.exec(text) ?? []
      if (between.trim().endsWith('[TOOL_CALLS]')) return { length: between.length, another: true }
      if (between.trim().endsWith(']')) return { length: between.length, another: false }
      if (!last && '[TOOL_CALLS]'.startsWith(text.slice(between.length))) return undefined
      return separated(text, last)
    },
  },
  llama: { open: '<|python_tag|>', lead: toObject, next: separated },
  bare: { open: '', lead: toObject, next: separated },
} as const satisfies Record<string, CallMarkup>

/** Some vocabularies have these as control tokens, which an answer contains only on request. */
export const callTags: readonly string[] = [
  ...Object.values(markups).flatMap(({ open }) => (open === '' ? [] : [open])),
  close,
  '[CALL_ID]',
  '[ARGS]',
]

/** Maximum length of a name and an id before the object. */
const longestLead = 300

/** Length of the longest suffix of a text that is the beginning of a tag. */
export function partOf(tag: string, text: string): number {
  for (let length = Math.min(tag.length - 1, text.length); length > 0; length--)
    if (text.endsWith(tag.slice(0, length))) return length
  return 0
}
