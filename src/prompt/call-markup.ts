import type { Tool } from './messages.ts'
import { maybeTagged, readTagged, type TaggedCall } from './tagged-call.ts'

/**
 * How model families write calls around their JSON. Their openings differ, so one reader knows all of them:
 * - Hermes, Qwen: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, once for each call
 * - Qwen since 3.5, GLM: the same with tags within
 * - Mistral: `[TOOL_CALLS][{…}, {…}]`, and since 2025 `[TOOL_CALLS]name[ARGS]{…}`
 * - Llama 3: the object alone, behind `<|python_tag|>` or nothing; more of them behind `;`
 */
export interface CallMarkup {
  /** Empty where a call stands alone: that is only looked for where an answer begins. */
  open: string
  /**
   * What stands between the opening and the object, and the call's name if it is in it; or a call without an object.
   * @returns undefined while that is not decided, null where this is no call
   */
  lead(text: string, last: boolean, tools: ReadonlyMap<string, Tool>): Lead | null | undefined
  /** What stands behind a call. @returns undefined while that is not decided */
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

/** Between objects that stand side by side. */
const separated: CallMarkup['next'] = (text, last) => {
  const [between = ''] = /^[\s;,]*/.exec(text) ?? []
  if (between.length === text.length && !last) return undefined
  return { length: between.length, another: text.charAt(between.length) === '{' }
}

/** Names of functions, as the APIs have them. */
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

/** Texts that some vocabularies have as control tokens, which an answer shows only when it is asked to. */
export const callTags: readonly string[] = [
  ...Object.values(markups).flatMap(({ open }) => (open === '' ? [] : [open])),
  close,
  '[CALL_ID]',
  '[ARGS]',
]

/** A name and an id before the object are shorter than this. */
const longestLead = 300

/** Length of the longest end of a text that begins a tag. */
export function partOf(tag: string, text: string): number {
  for (let length = Math.min(tag.length - 1, text.length); length > 0; length--)
    if (text.endsWith(tag.slice(0, length))) return length
  return 0
}
