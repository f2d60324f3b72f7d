import type { EngineModel, EngineState } from './generation.ts'

/** A text to embed, in the engine process and outside of it. */
export interface TextRequest {
  /** Text, or tokens that are embedded as they are. */
  text: string | readonly number[]
  /** Whether a text that is too long is refused or cut. */
  overflow: 'error' | 'truncate'
  /** Who asks. Clients share the engine fairly. */
  client: string
}

export interface EmbeddedText {
  tokens: number
  /** As the model gives it, of any length. */
  embedding: Float32Array
}

/** The engine of a model that embeds texts, as the rooms above see it. */
export interface EmbeddingEngine {
  readonly model: EngineModel
  /**
   * Embeds one text. Texts that wait together are computed together, so whoever has several asks for `textsAtOnce` at a time.
   * Aborting the signal takes it out of the queue.
   * @throws OrielError `invalid`, `overloaded` when the queue is full, `engine_failed`, `cancelled`
   */
  embed(request: TextRequest, signal: AbortSignal): Promise<EmbeddedText>
  /** @throws OrielError `engine_failed` while no engine process is running */
  state(): Promise<EmbeddingState>
  close(): Promise<void>
}

/** In an engine that embeds, `running` and `waiting` are texts. */
export type EmbeddingState = Pick<EngineState, 'running' | 'waiting'>

/** Texts of one request that are in the engine at a time: more than a step has. */
export const textsAtOnce = 64
