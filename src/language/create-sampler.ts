import type { Candidates, Llama, Vocab } from '../native/index.ts'
import { BoundSampler } from './bound-sampler.ts'
import { Chain } from './chain.ts'
import type { Grammars } from './grammar/grammars.ts'
import { Greedy } from './greedy.ts'
import type { SamplerSettings, TokenSampler } from './sampler.ts'

/** Below this temperature the scaled logits exceed 32-bit floats, and llama.cpp would choose the last token. */
const coldest = 1e-6

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
  const isGreedy = settings.temperature < coldest
  const chooser = isGreedy ? new Greedy(settings) : new Chain(llama, vocab, settings, candidates)
  if (followed !== null) return new BoundSampler(chooser, followed)
  return {
    sample(context, row, logits) {
      if (chooser instanceof Chain) return chooser.sample(context, row)
      const token = chooser.choose(logits())
      if (token !== null) chooser.accept(token)
      return token
    },
    free: () => chooser.free(),
  }
}
