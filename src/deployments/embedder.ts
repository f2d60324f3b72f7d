import type { Backend, ModelInfo } from './backend.ts'

/**
 * Embeds texts with one model, which answers nothing. How a text becomes tokens and a vector is up to it.
 *
 * Errors name the part of the `EmbedAsk` that is wrong as their `param` (`texts.3`, `dimensions`).
 */
export interface Embedder extends Pick<Backend, 'state' | 'close'> {
  readonly info: ModelInfo & { readonly dimensions: number }
  /**
   * Embeds texts, and yields their embeddings in the order of the texts. Aborting the signal or leaving the loop stops the work.
   * @throws OrielError `invalid`, `overloaded`, `engine_failed`, `cancelled`
   */
  embed(ask: EmbedAsk, signal: AbortSignal): AsyncIterable<Embedding>
}

/** Texts to embed. */
export interface EmbedAsk {
  /** Text, or tokens that are embedded as they are. */
  texts: readonly (string | readonly number[])[]
  /** How many of its numbers each embedding has, from the first on; null: all. */
  dimensions: number | null
  /** Whether a text that is too long is refused or cut. */
  overflow: 'error' | 'truncate'
  /** Who asks. Clients share the engine fairly. */
  client: string
}

export interface Embedding {
  /** Of the text, with those that the model expects around it. */
  tokens: number
  /** Of length 1. */
  vector: Float32Array
}

/** What a model is served by. */
export type Served = Backend | Embedder

export const embeds = (served: Served): served is Embedder => 'embed' in served
