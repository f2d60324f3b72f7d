import type { AttachmentKind } from '../attachments.ts'
import type {
  AudioWork,
  EnginePhase,
  AnswerToken as EngineToken,
  ImageView,
  ImageWork,
  PromptToken,
  Timings,
} from '../engine/index.ts'
import type { ImageFile } from '../media/index.ts'
import type { AdapterCard } from '../models/index.ts'
import type { AnswerPiece } from '../prompt/index.ts'
import type { Ask, Attachment, Sampling } from './ask.ts'

export type { PromptToken, Timings }

/**
 * Answers for one model: an engine in this server (`embedded/`), or another server. It takes messages and returns events. How
 * a prompt becomes tokens and an image becomes embeddings is up to it.
 *
 * Errors name the part of the `Ask` that is wrong as their `param` (`prompt`, `grammar`, `logitBias.7`, an attachment's
 * own `param`); the caller translates that to the words of its API.
 */
export interface Backend {
  readonly info: ModelInfo
  /**
   * Begins an answer. It resolves once the request is admitted, so that errors of the request are thrown here.
   * Aborting the signal stops the work.
   * @param onPhase called with what the request is waiting for, if the backend knows it
   * @param onSent called when the prompt goes to a server elsewhere, with what it takes there by estimate: a client that leaves
   *   before the answer begins has used it too. null: that server did not answer it
   * @throws OrielError `invalid`, `overloaded`, `engine_failed`, `cancelled`, and what `media/` throws about attachments
   */
  answer(
    ask: Ask,
    signal: AbortSignal,
    onPhase?: (phase: Phase) => void,
    onSent?: (usage: PromptUsage | null) => void,
  ): Promise<Answer>
  /** Counts a prompt without answering it. @throws OrielError as `answer` does */
  count(ask: Ask, signal: AbortSignal): Promise<Count>
  /**
   * Loads the audio of an ask once, and cuts it where it is quiet: one attachment for each piece, whose `clip` are its times.
   * A backend that cannot has no such method.
   * @param signal of the request that the pieces are for: they are in memory until it aborts
   * @throws OrielError as `answer` does, and `too_large` for audio of more pieces, if possible before it is decoded
   */
  cut?(
    ask: Pick<Ask, 'attachments' | 'client' | 'settings'>,
    pieces: Pieces,
    signal: AbortSignal,
  ): Promise<Attachment[]>
  /**
   * What the model sees of images, without an answer. A backend that does not know has no such method.
   * @param signal aborts when nobody reads what it shows any more, at the latest when all of it was read
   * @throws OrielError as `answer` does, and `too_large` for more than one preview may have
   */
  preview?(ask: Pick<Ask, 'attachments' | 'client' | 'settings'>, signal: AbortSignal): Promise<Preview>
  /**
   * Loads an adapter that no request has named yet. A backend that loads none has no such method.
   * @throws OrielError `precondition_failed` if it cannot be loaded
   */
  loadAdapter?(card: AdapterCard): Promise<void>
  /** @throws OrielError `engine_failed` while it is restarting */
  state(): Promise<BackendState>
  close(): Promise<void>
}

/** Into what audio is cut. */
export interface Pieces {
  /** Seconds of a piece, at most. */
  readonly longest: number
  /** Pieces, at most. */
  readonly most: number
}

/**
 * What a request waits for until its first token: its attachments, a place in the engine, the encoder, or the decoder that
 * reads its prompt.
 */
export type Phase = 'media' | EnginePhase

/** The description of a model. */
export interface ModelInfo {
  id: string
  /** Other names that requests may use. */
  aliases: readonly string[]
  title: string
  description: string
  /** Seconds since 1970. */
  created: number
  /** Tokens of prompt and answer together. 0: nobody knows. */
  contextTokens: number
  /** Attachments that it accepts. */
  inputs: readonly AttachmentKind[]
  /** Whether its own format has tools. Without it they are described in the text. */
  tools: boolean
  /** Whether its own format has thoughts before an answer. */
  thoughts: boolean
  /** Whether it writes boxes and points in a form that is known. */
  boxes: boolean
  /** The upstreams that answer for it, by their names. Left out: this server does. */
  upstreams?: readonly string[]
  /** Numbers in an embedding, for a model that embeds texts and does not answer. */
  dimensions?: number
}

