import { theLikeliest, type Vocabulary } from '../language/index.ts'
import type { AnswerToken } from './generation.ts'

export interface Chance {
  readonly id: number
  readonly logprob: number
}

/**
 * The log probability of a token, then those of the `top` likeliest. They come from the model's own logits, as OpenAI's do:
 * temperature, penalties and grammars do not affect them.
 * @param logits `[vocabulary]`
 */
export function chancesOf(logits: Float32Array, token: number, top: number): Chance[] {
  let most = -Infinity
  for (const logit of logits) if (logit > most) most = logit
  let sum = 0
  for (const logit of logits) sum += Math.exp(logit - most)
  const normalizer = most + Math.log(sum)
  return [token, ...theLikeliest(logits, top)].map((id) => ({ id, logprob: (logits[id] as number) - normalizer }))
}

/** A token of an answer with what `chancesOf` tells. */
export function answerToken(
  vocabulary: Pick<Vocabulary, 'bytes'>,
  logits: Float32Array,
  token: number,
  top: number,
): AnswerToken {
  const [own, ...others] = chancesOf(logits, token, top).map(({ id, logprob }) => ({
    ...{ id, logprob },
    bytes: vocabulary.bytes(id, true),
  }))
  if (own === undefined) throw new Error('a token without a log probability')
  return { ...own, top: others }
}
