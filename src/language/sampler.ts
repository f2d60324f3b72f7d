import type { LlamaContext } from '../native/index.ts'
import type { Grammar } from './grammar/grammars.ts'
import type { AllowedTokens } from './grammar/matcher.ts'

/** How the next token is sampled from the logits. */
export interface SamplerSettings {
  /** 0 is greedy. */
  temperature: number
  topP: number
  /** 0: no limit. */
  topK: number
  minP: number
  typicalP: number
  /** Keeps the perplexity near a target, instead of top-k, top-p, min-p and typical-p; null: off. */
  mirostat: { target: number; rate: number } | null
  repetitionPenalty: number
  frequencyPenalty: number
  presencePenalty: number
  /** null: a random one. */
  seed: number | null
  logitBias: readonly { token: number; bias: number }[]
  grammar: Grammar | null
  /** The grammar applies after this text; without it, from the start of the answer. */
  grammarAfter?: string
  /** Control tokens that may match a grammar's text, since the answer shows them. */
  shownTokens: ReadonlySet<number>
}

/** Number of an answer's recent tokens that the penalties apply to: mostly all of them, as in OpenAI's API. */
export const penaltyWindow = 16_384

/** Samples the tokens of one answer. */
export interface TokenSampler {
  /**
   * @param row of the last decoded batch
   * @param logits of that row `[vocabulary]`
   * @returns null if the grammar and the biases allow no token; a search if the next token takes time to find
   * @throws OrielError `invalid`, param `grammar`, for a grammar that is too slow to follow
   */
  sample(context: LlamaContext, row: number, logits: () => Float32Array): number | null | TokenSearch
  free(): void
}

/** Finds the next token in slices, so that nobody else waits for it. */
export interface TokenSearch {
  /** A copy: those of the batch are gone after the next decode. `[vocabulary]` */
  readonly logits: Float32Array
  /**
   * @param until time of `performance.now()` at which to stop
   * @returns undefined if it is not done; otherwise as `sample`
   * @throws OrielError `invalid`, param `grammar`, for a grammar that is too slow to follow
   */
  run(until: number): number | null | undefined
}

/** Chooses tokens of one answer from their logits `[vocabulary]`. */
export interface Chooser {
  /** Whether chance decides. Then the outcome depends on what is tried, and others are tried whatever is known. */
  readonly draws: boolean
  /** @returns null if none may be chosen */
  choose(logits: Float32Array): number | null
  /**
   * Further tokens to try, one after the other, when a grammar does not allow the chosen one. To be called right after
   * `choose`.
   */
  others(logits: Float32Array): readonly number[]
  /** As `choose`, of some tokens. */
  chooseOf(allowed: AllowedTokens, logits: Float32Array): number | null
  /** The answer has the token. */
  accept(token: number): void
  free(): void
}