/** An answer that has begun. */
export interface Answer {
  /** A backend that is told it only with the answer has an estimate here, and changes it until the tally has come. */
  usage: PromptUsage
  /** Parts of the ask that the answer does not hold to: keywords of a JSON Schema. */
  ignored?: readonly string[]
  /** The sampling in use, with defaults filled in. */
  sampling: Sampling
  /** Time that the attachments took. */
  media: MediaTimings
  /** null unless the settings ask for it, by `wantsTokens` or `echo`. */
  prompt: DescribedPrompt | null
  events: AsyncIterable<AnswerEvent>
  /** The name of the upstream that answers. Left out: this server does. */
  upstream?: string
}

/** Tokens of a prompt. Those of attachments include the marks that the model's format puts around them. */
export interface PromptUsage {
  promptTokens: number
  /** Those whose computation was cached. */
  cachedTokens: number
  /** Of each image in the order of the prompt. A document has one for each page. */
  imageTokens: readonly number[]
  /** Of all frames of each video, in the order of the prompt. Omitted: there are none, or the backend does not know. */
  videoTokens?: readonly number[]
  /** Of each sound, and of the sound of each video that is heard, in the order of the prompt. Omitted as `videoTokens`. */
  audioTokens?: readonly number[]
}

/** Time that the attachments of a request took, in ms. They load side by side, so each is that of the slowest. */
export interface MediaTimings {
  fetch: number
  /** Decoding, the wait for a decoder included. */
  decode: number
  /** All of it together. */
  media: number
}

/** A prompt as the model reads it. */
export interface DescribedPrompt {
  /** With `<image>`, `<video>` or `<audio>` for each attachment. */
  text: string
  /** null: a place of an attachment. */
  tokens: readonly (PromptToken | null)[]
}

/** Parts of each choice and its end, in order; then one tally for all of them. */
export type AnswerEvent = AnswerPart | AnswerEnd | { type: 'done'; tally: Tally }

/** New text of a choice. */
export interface AnswerPart {
  type: 'part'
  choice: number
  /** Tokens of the choice so far. */
  completionTokens: number
  /** Text as the model wrote it. */
  raw: string
  tokens: readonly AnswerToken[]
  /** What the text is: text, a thought, a call. It may lag behind `raw`. */
  pieces: readonly AnswerPiece[]
}

export interface AnswerEnd {
  type: 'end'
  choice: number
  reason: EndReason
  /** The stop string that ended it, if one did. */
  stop: string | null
  completionTokens: number
  reasoningTokens: number
  /** If the settings want it. */
  grounding?: Grounding
}

/** What an answer marks on the images of its prompt, in pixels of each image as it was sent. */
export interface Grounding {
  boxes: AnswerBox[]
  points: AnswerPoint[]
}

interface OnImage {
  /** The index of its image in the prompt. */
  image: number
  /** null: the answer does not name it. */
  label: string | null
}

export interface AnswerBox extends OnImage {
  x1: number
  y1: number
  x2: number
  y2: number
}

export interface AnswerPoint extends OnImage {
  x: number
  y: number
}

/** `content_filter`: a server elsewhere withholds the rest because of what is in it. */
export type EndReason = 'stop' | 'length' | 'tool_calls' | 'content_filter'

/** Tokens and times of all choices together. */
export interface Tally {
  completionTokens: number
  reasoningTokens: number
  timings: Timings
  /** In the order of the prompt. undefined: the backend does not know. */
  images?: readonly AnsweredImage[]
  videos?: readonly AnsweredVideo[]
  /** The sound of a video has the `param` of the video. */
  audio?: readonly AnsweredAudio[]
}

