import type { AttachmentKind } from '../../attachments.ts'
import type { AnswerEvent, Ask, Count, PromptUsage } from '../../deployments/index.ts'
import type { PreparedAttachment } from '../attachments.ts'
import type { AttemptFailed } from '../attempt-failed.ts'
import type { Call, Received, Upstream } from '../target.ts'

/** An ask whose attachments are files that the target can read. */
export interface PreparedAsk extends Ask {
  /** In the order of `attachments`. */
  readonly prepared: readonly PreparedAttachment[]
}

/** How an API of upstreams is spoken. */
export interface Wire {
  /** The headers of every call. @param key of the upstream */
  headers(key: string | null): Readonly<Record<string, string>>
  /**
   * The request that asks a model. What the ask leaves open is the upstream's own default.
   * @throws OrielError `invalid` about the first part of the ask that the API cannot express; `param` is the ask's name for it
   */
  call(ask: PreparedAsk, model: string): Call
  /**
   * Reads the answer to `call`.
   * @param usage of the prompt; what the upstream tells of it is filled in as it comes
   * @throws AttemptFailed for an answer that is none, breaks off or reports an error
   */
  events(body: AsyncIterable<Uint8Array>, ask: PreparedAsk, usage: Mutable<PromptUsage>): AsyncIterable<AnswerEvent>
  /** What an answer with another status than 200 means. It ends the answer. */
  failure(received: Received): Promise<AttemptFailed>
  /** Counts a prompt. @throws OrielError `not_implemented`, with `elsewhere`, if the API cannot; AttemptFailed */
  count(ask: PreparedAsk, model: string, upstream: Upstream, signal: AbortSignal): Promise<Count>
  /** The models that the upstream has. @throws AttemptFailed; OrielError `cancelled` */
  models(upstream: Upstream, signal: AbortSignal): Promise<readonly FoundModel[]>
  /** What a probe asks. An upstream that answers it with a status below 500 is well. */
  readonly health: Call
}

export type Mutable<T> = { -readonly [Name in keyof T]: T[Name] }

/** A model as an upstream lists it. What is null is not told. */
export interface FoundModel {
  readonly id: string
  /** What to call it, if its id tells of the inside of its machine: the path of a file. */
  readonly as: string | null
  readonly title: string | null
  /** Seconds since 1970. */
  readonly created: number | null
  /** Tokens of prompt and answer together. */
  readonly contextTokens: number | null
  readonly inputs: readonly AttachmentKind[] | null
  readonly tools: boolean | null
  readonly thoughts: boolean | null
  /** Whether it embeds texts and does not answer. */
  readonly embeds: boolean
}
