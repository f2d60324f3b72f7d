import type { Candidates, Llama, LlamaContext, Sampler, Vocab } from '../native/index.ts'
import { randomNumbers } from '../random.ts'
import type { AllowedTokens } from './grammar/matcher.ts'
import { type Chooser, penaltyWindow, type SamplerSettings } from './sampler.ts'

/** Number of tokens to draw again under a grammar. */
const redraws = 16

/** Draws a token with llama.cpp's samplers in their usual order. */
export class Chain implements Chooser {
  readonly draws = true
  readonly #llama: Llama
  readonly #candidates: Candidates
  readonly #chain: Sampler
  readonly #learns: boolean
  readonly #seed: number
  /** Tokens of the answer so far. */
  #length = 0

  /** @param candidates place for the tokens to choose from, used within one call only */
  constructor(llama: Llama, vocab: Vocab, settings: SamplerSettings, candidates: Candidates) {
    const seed = settings.seed ?? Math.floor(Math.random() * 0xffffffff)
    this.#llama = llama
    this.#candidates = candidates
    this.#chain = createChain(llama, llama.vocabSize(vocab), settings, seed)
    // Mirostat learns from each draw.
    this.#learns = settings.mirostat !== null
    this.#seed = seed
  }

  /** `choose` and `accept` in one call, from the logits of a row of the last decoded batch. */
  sample(context: LlamaContext, row: number): number {
    return this.#llama.sample(this.#chain, context, row)
  }

  choose(logits: Float32Array): number | null {
    this.#candidates.fill(logits)
    return this.#choose()
  }

  others(): readonly number[] {
    if (this.#learns) return []
    // Numbers of this place of the answer: with its seed, it is the same whether they were needed before or not.
    const random = randomNumbers((this.#seed + Math.imul(this.#length, 0x9e3779b9)) >>> 0)
    return this.#candidates.drawAgain(Array.from({ length: redraws }, random))
  }

  chooseOf({ bits, others }: AllowedTokens, logits: Float32Array): number | null {
    this.#candidates.fillSome(logits, bits, others)
    return this.#candidates.open ? this.#choose() : null
  }

  accept(token: number): void {
    this.#llama.samplerAccept(this.#chain, token)
    this.#length++
  }

  free(): void {
    this.#llama.freeSampler(this.#chain)
  }

  #choose(): number | null {
    this.#llama.samplerApply(this.#chain, this.#candidates.pointer)
    return this.#candidates.selected
  }
}

function createChain(llama: Llama, size: number, settings: SamplerSettings, seed: number): Sampler {
  const chain = llama.newChain()
  const add = (sampler: Sampler) => llama.chainAdd(chain, sampler)
  if (settings.logitBias.length > 0) add(llama.logitBias(size, settings.logitBias))
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = settings
  if (repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0)
    add(llama.penalties(size, penaltyWindow, repetitionPenalty, frequencyPenalty, presencePenalty))
  if (settings.mirostat !== null) {
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
