import { z } from 'zod'
import { amountOf, costOf } from '../../accounts/index.ts'
import { type AnswerEvent, type Choice, Collected, type PromptUsage, type Tally } from '../../deployments/index.ts'
import { version } from '../../version.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { type AnsweredAttachments, attachmentsOf, included } from './included.ts'

/** `usage` of OpenAI's chats and completions. `images` is Oriel's own. */
export const usage = z.strictObject({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  completion_tokens_details: z.strictObject({
    reasoning_tokens: z.int().describe('Tokens of thoughts that are returned apart from the answer.'),
  }),
  prompt_tokens_details: z.strictObject({
    cached_tokens: z.int().describe('Prompt tokens that were in the cache.'),
    image_tokens: z.int(),
    images: z.array(z.int()).describe('Tokens of each image, in the order of the images.'),
    video_tokens: z.int().describe('Of the frames of videos.'),
    audio_tokens: z.int().describe('The sound of videos included.'),
  }),
  ...included,
})

export type Usage = z.output<typeof usage>

export function usageOf(prompt: PromptUsage, completionTokens: number, reasoningTokens = 0): Usage {
  const { promptTokens } = prompt
  const { cachedTokens, imageTokens, videoTokens, audioTokens } = promptKinds(prompt)
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    completion_tokens_details: { reasoning_tokens: reasoningTokens },
    prompt_tokens_details: {
      cached_tokens: cachedTokens,
      image_tokens: imageTokens,
      images: [...prompt.imageTokens],
      video_tokens: videoTokens,
      audio_tokens: audioTokens,
    },
  }
}

/** A prompt as it is charged for: attachments apart from the text, by their kind. */
export function promptKinds(prompt: PromptUsage) {
  const { promptTokens, cachedTokens, imageTokens: images, videoTokens: videos = [], audioTokens: audio = [] } = prompt
  const [imageTokens, videoTokens, audioTokens] = [sumOf(images), sumOf(videos), sumOf(audio)]
  const textTokens = promptTokens - imageTokens - videoTokens - audioTokens
  return { textTokens, imageTokens, videoTokens, audioTokens, images: images.length, cachedTokens }
}

const sumOf = (tokens: readonly number[]): number => tokens.reduce((sum, count) => sum + count, 0)

/** What an answer costs, in the currency of the prices, as the ledger has it. */
export function priceOf({ usage, prices }: Pick<RunningAnswer, 'usage' | 'prices'>, completionTokens: number): number {
  const { promptTokens } = usage
  return amountOf(costOf({ promptTokens, completionTokens, ...promptKinds(usage) }, prices))
}

/** The usage of a complete answer, with its cost and what became of its attachments if the request wants them. */
export const answerUsage = (body: EndOptions, answer: RunningAnswer, tally: Tally): Usage => ({
  ...usageOf(answer.usage, tally.completionTokens, tally.reasoningTokens),
  ...includedOf(body, answer, tally),
})

/** The cost of a complete answer and what became of its attachments, if the request wants them. */
export const includedOf = (
  { usage: wanted }: Pick<EndOptions, 'usage'>,
  answer: RunningAnswer,
  { completionTokens, ...told }: AnsweredAttachments & Pick<Tally, 'completionTokens'>,
): Pick<Usage, keyof typeof included> =>
  wanted?.include ? { cost: priceOf(answer, completionTokens), ...attachmentsOf(told) } : {}

/** The first fields of the bodies of chats and completions. */
export const heading = {
  id: z.string(),
  created: z.int().describe('Seconds since 1970.'),
  model: z.string(),
  system_fingerprint: z.string().describe('The version of the server.'),
}

/** Answers to the same request with the same seed may differ between versions. */
const fingerprint = `oriel-${version}`

export const headingOf = <T extends string>(
  { id, created, model }: RunningAnswer,
  { prefix, object }: { prefix: string; object: T },
) => ({ id: `${prefix}-${id}`, object, created, model, system_fingerprint: fingerprint })

export const finishReason = z.enum(['stop', 'length', 'tool_calls', 'content_filter'])

/** Fireworks' `perf_metrics`. */
export const perfMetrics = z.record(z.string(), z.string()).describe('Counts, and times in seconds.')

export function performanceOf(
  { perf_metrics_in_response: wanted }: EndOptions,
  { usage, media }: RunningAnswer,
  { timings }: Tally,
): { perf_metrics?: z.output<typeof perfMetrics> } {
  if (!wanted) return {}
  const metrics = {
    'prompt-tokens': String(usage.promptTokens),
    'cached-prompt-tokens': String(usage.cachedTokens),
    'server-time-to-first-token': seconds(media.media + timings.firstToken),
    'server-processing-time': seconds(media.media + timings.firstToken + timings.generation),
    'prefill-queue-duration': seconds(timings.queue),
    'prefill-duration': seconds(timings.prefill),
    'generation-duration': seconds(timings.generation),
    'image-encode-duration': seconds(timings.encode),
  }
  return { perf_metrics: metrics }
}

export const seconds = (ms: number): string => (ms / 1000).toFixed(4)

/** Parameters that decide what the last chunk has. */
interface EndOptions {
  raw_output?: boolean | null | undefined
  stream_options?: { include_usage?: boolean | null | undefined } | null | undefined
  perf_metrics_in_response?: boolean | null | undefined
  usage?: { include?: boolean | null | undefined } | null | undefined
}

interface LastChunk {
  usage?: Usage | null | undefined
  perf_metrics?: Record<string, string> | undefined
}

export const includesUsage = ({ stream_options }: EndOptions): boolean => stream_options?.include_usage ?? false

/**
 * The chunks of a stream. Usage and times are in the last one, as Fireworks has it; with `include_usage` they have a
 * chunk of their own after it, as OpenAI has it.
 * @param empty a chunk without choices
 * @param chunkOf is called with the choice as far as it has come, if the raw output is wanted; it returns undefined for an
 * event that has no chunk
 */
export async function* withUsage<Chunk extends LastChunk>(
  answer: RunningAnswer,
  body: EndOptions,
  empty: Chunk,
  chunkOf: (event: Exclude<AnswerEvent, { type: 'done' }>, choice: Choice | undefined) => Chunk | undefined,
): AsyncIterable<Chunk> {
  // A client that reads slowly must not cost memory, so only the raw output is kept.
  const collected = body.raw_output ? new Collected(answer.choices) : undefined
  let held: Chunk | undefined
  let tally: Tally | undefined
  for await (const event of answer.events) {
    collected?.take(event)
    if (event.type === 'done') {
      tally = event.tally
      continue
    }
    if (held !== undefined) yield held
    held = undefined
    const chunk = chunkOf(event, collected?.choices[event.choice])
    if (event.type === 'end') held = chunk
    else if (chunk !== undefined) yield chunk
  }
  if (tally === undefined) throw new Error('an answer without an end')
  const metrics = performanceOf(body, answer, tally)
  const usage = answerUsage(body, answer, tally)
  if (held !== undefined) yield includesUsage(body) ? held : { ...held, usage, ...metrics }
  if (includesUsage(body)) yield { ...empty, usage, ...metrics }
}
