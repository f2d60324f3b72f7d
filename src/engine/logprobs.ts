import { theLikeliest, type Vocabulary } from '../language/index.ts'
import type { AnswerToken, TokenChance } from './generation.ts'

type TokenBytes = Pick<Vocabulary, 'bytes'>

/**
 * A token with its log probability and those of the `top` likeliest tokens. They come from the model's own logits, as
 * OpenAI's do: temperature, penalties and grammars do not affect them.
 * @param logits `[vocabulary]`
 */
export function answerToken(vocabulary: TokenBytes, logits: Float32Array, token: number, top: number): AnswerToken {
  let most = -Infinity
  for (const logit of logits) if (logit > most) most = logit
  let sum = 0
  for (const logit of logits) sum += Math.exp(logit - most)
  const normalizer = most + Math.log(sum)
  const chance = (id: number): TokenChance => ({
    id,
    bytes: vocabulary.bytes(id, true),
    logprob: (logits[id] as number) - normalizer,
  })
  return { ...chance(token), top: theLikeliest(logits, top).map(chance) }
}
