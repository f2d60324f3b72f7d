import { z } from 'zod'
import type { AnswerToken } from '../../deployments/index.ts'

const tokenChance = { token: z.string(), token_id: z.int(), logprob: z.number(), bytes: z.array(z.int()) }

/** Log probabilities as OpenAI has them in chats. `token_id` is Oriel's own. */
export const chatLogprobs = z.strictObject({
  content: z.array(z.strictObject({ ...tokenChance, top_logprobs: z.array(z.strictObject(tokenChance)) })),
  refusal: z.null(),
})

/** Log probabilities as completions have them, and Fireworks' chats if `logprobs` is a number. */
export const legacyLogprobs = z.strictObject({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()).describe('null: the model did not predict the token.'),
  top_logprobs: z.array(z.record(z.string(), z.number())),
  text_offset: z.array(z.int()),
  token_ids: z.array(z.int()),
})

/** Writes the log probabilities of one answer, chunk by chunk. */
type Writer<Logprobs> = (tokens: readonly AnswerToken[]) => Logprobs

export function legacyWriter(): Writer<z.output<typeof legacyLogprobs>> {
  let offset = 0
  return (tokens) => {
    const text_offset = tokens.map(({ bytes }) => {
      const start = offset
      offset += textOf(bytes).length
      return start
    })
    return {
      tokens: tokens.map(({ bytes }) => textOf(bytes)),
      token_logprobs: tokens.map(({ logprob }) => logprob),
      top_logprobs: tokens.map(({ top }) =>
        Object.fromEntries(top.map(({ bytes, logprob }) => [textOf(bytes), logprob])),
      ),
      text_offset,
      token_ids: tokens.map(({ id }) => id),
    }
  }
}

export const chatWriter = (): Writer<z.output<typeof chatLogprobs>> => (tokens) => ({
  content: tokens.flatMap(({ top, logprob, ...token }) => {
    // Only the tokens of an echoed prompt have none, and chats do not return those.
    if (logprob === null) return []
    return [{ ...chance({ ...token, logprob }), top_logprobs: top.map(chance) }]
  }),
  refusal: null,
})

const chance = ({ id, bytes, logprob }: { id: number; bytes: Uint8Array; logprob: number }) => ({
  token: textOf(bytes),
  token_id: id,
  logprob,
  bytes: [...bytes],
})

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')
