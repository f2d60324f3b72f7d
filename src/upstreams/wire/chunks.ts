import { z } from 'zod'
import type { AnswerEvent, AnswerToken, EndReason, PromptUsage } from '../../deployments/index.ts'
import { parseJson } from '../../json.ts'
import { AnswerWriter } from './answer-writer.ts'
import { brokeOff, reportedFailure, unreadable } from './failures.ts'
import { tellPrompt } from './prompt-usage.ts'
import { serverEvents } from './server-events.ts'
import type { Variant } from './variants.ts'
import type { Mutable, PreparedAsk } from './wire.ts'

const count = z.int().min(0)
const words = z.string().nullish()

const chance = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int().min(0).max(255)).nullish(),
  id: z.int().nullish(),
  token_id: z.int().nullish(),
})

/** Of chats, and of llama-server's completions. */
const chatLogprobs = z.object({
  content: z.array(chance.extend({ top_logprobs: z.array(chance).nullish() })).nullish(),
})

/** Of completions. */
const plainLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullish(),
})

const call = z.object({
  index: z.int().min(0).nullish(),
  id: words,
  function: z.object({ name: words, arguments: words }).nullish(),
})

const delta = z.object({
  content: words,
  refusal: words,
  reasoning_content: words,
  reasoning: words,
  tool_calls: z.array(call).nullish(),
})

const stop = z.union([z.string(), z.number()]).nullish()

const choice = z.object({
  index: z.int().min(0).nullish(),
  delta: delta.nullish(),
  text: words,
  logprobs: z.union([plainLogprobs, chatLogprobs]).nullish(),
  finish_reason: words,
  /** vLLM's name for what ended it, and SGLang's. */
  stop_reason: stop,
  matched_stop: stop,
})

const usage = z.object({
  prompt_tokens: count,
  completion_tokens: count.nullish(),
  prompt_tokens_details: z
    .object({
      cached_tokens: count.nullish(),
      image_tokens: count.nullish(),
      /** Oriel's own: of each image. */
      images: z.array(count).nullish(),
      video_tokens: count.nullish(),
      audio_tokens: count.nullish(),
    })
    .nullish(),
  completion_tokens_details: z.object({ reasoning_tokens: count.nullish() }).nullish(),
})

/** llama-server's, with each part of a stream. */
const timings = z.object({ cache_n: count.default(0), prompt_n: count, predicted_n: count })

const chunk = z.object({
  choices: z.array(choice).nullish(),
  usage: usage.nullish(),
  timings: timings.nullish(),
  error: z.unknown().optional(),
})

type Chunk = z.output<typeof chunk>

/** Reads the stream of a chat or a plain prompt. @throws AttemptFailed */
export async function* readChunks(
  body: AsyncIterable<Uint8Array>,
  ask: PreparedAsk,
  prompt: Mutable<PromptUsage>,
  { tagsThoughts }: Variant,
): AsyncIterable<AnswerEvent> {
  const writer = new AnswerWriter(ask, tagsThoughts)
  for await (const { data } of serverEvents(body)) {
    if (data === '[DONE]') break
    const { choices, usage, timings, error } = parsed(data)
    if (error != null) throw reportedFailure(error)
    if (timings != null)
      tellPrompt({ promptTokens: timings.cache_n + timings.prompt_n, cachedTokens: timings.cache_n }, prompt)
    if (usage != null) {
      const { prompt_tokens: promptTokens, prompt_tokens_details: details } = usage
      const {
        cached_tokens: cachedTokens,
        images,
        image_tokens,
        video_tokens: videos,
        audio_tokens: audio,
      } = details ?? {}
      tellPrompt({ promptTokens, cachedTokens, images: images ?? image_tokens, videos, audio }, prompt)
      writer.tell(usage.completion_tokens ?? null, usage.completion_tokens_details?.reasoning_tokens ?? null)
    }
    const counted = ask.settings.n > 1 ? undefined : (usage?.completion_tokens ?? timings?.predicted_n)
    for (const one of choices ?? []) {
      const index = one.index ?? 0
      yield* writer.write(index, { ...deltaOf(one, ask), completionTokens: counted })
      const { finish_reason: reason } = one
      if (reason != null) yield* writer.end(index, reasonOf(reason), textStop(one.stop_reason ?? one.matched_stop, ask))
    }
  }
  yield* writer.done()
}

function parsed(data: string): Chunk {
  const found = chunk.safeParse(parseJson(data))
  if (!found.success) throw unreadable(`a chunk whose ${found.error.issues[0]?.path.join('.') || 'JSON'} is wrong`)
  return found.data
}

type ChoiceChunk = z.output<typeof choice>

function deltaOf({ delta, text, logprobs }: ChoiceChunk, { settings }: PreparedAsk) {
  return {
    text: text ?? (delta?.content || delta?.refusal),
    reasoning: delta?.reasoning_content || delta?.reasoning,
    calls: delta?.tool_calls?.map(({ index, id, function: called }, at) => ({ index: index ?? at, id, ...called })),
    tokens: settings.topLogprobs === null || logprobs == null ? [] : tokensOf(logprobs, settings.topLogprobs),
  }
}

/** @param most alternatives; some servers send more */
function tokensOf(logprobs: NonNullable<ChoiceChunk['logprobs']>, most: number): AnswerToken[] {
  if ('tokens' in logprobs)
    return logprobs.tokens.map((token, at) => ({
      ...chanceOf({ token, logprob: 0 }),
      logprob: logprobs.token_logprobs[at] ?? null,
      // An object has its names in an order of its own: numbers come first.
      top: Object.entries(logprobs.top_logprobs?.[at] ?? {})
        .toSorted(([, a], [, b]) => b - a)
        .slice(0, most)
        .map(([token, logprob]) => chanceOf({ token, logprob })),
    }))
  return (logprobs.content ?? []).map(({ top_logprobs: top, ...token }) => ({
    ...chanceOf(token),
    top: (top ?? []).slice(0, most).map(chanceOf),
  }))
}

const chanceOf = ({ token, logprob, bytes, id, token_id }: z.output<typeof chance>) => ({
  id: id ?? token_id ?? -1,
  bytes: bytes == null ? Buffer.from(token) : Uint8Array.from(bytes),
  logprob,
})

/** What ends an answer, by the names that servers have for it. @throws AttemptFailed for one that is no end */
function reasonOf(reason: string): EndReason {
  switch (reason) {
    case 'length':
    case 'tool_calls':
    case 'content_filter':
      return reason
    case 'function_call':
      return 'tool_calls'
    case 'abort':
    case 'error':
      throw brokeOff()
    default:
      return 'stop'
  }
}

/** The text that ended an answer. A token is none. */
const textStop = (stop: string | number | null | undefined, { settings }: PreparedAsk): string | null =>
  typeof stop === 'string' && settings.stop.includes(stop) ? stop : null
