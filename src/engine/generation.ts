import type { ImageBounds, Modality } from '../encoders/index.ts'
import type { GrammarSource, SamplerSettings, SchemaPath } from '../language/index.ts'

/**
 * The engine's requests and answers. They cross the border between the parent process (`host.ts`) and the engine
 * process (`engine-process.ts`), so they are plain data, except for an attachment's pixels or samples, which stay in the parent.
 */

export interface ImageAttachment {
  kind: 'image'
  width: number
  height: number
  /** Hash of pixels, width and height: images with equal hashes are equal. */
  hash: string
  detail: 'low' | 'high' | 'auto'
  bounds?: ImageBounds | undefined
  /** How many frames of a video it is; undefined: it is a still image. */
  frames?: number | undefined
  /**
   * How much later it is than the first view of its video, in the positions of a decoder that has the time of a view in
   * them; undefined: it has a time as a still image has. The marks of all views are in the text around them then.
   */
  later?: number | undefined
  pixels: Pixels
  /** Of the next frame of the video, of the same size, which the encoder joins with this one. */
  nextPixels?: Pixels | undefined
}

interface Pixels {
  /** 8-bit sRGB, row by row: `[height, width, 3]`; null if they are not decoded. */
  readonly rgb: Uint8Array | null
  /** Called when the engine needs pixels that are not decoded. @throws OrielError, which the request fails with */
  decode(): Promise<Uint8Array>
  /** Called when the engine no longer needs the pixels. */
  letGo(): void
}

export interface AudioAttachment {
  kind: 'audio'
  /** Its length in samples, of which a second has 16,000. */
  samples: number
  /** Hash of the samples: sounds with equal hashes are equal. */
  hash: string
  sound: {
    /** Called when the engine needs the samples, from -1 to 1. @throws OrielError, which the request fails with */
    decode(): Promise<Float32Array>
    /** Called when the engine no longer needs the samples. */
    letGo(): void
  }
}

/** What a prompt may contain in addition to text. */
export type EngineAttachment = ImageAttachment | AudioAttachment

interface TextPiece {
  kind: 'text'
  text: string
  /** Whether control tokens in the text are read as such. True for a template's text, false for a user's. */
  special: boolean
}

interface TokensPiece {
  kind: 'tokens'
  tokens: readonly number[]
}

export type PromptPiece = TextPiece | TokensPiece | EngineAttachment

/** Attachments as the engine process has them: their bytes stay in the parent until their turn to be encoded is near. */
export type ImageHeader = Omit<ImageAttachment, 'pixels' | 'nextPixels'>
export type AudioHeader = Omit<AudioAttachment, 'sound'>
export type AttachmentHeader = ImageHeader | AudioHeader

/** A piece of a prompt in the engine process. */
export type HeaderPiece = TextPiece | TokensPiece | AttachmentHeader

/** A request in the engine process. */
export type HeaderRequest = Omit<GenerateRequest, 'prompt'> & {
  prompt: readonly HeaderPiece[]
  /** Of its adapter: names one version of it. */
  adapterKey?: string | undefined
  /** What its adapter changes in the encoder of images. */
  visionAdapter?: VisionAdapter | undefined
}

/** The half of an adapter that changes the encoder of images. */
export interface VisionAdapter {
  /** Names one version of the adapter. */
  key: string
  /** The GGUF file of its matrices. */
  file: string
}

/** An adapter (LoRA) on this machine. Its files have been checked. */
export interface AdapterFiles {
  id: string
  /** Differs when its files have changed. */
  version: string
  /** The GGUF file with its matrices for the decoder; null: it has none. */
  decoder: string | null
  /** The GGUF file with its matrices for the vision encoder; null: it has none. */
  vision: string | null
  /** Of memory that it takes. */
  bytes: number
}

export interface Sampling extends Omit<SamplerSettings, 'grammar' | 'shownTokens'> {
  /** What the answer must match: a grammar in GBNF, or a JSON Schema. */
  grammar: GrammarSource | null
}

export interface GenerateRequest {
  prompt: readonly PromptPiece[]
  /** Who asks. Clients share the engine fairly. */
  client: string
  /** null: up to the end of the context. */
  maxTokens: number | null
  /** What happens when prompt and maxTokens exceed the context: the request is refused, or maxTokens is lowered. */
  overflow: 'error' | 'truncate'
  /** Number of answers to the prompt. */
  n: number
  stop: readonly string[]
  /** Whether the answer has the stop string that ends it. */
  includeStop: boolean
  /** Tokens that end the answer, besides the model's own. */
  stopTokens: readonly number[]
  /** Tokens before which none may end the answer. */
  minTokens: number
  ignoreEos: boolean
  /** Control tokens that appear in the answer's text. All others are left out. */
  shownTokens: readonly string[]
  sampling: Sampling
  /** Number of alternatives whose log probabilities come with each token's own; null: no log probabilities. */
  topLogprobs: number | null
  /** Whether the prompt's tokens come with log probabilities too. The whole prompt is computed then, cached or not. */
  promptLogprobs: boolean
  /** Prefixes and embeddings are shared only between requests with the same key. */
  cacheKey: string
  /** Whether a cached prefix may be used. */
  cachePrompt: boolean
  /** Maximum number of tokens of a cached prefix that may be used; null: no limit. */
  cachedMost: number | null
  /** The adapter, which was loaded before, and how strongly it is applied: 1 is as it was trained. */
  adapter?: { readonly id: string; readonly scale: number } | undefined
}

