import type { Sampling } from '../../deployments/index.ts'
import type { AttachmentSource } from '../../media/index.ts'
import type { ChatMessage, PromptPart, Tool } from '../../prompt/index.ts'

/** A request as every dialect tells it: the words of one API end here. */
export interface AnswerRequest {
  model: string
  prompt: ChatPrompt | PlainPrompt
  /** The pictures that the prompt names by their index. */
  sources: readonly Source[]
  settings: Settings
  /** Where the dialect has what the core speaks of, for errors. */
  params: { prompt: string; grammar: string }
}

export type Source = AttachmentSource & { detail: 'low' | 'high' | 'auto' }

/** Turns that the model's template lays out. */
export interface ChatPrompt {
  kind: 'chat'
  messages: readonly ChatMessage[]
  tools: readonly CallableTool[]
  calling: Calling
  /** Further words of the template. */
  variables: Readonly<Record<string, string | number | boolean>>
  /** Whether thoughts are told apart from the answer. */
  splitReasoning: boolean
  /** Whether the answer goes on with the last message, an assistant's, instead of being one of its own. */
  continues: boolean
  /**
   * The oldest turns are left out until the prompt has no more tokens than this, or until an answer has room behind it
   * in the model's context. null: none are.
   */
  longest: number | 'context' | null
}

export interface CallableTool extends Tool {
  /** Where the request has its parameters, for errors. */
  param: string
}

/** What a client says of calls: `forced` must be one, of one of the tools given. */
export interface Calling {
  mode: 'auto' | 'none' | 'forced'
  /** Whether one answer may hold several. */
  parallel: boolean
}

/** Text, tokens and pictures as the client laid them out. */
export interface PlainPrompt {
  kind: 'plain'
  parts: readonly (PromptPart | { kind: 'tokens'; tokens: readonly number[] })[]
}

/** How to answer. What a client leaves open is as the model's makers recommend. */
export interface Settings {
  /** null: to the end of the context. */
  maxTokens: number | null
  overflow: 'error' | 'truncate'
  n: number
  stop: readonly string[]
  ignoreEos: boolean
  sampling: { readonly [Name in keyof Sampling]?: Sampling[Name] | null | undefined }
  topLogprobs: number | null
  /** Whether an echo tells them of the prompt too. */
  promptLogprobs: boolean
  /** Prefixes are shared between requests that have these in common. */
  isolation: readonly string[]
  cachePrompt: boolean
  cachedMost: number | null
  /** How much of the prompt stands before the answer: all of it, or so many of its last tokens. */
  echo: 'all' | number | null
  /** Whether the answer shall know the tokens of its prompt. */
  wantsTokens: boolean
}

/**
 * Whose prefixes a request shares: those of the body's key, else of the header's; where they differ, of both together.
 */
export const isolationOf = (header: string, body?: string | null): string[] =>
  [...new Set([body ?? '', header])].filter((key) => key !== '')

/** For dialects that speak of few of these. */
export const plainSettings: Settings = {
  maxTokens: null,
  overflow: 'error',
  n: 1,
  stop: [],
  ignoreEos: false,
  sampling: {},
  topLogprobs: null,
  promptLogprobs: false,
  isolation: [],
  cachePrompt: true,
  cachedMost: null,
  echo: null,
  wantsTokens: false,
}
