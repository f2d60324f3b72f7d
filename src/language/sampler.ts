import { OrielError } from '../errors.ts'
import type { Llama, LlamaContext, Sampler, Vocab } from '../native/index.ts'

/** How the next token is chosen from the logits. */
export interface SamplerSettings {
  /** 0 is greedy. */
  temperature: number
  topP: number
  /** 0: no bound. */
  topK: number
  minP: number
  typicalP: number
  repetitionPenalty: number
  frequencyPenalty: number
  presencePenalty: number
  /** null: a fresh one. */
  seed: number | null
  logitBias: readonly { token: number; bias: number }[]
  /** GBNF; null: none. */
  grammar: string | null
}

/** How many of the last tokens the penalties look at, as llama.cpp's tools have it. */
const penaltyWindow = 64

/** Chooses tokens for one answer, by llama.cpp's own samplers in their usual order. */
export interface TokenSampler {
  /** @param row of the batch that was decoded last */
  sample(context: LlamaContext, row: number): number
  free(): void
}

/** @throws OrielError `invalid` for a grammar that does not parse */
export function createSampler(llama: Llama, vocab: Vocab, settings: SamplerSettings): TokenSampler {
  const chain = llama.newChain()
  const size = llama.vocabSize(vocab)
  const add = (sampler: Sampler) => llama.chainAdd(chain, sampler)

  if (settings.logitBias.length > 0) add(llama.logitBias(size, settings.logitBias))
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = settings
  if (repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0)
    add(llama.penalties(size, penaltyWindow, repetitionPenalty, frequencyPenalty, presencePenalty))
  if (settings.grammar !== null) add(grammarSampler(llama, vocab, chain, settings.grammar))
  if (settings.temperature === 0) add(llama.greedy())
  else {
    if (settings.topK > 0) add(llama.topK(settings.topK))
    if (settings.typicalP < 1) add(llama.typical(settings.typicalP, 1))
    if (settings.topP < 1) add(llama.topP(settings.topP, 1))
    if (settings.minP > 0) add(llama.minP(settings.minP, 1))
    add(llama.temperature(settings.temperature))
    add(llama.dist(settings.seed ?? Math.floor(Math.random() * 0xffffffff)))
  }
  return {
    sample: (context, row) => llama.sample(chain, context, row),
    free: () => llama.freeSampler(chain),
  }
}

function grammarSampler(llama: Llama, vocab: Vocab, chain: Sampler, grammar: string): Sampler {
  const sampler = llama.grammar(vocab, grammar, 'root')
  if (sampler !== null) return sampler
  llama.freeSampler(chain)
  throw new OrielError('invalid', 'The grammar does not parse: it must be GBNF with a rule named root.', {
    param: 'response_format',
    code: 'invalid_grammar',
  })
}
