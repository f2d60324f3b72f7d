import { z } from 'zod'
import type { Sampling as EngineSampling, GenerateRequest, ImageBounds } from '../engine/index.ts'
import type { AttachmentSource } from '../media/index.ts'
import type { AdapterCard } from '../models/index.ts'
import type { ChatMessage, PromptPart, Tool } from '../prompt/index.ts'

export type { ImageBounds }

/** A question to a model. It is independent of the backend: it names no template, pixels or files. */
export interface Ask {
  prompt: ChatPrompt | PlainPrompt
  /** The attachments that the prompt names by their index. */
  attachments: readonly Attachment[]
  settings: Settings
  /** Who asks. Clients share the server fairly. */
  client: string
  /** How many servers of Oriel have passed it on to this one. */
  hops?: number
  /** Its prompt, a chat, asks for what is said in one audio. A model may be asked in another form that it was trained with. */
  speech?: Speech | undefined
  /** The adapter that the model answers with, and how strongly. */
  adapter?: { readonly card: AdapterCard; readonly scale: number } | undefined
}

export interface Speech {
  /** `translate`: in English. */
  task: 'transcribe' | 'translate'
  /** The index of the audio. */
  attachment: number
  /** By ISO 639; null: the model finds out. */
  language: string | null
  /** What the audio is about. */
  about: string | null
}

/** Nobody speaks faster. */
const tokensPerSecond = 16
/** Beside what is said: a model may name the language first. */
const otherTokens = 64

/** The most tokens that an answer needs which says what is said in so many seconds. */
export const mostTokensSaid = (seconds: number): number => Math.ceil(seconds * tokensPerSecond) + otherTokens

export type Attachment = AttachmentSource & {
  /** The resolution at which the model reads it: fewer tokens, more tokens, or by size. */
  detail: 'low' | 'high' | 'auto'
  /** Pixels and tokens at which the model reads it. */
  bounds?: ImageBounds | undefined
}

/** Messages, which are laid out in the model's format. */
export interface ChatPrompt {
  kind: 'chat'
  messages: readonly ChatMessage[]
  tools: readonly CallableTool[]
  calling: Calling
  /** Further variables of the model's chat template: `enable_thinking`, `reasoning_effort`. */
  variables: Readonly<Record<string, string | number | boolean>>
  /** Whether the answer's thoughts are separate events. */
  splitReasoning: boolean
  /** Whether the answer continues the last message, which must be an assistant's text. */
  continues: boolean
  /**
   * Drops the oldest turns until the prompt has at most this many tokens, or, with `context`, until the answer fits
   * behind it. null drops none.
   */
  longest: number | 'context' | null
}

export interface CallableTool extends Tool {
  /** The path of the tool's JSON Schema in the request, for errors. */
  param: string
}

/** `forced`: the answer is a call of one of the tools and nothing else. */
export interface Calling {
  mode: 'auto' | 'none' | 'forced'
  /** Whether one answer may hold several calls. */
  parallel: boolean
}

/** Text, token ids and attachments in the client's layout. */
export interface PlainPrompt {
  kind: 'plain'
  parts: readonly PlainPart[]
}

export type PlainPart = PromptPart | { kind: 'tokens'; tokens: readonly number[] }

/** How the tokens of an answer are sampled. */
export type Sampling = Omit<EngineSampling, 'grammarAfter'>

/** How to answer. What is null or left out is the model's recommendation. */
export interface Settings
  extends Pick<GenerateRequest, 'maxTokens' | 'n' | 'stop' | 'ignoreEos' | 'cachePrompt' | 'cachedMost'>,
    Pick<GenerateRequest, 'includeStop' | 'stopTokens' | 'minTokens'>,
    Pick<GenerateRequest, 'overflow' | 'promptLogprobs' | 'topLogprobs'> {
  sampling: { readonly [Name in keyof Sampling]?: Sampling[Name] | null | undefined }
  /** Cached prompts are shared only between requests with equal keys. */
  isolation: readonly string[]
  /** What the client calls the requests that belong together: they go to one engine. null: what they share decides. */
  affinity: string | null
  /** How much of the prompt the answer repeats first: all of it, or this many last tokens. */
  echo: 'all' | number | null
  /** Whether the answer describes its prompt: its text and its tokens. */
  wantsTokens: boolean
  /** Whether the end of each choice has its boxes and points. */
  wantsBoxes: boolean
}

/** The values that settings may have, in every API and in programs. */
export const ranges = {
  maxTokens: z.int().min(1),
  temperature: z.number().min(0).max(2),
  topP: z.number().min(0).max(1),
  topK: z.int().min(0),
  minP: z.number().min(0).max(1),
  typicalP: z.number().gt(0).max(1),
  mirostatTarget: z.number().min(0).max(100),
  mirostatRate: z.number().gt(0).max(1),
  repetitionPenalty: z.number().gt(0).max(2),
  frequencyPenalty: z.number().min(-2).max(2),
  presencePenalty: z.number().min(-2).max(2),
} as const

/** The settings of a request that sets none. */
export const plainSettings: Settings = {
  maxTokens: null,
  overflow: 'error',
  n: 1,
  stop: [],
  includeStop: false,
  stopTokens: [],
  minTokens: 0,
  ignoreEos: false,
  sampling: {},
  topLogprobs: null,
  promptLogprobs: false,
  isolation: [],
  affinity: null,
  cachePrompt: true,
  cachedMost: null,
  echo: null,
  wantsTokens: false,
  wantsBoxes: false,
}
