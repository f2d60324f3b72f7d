import { z } from 'zod'
import { parseJson } from '../../json.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { type Block, type BlocksEnd, blocksOf, collectBlocks } from '../answering/blocks.ts'

const usage = z.strictObject({
  input_tokens: z.int().describe('Prompt tokens that were not in the cache.'),
  cache_creation_input_tokens: z.int(),
  cache_read_input_tokens: z.int(),
  output_tokens: z.int(),
})

const contentBlock = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text'), text: z.string() }),
  z.strictObject({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
  z.strictObject({
    type: z.literal('tool_use'),
    id: z.string(),
    name: z.string(),
    input: z.record(z.string(), z.unknown()),
  }),
])

const end = {
  stop_reason: z.enum(['end_turn', 'max_tokens', 'stop_sequence', 'tool_use']),
  stop_sequence: z.string().nullable(),
}

const beginning = {
  id: z.string(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  model: z.string(),
  content: z.array(contentBlock),
}

export const message = z.strictObject({ ...beginning, ...end, usage })

const index = z.int()

export const messageEvent = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('message_start'),
    message: z.strictObject({ ...beginning, stop_reason: z.null(), stop_sequence: z.null(), usage }),
  }),
  z.strictObject({ type: z.literal('ping') }),
  z.strictObject({ type: z.literal('content_block_start'), index, content_block: contentBlock }),
  z.strictObject({
    type: z.literal('content_block_delta'),
    index,
    delta: z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('text_delta'), text: z.string() }),
      z.strictObject({ type: z.literal('thinking_delta'), thinking: z.string() }),
      z.strictObject({ type: z.literal('input_json_delta'), partial_json: z.string() }),
    ]),
  }),
  z.strictObject({ type: z.literal('content_block_stop'), index }),
  z.strictObject({ type: z.literal('message_delta'), delta: z.strictObject(end), usage }),
  z.strictObject({ type: z.literal('message_stop') }),
])

export const messageCount = z.strictObject({ input_tokens: z.int() })

type Message = z.output<typeof message>
type MessageEvent = z.output<typeof messageEvent>
type ContentBlock = Message['content'][number]
type Delta = Extract<MessageEvent, { type: 'content_block_delta' }>['delta']

export async function whole(answer: RunningAnswer) {
  const { blocks, end } = await collectBlocks(answer)
  const body: Message = {
    ...beginningOf(answer, blocks.map(finished)),
    ...endOf(end),
    usage: usageOf(answer, end.completionTokens),
  }
  return { body, timings: end.timings }
}

export async function* events(answer: RunningAnswer): AsyncIterable<MessageEvent> {
  const beginning = { ...beginningOf(answer, []), stop_reason: null, stop_sequence: null }
  yield { type: 'message_start', message: { ...beginning, usage: usageOf(answer, 0) } }
  yield { type: 'ping' }
  for await (const event of blocksOf(answer)) {
    if (event.type === 'open')
      yield { type: 'content_block_start', index: event.index, content_block: begun(event.block) }
    else if (event.type === 'delta')
      yield { type: 'content_block_delta', index: event.index, delta: deltaOf(event.block, event.text) }
    else if (event.type === 'close') yield { type: 'content_block_stop', index: event.index }
    else yield { type: 'message_delta', delta: endOf(event), usage: usageOf(answer, event.completionTokens) }
  }
  yield { type: 'message_stop' }
}

const beginningOf = ({ id, model }: RunningAnswer, content: ContentBlock[]) =>
  ({ id: `msg_${id}`, type: 'message', role: 'assistant', model, content }) as const

/** Anthropic does not count cached tokens as input tokens. */
const usageOf = ({ usage }: RunningAnswer, outputTokens: number): Message['usage'] => ({
  input_tokens: usage.promptTokens - usage.cachedTokens,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: usage.cachedTokens,
  output_tokens: outputTokens,
})

const stopReasons = { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use' } as const

const endOf = ({ reason, stop }: BlocksEnd) => ({
  stop_reason: stop !== null ? ('stop_sequence' as const) : stopReasons[reason],
  stop_sequence: stop,
})

/** A block as a stream begins it: empty. */
const begun = (block: Block): ContentBlock => finished({ ...block, text: '' })

function finished({ kind, id, name, text }: Block): ContentBlock {
  if (kind === 'text') return { type: 'text', text }
  if (kind === 'reasoning') return { type: 'thinking', thinking: text, signature: '' }
  // The arguments of a call that was cut off are not valid JSON.
  return { type: 'tool_use', id, name, input: (parseJson(text) ?? {}) as Record<string, unknown> }
}

function deltaOf({ kind }: Block, text: string): Delta {
  if (kind === 'text') return { type: 'text_delta', text }
  if (kind === 'reasoning') return { type: 'thinking_delta', thinking: text }
  return { type: 'input_json_delta', partial_json: text }
}
