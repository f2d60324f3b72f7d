import type { SamplerSettings } from '../language/index.ts'

/**
 * What the engine is asked and what it answers. These cross the process border between `engine/host` (the parent's
 * side) and `engine/process`, so they are plain data.
 */

/** 8-bit sRGB, row by row: `[height, width, 3]`. */
export interface Pixels {
  readonly rgb: Uint8Array
  /** The engine needs them no more, and they may be forgotten. */
  letGo(): void
}

/** One picture of a prompt. */
export interface PictureInput {
  width: number
  height: number
  pixels: Pixels
  /** Hash of pixels, width and height: equal hashes are equal pictures. */
  hash: string
  detail: 'low' | 'high' | 'auto'
}

/** `special` says whether the text may name control tokens (a template's text may, a person's may not). */
export type PromptPiece =
  | { kind: 'text'; text: string; special: boolean }
  | { kind: 'tokens'; tokens: readonly number[] }
  | { kind: 'picture'; picture: PictureInput }

export interface Sampling extends Omit<SamplerSettings, 'grammar'> {
  /** What the answer must follow: a grammar in GBNF, or a JSON Schema. */
  grammar: { kind: 'gbnf'; text: string } | { kind: 'json_schema'; schema: unknown } | null
}

export interface GenerateRequest {
  prompt: readonly PromptPiece[]
  /** null: to the end of the context. */
  maxTokens: number | null
  /** When prompt and maxTokens do not fit the context: refuse, or lower maxTokens. */
  overflow: 'error' | 'truncate'
  /** Answers to the same prompt. */
  n: number
  stop: readonly string[]
  ignoreEos: boolean
  /** Control tokens that show in the answer's text; without them none does. */
  shownTokens: readonly string[]
  sampling: Sampling
  /** Log probabilities of each token and of this many of its rivals; null: none. */
  topLogprobs: number | null
  /** Whether the prompt's tokens are told with theirs too. All of it is computed then, whatever is cached. */
  promptLogprobs: boolean
  /** Prefixes are only shared between requests of one key. */
  cacheKey: string
  /** Whether a cached prefix may be used. */
  cachePrompt: boolean
  /** Tokens of a cached prefix that may be used, at most; null: all. */
  cachedMost: number | null
}

export interface TokenChance {
  id: number
  /** The token's own bytes: a token may be a part of a character. */
  bytes: Uint8Array
  logprob: number
}

export interface AnswerToken extends TokenChance {
  top: TokenChance[]
}

/** Time of each phase of a request, in ms. */
export interface Timings {
  queue: number
  encode: number
  prefill: number
  /** From the request's arrival at the engine to its first token. */
  firstToken: number
  generation: number
}

export interface PromptUsage {
  promptTokens: number
  /** Tokens of the prompt whose KV was there already. */
  cachedTokens: number
  /** Tokens of each picture, in the order of the prompt, what surrounds it in the model's format included. */
  imageTokens: readonly number[]
}

export type GenerateEvent =
  | ({ type: 'prompt' } & PromptUsage)
  /** One for each cell; null: the first, which nothing foretells, a place of a picture, and what follows one. */
  | { type: 'prompt_logprobs'; tokens: readonly (AnswerToken | null)[] }
  /** `generated`: tokens of the choice so far. */
  | { type: 'text'; choice: number; text: string; tokens: AnswerToken[]; generated: number }
  /** `stop`: which of the request's stop strings ended it, if one did. */
  | { type: 'end'; choice: number; reason: 'stop' | 'length'; stop: string | null; completionTokens: number }
  | { type: 'done'; timings: Timings }

/** What is known of a loaded model. */
export interface EngineModel {
  name: string
  /** Tokens that one sequence may hold: prompt and answer. */
  contextTokens: number
  vocabulary: number
  /** null: a model that takes no pictures. */
  vision: {
    architecture: string
    /** Pixels of the longest edge that it can use of a picture: a larger one may be shrunk to it beforehand. */
    longestEdge: number
  } | null
  /** What it takes beside the pictures' embeddings: the decoder's weights, the vision file's, and the KV memory. */
  memory: { weightsBytes: number; visionBytes: number; kvBytes: number }
  /** Layers that a GPU computes, the output's among them; 0: the processor does all. */
  gpuLayers: number
  /** Jinja, as in the GGUF; null where it has none. */
  chatTemplate: string | null
  bosToken: string
  eosToken: string
  /** Texts of all control tokens, for `prompt/` to keep a person's text from naming them. */
  controlTokens: readonly string[]
}

/** A prompt's token counts and its tokens, without generating. */
export interface PromptCount extends Omit<PromptUsage, 'cachedTokens'> {
  /** null: a place of a picture. */
  tokens: readonly (PromptToken | null)[]
}

export interface PromptToken {
  id: number
  bytes: Uint8Array
}

/** What an engine has under way, and where its KV memory is. */
export interface EngineState {
  /** Sequences that are being computed. */
  readonly running: number
  /** Requests that are not admitted yet. */
  readonly waiting: number
  /** Sequences that are kept for prompts that begin alike, and the KV cells that they hold. */
  readonly storedPrefixes: number
  readonly storedCells: number
  /** Memory of prefixes that the KV memory has no room for. */
  readonly shelvedBytes: number
  readonly cells: number
  readonly freeCells: number
  /** Bytes of picture embeddings that are kept. */
  readonly encoderCacheBytes: number
}

/** An engine as the rooms above see it. */
export interface Engine {
  readonly model: EngineModel
  /**
   * Runs one request. Events come in order: `prompt`, perhaps `prompt_logprobs`, then `text` and `end` of each choice, then `done`.
   * Aborting the signal stops the work within one step; leaving the loop does too.
   * @throws OrielError `invalid` (context overflow, a bad grammar), `overloaded` (full queue), `engine_failed`, `cancelled`
   */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent>
  /** @throws OrielError as `generate` does */
  count(prompt: readonly PromptPiece[]): Promise<PromptCount>
  /** @throws OrielError `engine_failed` while there is no process to ask */
  state(): Promise<EngineState>
  close(): Promise<void>
}
