import { StringDecoder } from 'node:string_decoder'
import { z } from 'zod'
import type { AnswerToken } from '../../deployments/index.ts'

const tokenChance = {
  token: z.string(),
  token_id: z.int().optional().describe("Oriel's own. A server elsewhere may not tell it."),
  logprob: z.number(),
  bytes: z.array(z.int()),
}

/** Log probabilities as OpenAI has them in chats. */
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

/** Writes the log probabilities of one choice, part by part. */
export interface Writer<Logprobs> {
  write(tokens: readonly AnswerToken[]): Logprobs
  /** Writes all parts into one, each as it comes: all at the end would hold up others. */
  gather(): { add(tokens: readonly AnswerToken[]): void; readonly all: Logprobs }
}

/** @param join adds what was written next */
const writerOf = <Logprobs>(
  write: Writer<Logprobs>['write'],
  join: (all: Logprobs, next: Logprobs) => void,
): Writer<Logprobs> => ({
  write,
  gather() {
    const all = write([])
    return { add: (tokens) => join(all, write(tokens)), all }
  },
})

export function legacyWriter(): Writer<z.output<typeof legacyLogprobs>> {
  let offset = 0
  // A character whose bytes several tokens have is in the text once.
  const decoder = new StringDecoder()
  return writerOf(
    (tokens) => {
      const text_offset = tokens.map(({ bytes }) => {
        const start = offset
        offset += decoder.write(Buffer.from(bytes)).length
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
    },
    (all, next) => {
      all.tokens.push(...next.tokens)
      all.token_logprobs.push(...next.token_logprobs)
      all.top_logprobs.push(...next.top_logprobs)
      all.text_offset.push(...next.text_offset)
      all.token_ids.push(...next.token_ids)
    },
  )
}

export const chatWriter: Writer<z.output<typeof chatLogprobs>> = writerOf(
  (tokens) => ({ content: chancesOf(tokens), refusal: null }),
  (all, next) => void all.content.push(...next.content),
)

/** For answers without log probabilities. */
export const noWriter: Writer<null> = writerOf(
  () => null,
  () => {},
)

export const chancesOf = (tokens: readonly AnswerToken[]): z.output<typeof chatLogprobs>['content'] =>
  tokens.flatMap(({ top, logprob, ...token }) => {
    // Only the tokens of an echoed prompt have none, and chats do not return those.
    if (logprob === null) return []
    return [{ ...chance({ ...token, logprob }), top_logprobs: top.map(chance) }]
  })

const chance = ({ id, bytes, logprob }: { id: number; bytes: Uint8Array; logprob: number }) => ({
  token: textOf(bytes),
  ...(id < 0 ? {} : { token_id: id }),
  logprob,
  bytes: Array.from(bytes),
})

const textOf = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('utf8')
