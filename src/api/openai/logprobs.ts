import type { ToldToken } from '../answering/prompt-text.ts'

/** In which form log probabilities are told: OpenAI's for chats, or that of completions, which Fireworks has in chats too. */
export type LogprobsForm = 'none' | 'chat' | 'legacy'

/** Writes the log probabilities of one answer, piece by piece. null where none were asked for. */
export function logprobsWriter(form: LogprobsForm): (tokens: readonly ToldToken[]) => object | null {
  if (form === 'none') return () => null
  if (form === 'chat') return chatLogprobs
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

/** `token_id` is ours. */
function chatLogprobs(tokens: readonly ToldToken[]) {
  const shape = ({ id, bytes, logprob }: Omit<ToldToken, 'top'>) => ({
    token: textOf(bytes),
    token_id: id,
    logprob,
    bytes: [...bytes],
  })
  return { content: tokens.map((token) => ({ ...shape(token), top_logprobs: token.top.map(shape) })), refusal: null }
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')
