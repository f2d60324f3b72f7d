import type { AnswerToken, GenerateEvent } from '../deployments/index.ts'
import type { RunningChat } from './chat.ts'

/** What a request cost, in OpenAI's shape. `images` is ours: the tokens of each picture, in their order. */
interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  prompt_tokens_details: { cached_tokens: number; image_tokens: number; images: readonly number[] }
}

function usageOf({ prompt }: RunningChat, completionTokens: number): Usage {
  const { promptTokens, cachedTokens, imageTokens } = prompt
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: {
      cached_tokens: cachedTokens,
      image_tokens: imageTokens.reduce((sum, tokens) => sum + tokens, 0),
      images: imageTokens,
    },
  }
}

/** Log probabilities in OpenAI's shape; `token_id` is ours. null where none were asked for. */
function logprobsOf(tokens: readonly AnswerToken[], wanted: boolean) {
  if (!wanted) return null
  const shape = ({ id, bytes, logprob }: Omit<AnswerToken, 'top'>) => ({
    token: Buffer.from(bytes).toString('utf8'),
    token_id: id,
    logprob,
    bytes: [...bytes],
  })
  return { content: tokens.map((token) => ({ ...shape(token), top_logprobs: token.top.map(shape) })), refusal: null }
}

/** The answer in one piece: `chat.completion`. */
export async function completion(chat: RunningChat, logprobs: boolean) {
  const choices = Array.from({ length: chat.n }, () => ({ text: '', tokens: [] as AnswerToken[], reason: 'stop' }))
  let completionTokens = 0
  let timings: Extract<GenerateEvent, { type: 'done' }>['timings'] | undefined
  for await (const event of chat.events) {
    if (event.type === 'done') timings = event.timings
    const choice = event.type === 'text' || event.type === 'end' ? choices[event.choice] : undefined
    if (choice === undefined) continue
    if (event.type === 'text') {
      choice.text += event.text
      choice.tokens.push(...event.tokens)
    } else if (event.type === 'end') {
      choice.reason = event.reason
      completionTokens += event.completionTokens
    }
  }
  const body = {
    ...heading(chat, 'chat.completion'),
    choices: choices.map(({ text, tokens, reason }, index) => ({
      index,
      message: { role: 'assistant', content: text, refusal: null },
      logprobs: logprobsOf(tokens, logprobs),
      finish_reason: reason,
    })),
    usage: usageOf(chat, completionTokens),
  }
  return { body, timings }
}

/**
 * The answer in pieces: `chat.completion.chunk`. The first of each choice names the role, the last says why it ended.
 * Usage rides in the last chunk, as Fireworks has it; with `includeUsage` it has a chunk of its own, as OpenAI has it.
 */
export async function* chunks(chat: RunningChat, logprobs: boolean, includeUsage: boolean) {
  const chunk = (index: number, delta: object, tokens: readonly AnswerToken[] | null, reason: string | null) => ({
    ...heading(chat, 'chat.completion.chunk'),
    choices: [{ index, delta, logprobs: logprobsOf(tokens ?? [], logprobs && tokens !== null), finish_reason: reason }],
    ...(includeUsage ? { usage: null } : {}),
  })
  for (let index = 0; index < chat.n; index++) yield chunk(index, { role: 'assistant', content: '' }, null, null)
  let open = chat.n
  let completionTokens = 0
  for await (const event of chat.events) {
    if (event.type === 'text') yield chunk(event.choice, { content: event.text }, event.tokens, null)
    if (event.type !== 'end') continue
    completionTokens += event.completionTokens
    open--
    const last = chunk(event.choice, {}, null, event.reason)
    yield open === 0 && !includeUsage ? { ...last, usage: usageOf(chat, completionTokens) } : last
  }
  if (includeUsage)
    yield { ...heading(chat, 'chat.completion.chunk'), choices: [], usage: usageOf(chat, completionTokens) }
}

const heading = <T extends string>({ id, created, model }: RunningChat, object: T) => ({
  id,
  object,
  created,
  model,
  system_fingerprint: null,
})
