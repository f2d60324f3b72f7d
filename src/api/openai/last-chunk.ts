import type { Timings } from '../../deployments/index.ts'
import type { AnswerEvent, RunningAnswer } from '../answering/answer.ts'
import { performanceOf } from '../headers.ts'
import { usageOf } from './usage.ts'

/** What a stream's body asks for about its end. */
interface EndWishes {
  stream_options?: { include_usage?: boolean | null | undefined } | null | undefined
  perf_metrics_in_response?: boolean | null | undefined
}

export const includesUsage = ({ stream_options }: EndWishes): boolean => stream_options?.include_usage ?? false

/**
 * The chunks of a stream, the last of which carries the accounts: it waits for the engine's. With `include_usage` they
 * have a chunk of their own behind it.
 * @param chunkOf undefined where an event has nothing to show
 */
export async function* withAccounts<Chunk extends object>(
  answer: RunningAnswer,
  body: EndWishes,
  heading: object,
  chunkOf: (event: Exclude<AnswerEvent, { type: 'done' }>) => Chunk | undefined,
) {
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
  if (includesUsage(body)) yield { ...heading, choices: [], usage, ...metrics }
}