/** An image of a request: each selected page or frame is one. */
interface SentImage {
  /** The `param` of its attachment. */
  param: string
  /** The page or frame of the attachment, counted from 1. */
  page: number
  /** Upright size in pixels, as it was sent. */
  width: number
  height: number
  tokens: number
  /** The finest size at which the model sees it. */
  seen: Size
  /** Parts of it that are encoded by themselves. */
  tiles: number
}

/** An image that an answer is about, and what it took. */
export interface AnsweredImage extends SentImage, ImageWork {
  /** Times of the whole attachment. */
  fetchMs: number
  decodeMs: number
}

/** A video that an answer is about, and what it took. */
export interface AnsweredVideo {
  /** The `param` of its attachment. */
  param: string
  seconds: number
  /** Of its frames before the model's own scaling, in pixels. */
  width: number
  height: number
  /** The size at which the model sees them. */
  seen: Size
  /** Of all frames, without the text between them. */
  tokens: number
  /** Frames that were loaded, and those that the model reads: fewer if the context has no room for all of them. */
  found: number
  taken: number
  /** Those that it reads. */
  frames: readonly AnsweredFrame[]
  fetchMs: number
  decodeMs: number
}

/** A frame, or two that the model's encoder joins. */
interface AnsweredFrame extends Pick<ImageWork, 'cached' | 'encodeMs'> {
  /** When it is shown, or the first of the two is, in seconds from the start of the file. */
  time: number
  tokens: number
}

/** A sound that an answer is about, and what it took. */
export interface AnsweredAudio extends AudioWork {
  /** The `param` of its attachment. */
  param: string
  seconds: number
  tokens: number
  fetchMs: number
  decodeMs: number
}

export interface Preview {
  /** The longest edge that the model can use, in pixels. Images of more than twice that are shrunk to it first. */
  longestEdge: number
  /** In the order of the attachments. */
  images: readonly PreviewedImage[]
}

export interface PreviewedImage extends SentImage {
  /** Of its attachment. */
  format: string
  bytes: number
  pages: number
  detail: Attachment['detail']
  /** Its size before the model's own scaling. */
  decoded: Size
  /** What the encoder gets: the whole, and then, if it is cut into tiles, the finer image that they are cut from. */
  views: readonly SeenView[]
}

export interface SeenView extends Omit<ImageView, 'rgb'> {
  file: ImageFile
}

interface Size {
  width: number
  height: number
}

/**
 * A token with its log probability and its likeliest alternatives. The first token of a prompt has no probability. The id -1
 * is an image in an echo of the prompt, or a token whose id the backend is not told.
 */
export type AnswerToken = Omit<EngineToken, 'logprob'> & { logprob: number | null }

export interface Count extends Omit<PromptUsage, 'cachedTokens'>, Pick<DescribedPrompt, 'tokens'> {
  /**
   * Counts each part by itself: the content of all messages in order, or the parts of a plain prompt. The model's own
   * format around the parts is in none of them.
   */
  parts(): Promise<readonly PartCount[]>
}

export type PartCount =
  | { kind: 'text'; tokens: number }
  /** `images`: a document has one for each page. */
  | { kind: 'image'; attachment: number; tokens: number; images: readonly CountedImage[] }
  /** Its frames with their marks, and its sound, without the text between them. `frames`: those that were loaded. */
  | { kind: 'video'; attachment: number; tokens: number; frames: number }
  | { kind: 'audio'; attachment: number; tokens: number; seconds: number }

interface CountedImage {
  width: number
  height: number
  tokens: number
}

export interface BackendState {
  /** Sequences that are running. */
  readonly running: number
  /** Requests that wait to be admitted. */
  readonly waiting: number
  /** What else it reports, for metrics: cells of KV memory, bytes of caches. */
  readonly [figure: string]: number
}
