import type { AnswerEvent, Timings } from '../../deployments/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { performanceOf } from './performance.ts'
import { type Usage, usageOf } from './usage.ts'

/** Parameters that decide what the last chunk has. */
interface EndOptions {
  stream_options?: { include_usage?: boolean | null | undefined } | null | undefined
  perf_metrics_in_response?: boolean | null | undefined
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
 * @param chunkOf returns undefined for an event that has no chunk
 */
export async function* withUsage<Chunk extends LastChunk>(
  answer: RunningAnswer,
  body: EndOptions,
  empty: Chunk,
  chunkOf: (event: Exclude<AnswerEvent, { type: 'done' }>) => Chunk | undefined,
): AsyncIterable<Chunk> {
  let completionTokens = 0
  let reasoningTokens = 0
  let held: Chunk | undefined
  let timings: Timings | undefined
  for await (const event of answer.events) {
    if (event.type === 'done') {
      timings = event.tally.timings
      continue
    }
    if (held !== undefined) yield held
    held = undefined
    const chunk = chunkOf(event)
    if (event.type === 'end') {
      completionTokens += event.completionTokens
      reasoningTokens += event.reasoningTokens
      held = chunk
    } else if (chunk !== undefined) yield chunk
  }
  const metrics =
    body.perf_metrics_in_response && timings !== undefined ? { perf_metrics: performanceOf(answer, timings) } : {}
  const usage = usageOf(answer.usage, completionTokens, reasoningTokens)
  if (held !== undefined) yield includesUsage(body) ? held : { ...held, usage, ...metrics }
  if (includesUsage(body)) yield { ...empty, usage, ...metrics }
}