/** Attachments that are encoded without an answer. */
export type HeaderEncoding = Pick<HeaderRequest, 'prompt' | 'client'>

/** What decides whether a request fits the context. */
export type Fitting = Pick<GenerateRequest, 'prompt' | 'client' | 'maxTokens' | 'overflow'>
export type HeaderFitting = Omit<Fitting, 'prompt'> & Pick<HeaderRequest, 'prompt'>

export interface TokenChance {
  id: number
  /** The token's own bytes. A token may be a part of a character. */
  bytes: Uint8Array
  logprob: number
}

export interface AnswerToken extends TokenChance {
  top: TokenChance[]
}

/** Duration of each phase of a request, in ms. */
export interface Timings {
  queue: number
  encode: number
  /** From the request's arrival at the engine until its first attachment begins to be encoded, which need not wait in the queue. */
  encodeStart?: number
  prefill: number
  /** From the request's arrival at the engine to its first token. */
  firstToken: number
  generation: number
}

export interface PromptUsage {
  promptTokens: number
  /** Tokens of the prompt whose KV was cached. */
  cachedTokens: number
  /** Tokens of each attachment in the order of the prompt, including the marks that the model's format puts around it. */
  attachmentTokens: readonly number[]
}

/** An image as an encoder gets it: scaled and padded, before its colours are normalized. */
export interface ImageView {
  width: number
  height: number
  /** 8-bit sRGB, row by row: `[height, width, 3]`. */
  rgb: Uint8Array
  /** The parts that are encoded each by itself, in pixels, in the order of the prompt. */
  tiles: readonly { x: number; y: number; width: number; height: number; tokens: number }[]
}

/** What was done for one attachment of a prompt. */
interface Work {
  /** What made encoding needless: its KV was cached, or its embeddings were. null: it was encoded. */
  cached: 'prefix' | 'encoder' | null
  /** Time that it took to encode, in ms. */
  encodeMs: number
}

export interface ImageWork extends Work {
  /** Size of the finest image that the encoder gets, in pixels. */
  seen: { width: number; height: number }
  /** Parts of it that are encoded by themselves. */
  tiles: number
}

export interface AudioWork extends Work {
  /** Parts of it that are encoded by themselves. */
  chunks: number
}

export type AttachmentWork = ({ kind: 'image' } & ImageWork) | ({ kind: 'audio' } & AudioWork)

export type GenerateEvent =
  /** `ignored`: the parts of a JSON Schema that the answer does not hold to. */
  | ({ type: 'prompt'; ignored?: readonly SchemaPath[] } & PromptUsage)
  /**
   * Of the prompt's cells from `from` on, as soon as they are computed; null for an attachment's cells and for the cell after
   * it. The parts follow each other, and the first cell is in none.
   */
  | { type: 'prompt_logprobs'; from: number; tokens: readonly (AnswerToken | null)[] }
  /** `generated`: number of tokens of the choice so far. */
  | { type: 'text'; choice: number; text: string; tokens: AnswerToken[]; generated: number }
  /** `stop`: the stop string that ended the answer, if one did. */
  | { type: 'end'; choice: number; reason: 'stop' | 'length'; stop: string | null; completionTokens: number }
  /** `attachments`: in the order of the prompt. */
  | { type: 'done'; timings: Timings; attachments: readonly AttachmentWork[] }

/** What computes each encoder of a model. */
export type Runtimes = Readonly<Partial<Record<Modality, 'onnx' | 'ggml'>>>

export interface EngineModel {
  name: string
  /** Maximum number of tokens of one sequence: prompt and answer. */
  contextTokens: number
  vocabulary: number
  /** The attachments that the model accepts; null for a kind that it does not accept. */
  inputs: {
    image: {
      /** The family of image encoders, as the GGUF names it. */
      family: string
      /** Pixels of the longest edge that the encoder can use: a larger image may be shrunk to it beforehand. */
      longestEdge: number
      /** Frames of a video that the encoder joins: 1 or 2. */
      framesPerTile: number
    } | null
    audio: {
      /** The family of audio encoders, as the GGUF names it. */
      family: string
      /** Samples of the longest sound that the context can hold. */
      longest: number
    } | null
  }
  /** Bytes of the decoder's weights, of the projector's file and of the KV memory. Caches are not included. */
  memory: { weightsBytes: number; encodersBytes: number; kvBytes: number }
  /** Layers that a GPU computes, including the output layer; 0: the CPU computes everything. */
  gpuLayers: number
  /** Jinja, as in the GGUF; null if it has none. */
  chatTemplate: string | null
  bosToken: string
  eosToken: string
  /** Texts of all control tokens. A user's text must not be read as any of them. */
  controlTokens: readonly string[]
  /** Ids of the tokens that end an answer. */
  endTokens: readonly number[]
}

