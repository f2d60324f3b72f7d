import type { Vocabulary } from '../language/index.ts'
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
  return { ...chance(token), top: likeliest(logits, top).map(chance) }
}

/** Ids of the `count` largest logits, the largest first. */
function likeliest(logits: Float32Array, count: number): number[] {
  const best: number[] = []
  for (let id = 0; id < logits.length && count > 0; id++) {
    const logit = logits[id] as number
    if (best.length === count && logit <= (logits[best.at(-1) as number] as number)) continue
    let at = best.length
    while (at > 0 && logit > (logits[best[at - 1] as number] as number)) at--
    best.splice(at, 0, id)
    if (best.length > count) best.pop()
  }
  return best
}
