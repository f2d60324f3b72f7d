import type { Candidates, Llama, LlamaContext, Sampler, Vocab } from '../native/index.ts'
import type { FollowedGrammar, Grammar, Grammars } from './grammar/grammars.ts'
import type { Matcher } from './grammar/matcher.ts'

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

/** Number of recent tokens that the penalties apply to, as in llama.cpp's tools. */
const penaltyWindow = 64

/** Below this temperature the scaled logits exceed 32-bit floats, and llama.cpp would choose the last token. */
const coldest = 1e-6

/** Samples the tokens of one answer with llama.cpp's samplers in their usual order. */
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

/**
 * @param candidates place for the tokens to choose from. It is used within one call only, so all samplers share it: for a
 * vocabulary of 150,000 it takes 1.8 MB, and thousands of answers may wait.
 * @throws OrielError `invalid`, param `grammar`, for a grammar that cannot be used
 */
export function createSampler(
  llama: Llama,
  vocab: Vocab,
  settings: SamplerSettings,
  grammars: Grammars,
  candidates: Candidates,
): TokenSampler {
  const { grammar, grammarAfter = null, shownTokens } = settings
  const followed = grammar === null ? null : grammars.follow(grammar, grammarAfter, shownTokens)
  const chain = createChain(llama, vocab, settings)
  if (followed === null)
    return { sample: (context, row) => llama.sample(chain, context, row), free: () => llama.freeSampler(chain) }
  return new BoundSampler(llama, chain, candidates, followed)
}

function createChain(llama: Llama, vocab: Vocab, settings: SamplerSettings): Sampler {
  const chain = llama.newChain()
  const size = llama.vocabSize(vocab)
  const add = (sampler: Sampler) => llama.chainAdd(chain, sampler)
  if (settings.logitBias.length > 0) add(llama.logitBias(size, settings.logitBias))
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = settings
  if (repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0)
    add(llama.penalties(size, penaltyWindow, repetitionPenalty, frequencyPenalty, presencePenalty))
  const seed = settings.seed ?? Math.floor(Math.random() * 0xffffffff)
  if (settings.temperature < coldest) add(llama.greedy())
  else if (settings.mirostat !== null) {
    add(llama.temperature(settings.temperature))
    add(llama.mirostat(seed, settings.mirostat.target, settings.mirostat.rate))
  } else {
    if (settings.topK > 0) add(llama.topK(settings.topK))
    if (settings.typicalP < 1) add(llama.typical(settings.typicalP, 1))
    if (settings.topP < 1) add(llama.topP(settings.topP, 1))
    if (settings.minP > 0) add(llama.minP(settings.minP, 1))
    add(llama.temperature(settings.temperature))
    add(llama.dist(seed))
  }
  return chain
}

/**
 * Samples under a grammar: first without it, and checks the result, which takes microseconds. A token that is not allowed
 * is sampled again from the allowed ones, which leaves their probabilities as they are, except that top_p and the like cut
 * among all tokens the first time. llama.cpp's tools do the same.
 */
class BoundSampler implements TokenSampler {
  readonly #llama: Llama
  readonly #chain: Sampler
  readonly #candidates: Candidates
  readonly #grammar: FollowedGrammar

  constructor(llama: Llama, chain: Sampler, candidates: Candidates, grammar: FollowedGrammar) {
    this.#llama = llama
    this.#chain = chain
    this.#candidates = candidates
    this.#grammar = grammar
  }

  sample(_context: LlamaContext, _row: number, logitsOf: () => Float32Array): number | null | TokenSearch {
    this.#grammar.trim()
    const matcher = this.#grammar.open()
    const logits = logitsOf()
    this.#candidates.fill(logits)
    const token = this.#choose()
    if (token === null) return null
    const accepted = matcher?.accept(token)
    if (accepted) return this.#accepted(token)
    if (accepted === false && matcher?.allowed !== undefined) return this.#within(logits, matcher)
    return this.#search(Float32Array.from(logits), accepted === undefined ? token : null, matcher)
  }

  free(): void {
    this.#llama.freeSampler(this.#chain)
    this.#grammar.close()
  }

  /**
   * @param unchecked a sampled token that could not be checked at once
   * @param at the place in the grammar, if it is found
   */
  #search(logits: Float32Array, unchecked: number | null, at: Matcher | undefined): TokenSearch {
    let [left, matcher] = [unchecked, at]
    let search: ReturnType<Matcher['search']> | undefined
    return {
      logits,
      run: (until) => {
        if (matcher === undefined) {
          matcher = this.#grammar.openSlowly()
          if (performance.now() >= until) return undefined
        }
        if (left !== null) {
          if (matcher.acceptSlowly(left)) return this.#accepted(left)
          left = null
          if (performance.now() >= until) return undefined
        }
        search ??= matcher.search()
        return search.run(until) ? this.#within(logits, matcher) : undefined
      },
    }
  }

  #within(logits: Float32Array, matcher: Matcher): number | null {
    const { allowed } = matcher
    if (allowed === undefined) throw new Error('the allowed tokens are not known')
    this.#candidates.fillSome(logits, allowed.bits, allowed.others)
    if (!this.#candidates.open) return null
    const token = this.#choose()
    if (token === null) return null
    if (!matcher.acceptSlowly(token)) throw new Error('an allowed token was not accepted')
    return this.#accepted(token)
  }

  #choose(): number | null {
    this.#llama.samplerApply(this.#chain, this.#candidates.pointer)
    return this.#candidates.selected
  }

  #accepted(token: number): number {
    this.#llama.samplerAccept(this.#chain, token)
    return token
  }
}