/** A prompt as the decoder takes it. */
export interface PromptInputs {
  /** `[cells]`: the id of each token, and -1 for an embedding. */
  readonly tokens: Int32Array
  /** `[axes, cells]`: one axis for most models, four for those with M-RoPE. */
  readonly positions: Int32Array
  /** Where embeddings stand, in order. `place` is the attachment's index among those of the prompt. */
  readonly spans: readonly EmbeddedCells[]
  /** As in `PromptUsage`. */
  readonly attachmentTokens: readonly number[]
  /** Whether it has more cells than were asked for, which are left out. */
  readonly cut: boolean
}

export interface EmbeddedCells {
  /** Equal keys have equal embeddings. */
  readonly key: string
  readonly place: number
  readonly start: number
  readonly end: number
}

/** The embeddings of an attachment, `[cells, width]` for each key of `PromptInputs`. */
export type Embeddings = ReadonlyMap<string, Float32Array>

/** A prompt's token counts and its tokens, without generating. */
export interface PromptCount extends Omit<PromptUsage, 'cachedTokens'> {
  /** null for an attachment's cell. */
  tokens: readonly (PromptToken | null)[]
  /** Where embeddings stand, in order. `place` is the attachment's index among those of the prompt. */
  spans: readonly { readonly place: number; readonly start: number; readonly end: number }[]
}

export interface PromptToken {
  id: number
  bytes: Uint8Array
}

/** What a request waits for until its first token. Attachments may be encoded while it is in the queue. */
export type EnginePhase = 'queued' | 'encoding' | 'prefill'

/** What an engine is doing, and how its KV memory is used. */
export interface EngineState {
  /** Sequences that are being computed. */
  readonly running: number
  /** Requests in the queue. */
  readonly waiting: number
  /** Finished sequences that are kept for prompts with the same prefix, and the KV cells that they hold. */
  readonly storedPrefixes: number
  readonly storedCells: number
  /** Bytes of prefixes that are kept outside the KV memory. */
  readonly shelvedBytes: number
  readonly cells: number
  readonly freeCells: number
  /** Bytes of cached embeddings. */
  readonly encoderCacheBytes: number
  /** Sequences that were preempted since the engine started. */
  readonly preemptions: number
  /** Adapters that are loaded. */
  readonly adapters: number
}

/** The engine of one model, as the rooms above see it. */
export interface Engine {
  readonly model: EngineModel
  /**
   * Runs one request. Events come in order: `prompt`, `prompt_logprobs` if requested, then `text` and `end` of each
   * choice, then `done`. Aborting the signal or leaving the loop stops the work within one step. A reader that falls far
   * behind stops it too, until it has caught up.
   * @param onPhase called when the request begins to wait for something else
   * @throws OrielError `invalid` with `param` naming the field of the request (`prompt`, `n`, `grammar`), `overloaded`
   * when the queue is full, `engine_failed`, `cancelled`
   */
  generate(
    request: GenerateRequest,
    signal: AbortSignal,
    onPhase?: (phase: EnginePhase) => void,
  ): AsyncIterable<GenerateEvent>
  /**
   * The numbers of tokens of prompts, each by itself; infinite for a text that cannot fit the context.
   * @throws OrielError as `generate` does
   */
  lengths(prompts: readonly (readonly PromptPiece[])[], client: string): Promise<readonly number[]>
  /** Checks that a prompt and its answer fit the context. @throws OrielError as `generate` does if they do not */
  fit(request: Fitting): Promise<void>
  /** A prompt's tokens and their counts. All tokens are transferred. @throws OrielError as `generate` does */
  count(prompt: readonly PromptPiece[], client: string): Promise<PromptCount>
  /**
   * A prompt as the decoder takes it, which need not fit the context.
   * @param most cells; what follows is left out
   * @throws OrielError as `generate` does
   */
  inputs(prompt: readonly PromptPiece[], most: number, client: string): Promise<PromptInputs>
  /** Encodes an attachment, which stands in no prompt yet. @throws OrielError as `generate` does */
  encode(attachment: EngineAttachment, client: string, signal: AbortSignal): Promise<Embeddings>
  /**
   * Loads an adapter, or another version of it: requests that run go on with the old one. Nobody else is stopped. When there are
   * too many, the one that was used least recently and is idle is unloaded, until a request needs it again.
   * @throws OrielError `precondition_failed` that says why it cannot be loaded; `engine_failed`, `cancelled`
   */
  loadAdapter(adapter: AdapterFiles, signal?: AbortSignal): Promise<void>
  /** Unloads an adapter when its last request is over. New ones are refused from now on. */
  unloadAdapter(id: string): Promise<void>
  /**
   * What the encoder would get of an image: the whole, and then, if it is cut into tiles, the finer image that they are cut
   * from. The encoder's own code computes it, on a thread that has one image at a time. It takes the pixels.
   * @param mostPixels of all views together
   * @throws OrielError `too_large`
   */
  preview(image: ImageAttachment, mostPixels: number): Promise<readonly ImageView[]>
  /** @throws OrielError `engine_failed` while no engine process is running */
  state(): Promise<EngineState>
  close(): Promise<void>
}
