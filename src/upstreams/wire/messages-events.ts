import { z } from 'zod'
import type { AnswerEvent, EndReason, PromptUsage } from '../../deployments/index.ts'
import { parseJson } from '../../json.ts'
import { AnswerWriter } from './answer-writer.ts'
import { brokeOff, reportedFailure, unreadable } from './failures.ts'
import { tellPrompt } from './prompt-usage.ts'
import { serverEvents } from './server-events.ts'
import type { Mutable, PreparedAsk } from './wire.ts'

const count = z.int().min(0)
const index = z.int().min(0)

const usage = z.object({
  input_tokens: count.nullish(),
  cache_read_input_tokens: count.nullish(),
  cache_creation_input_tokens: count.nullish(),
  output_tokens: count.nullish(),
  output_tokens_details: z.object({ thinking_tokens: count.nullish() }).nullish(),
})

const event = z.discriminatedUnion('type', [
  z.object({ type: z.literal('message_start'), message: z.object({ usage }) }),
  z.object({
    type: z.literal('content_block_start'),
    index,
    content_block: z.object({
      type: z.string(),
      ...{ id: z.string().optional(), name: z.string().optional(), text: z.string().optional() },
      thinking: z.string().optional(),
    }),
  }),
  z.object({
    type: z.literal('content_block_delta'),
    index,
    delta: z.object({
      ...{ text: z.string().optional(), thinking: z.string().optional(), partial_json: z.string().optional() },
    }),
  }),
  z.object({
    type: z.literal('message_delta'),
    delta: z.object({ stop_reason: z.string().nullish(), stop_sequence: z.string().nullish() }),
    usage: usage.nullish(),
  }),
  z.object({ type: z.literal('error'), error: z.unknown().optional() }),
  z.object({ type: z.literal(['content_block_stop', 'message_stop', 'ping']) }),
])

const anyEvent = z.object({ type: z.string() })

/** Reads the stream of Anthropic's Messages. @throws AttemptFailed */
export async function* readMessages(
  body: AsyncIterable<Uint8Array>,
  ask: PreparedAsk,
  prompt: Mutable<PromptUsage>,
): AsyncIterable<AnswerEvent> {
  const writer = new AnswerWriter(ask, false)
  for await (const { data } of serverEvents(body)) {
    const told = parsed(data)
    if (told === null) continue
    if (told.type === 'message_stop') break
    if (told.type === 'error') throw reportedFailure(told.error)
    if (told.type === 'message_start') tellUsage(told.message.usage, prompt)
    else if (told.type === 'content_block_start') {
      const { type, id, name, text, thinking } = told.content_block
      const calls = type === 'tool_use' ? [{ index: told.index, id, name }] : []
      yield* writer.write(0, { text, reasoning: thinking, calls })
    } else if (told.type === 'content_block_delta') {
      const { text, thinking, partial_json: more } = told.delta
      const calls = more === undefined ? [] : [{ index: told.index, arguments: more }]
      yield* writer.write(0, { text, reasoning: thinking, calls })
    } else if (told.type === 'message_delta') {
      const { delta, usage } = told
      if (usage != null) {
        tellUsage(usage, prompt)
        writer.tell(usage.output_tokens ?? null, usage.output_tokens_details?.thinking_tokens ?? null)
      }
      if (delta.stop_reason != null) yield* writer.end(0, reasonOf(delta.stop_reason), delta.stop_sequence ?? null)
    }
  }
  yield* writer.done()
}

/** New types of events may come: those are null. */
function parsed(data: string): z.output<typeof event> | null {
  const value = parseJson(data)
  const found = event.safeParse(value)
  if (found.success) return found.data
  const { data: other } = anyEvent.safeParse(value)
  const isKnown = other === undefined || event.options.some(({ shape }) => shape.type.values.has(other.type as never))
  if (!isKnown) return null
  throw unreadable(`an event whose ${found.error.issues[0]?.path.join('.') || 'JSON'} is wrong`)
}

/** Cached tokens are not among its input tokens. */
function tellUsage(told: z.output<typeof usage>, prompt: Mutable<PromptUsage>): void {
  if (told.input_tokens == null) return
  const cached = told.cache_read_input_tokens ?? 0
  const promptTokens = told.input_tokens + cached + (told.cache_creation_input_tokens ?? 0)
  tellPrompt({ promptTokens, cachedTokens: cached }, prompt)
}

/** @throws AttemptFailed for a reason that is no end */
function reasonOf(reason: string): EndReason {
  switch (reason) {
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return 'length'
    case 'tool_use':
      return 'tool_calls'
    case 'refusal':
      return 'content_filter'
    case 'pause_turn':
      throw brokeOff()
    default:
      return 'stop'
  }
}
