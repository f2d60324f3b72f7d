import { StringDecoder } from 'node:string_decoder'
import { z } from 'zod'
import type { AnswerPart, AnswerToken } from '../../deployments/index.ts'
import { WaitingTokens } from '../answering/waiting-tokens.ts'

const tokenChance = {
  token: z.string(),
  token_id: z.int().optional().describe("Oriel's own. A server elsewhere may not tell it."),
  logprob: z.number(),
  bytes: z.array(z.int()),
}

/** Log probabilities as OpenAI has them in chats: of the tokens of the text, not of thoughts and calls. */
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
  write(part: Written): Logprobs
  /** Writes all parts into one, each as it comes: all at the end would hold up others. */
  gather(): { add(part: Written): void; readonly all: Logprobs }
}

type Written = Pick<AnswerPart, 'completionTokens' | 'raw' | 'tokens' | 'pieces'>

const nothing: Written = { completionTokens: 0, raw: '', tokens: [], pieces: [] }

/** @param join adds what was written next */
const writerOf = <Logprobs>(
  write: Writer<Logprobs>['write'],
  join: (all: Logprobs, next: Logprobs) => void,
): Writer<Logprobs> => ({
  write,
  gather() {
    const all = write(nothing)
    return { add: (part) => join(all, write(part)), all }
  },
})

export function legacyWriter(): Writer<z.output<typeof legacyLogprobs>> {
  let offset = 0
  // A character whose bytes several tokens have is in the text once.
  const decoder = new StringDecoder()
  return writerOf(
    ({ tokens, raw, completionTokens }) => {
      // An echo of the prompt may come without its tokens, and is text before the answer.
      if (tokens.length === 0 && completionTokens === 0) offset += raw.length
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

export function chatWriter(): Writer<z.output<typeof chatLogprobs>> {
  const waiting = new WaitingTokens()
  return writerOf(
    ({ tokens, pieces }) => {
      waiting.add(tokens)
      return { content: chancesOf(waiting.ofText(pieces)), refusal: null }
    },
    (all, next) => void all.content.push(...next.content),
  )
}

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
