import { z } from 'zod'
import type { RunningAnswer } from '../answering/answer.ts'
import { type Block, type BlocksEnd, blocksOf, collectBlocks } from '../answering/blocks.ts'
import { argumentsOf } from '../answering/collect.ts'
import { grounding, groundingOf } from '../shapes/grounding.ts'
import { included } from '../shapes/included.ts'
import { includedOf } from '../shapes/usage.ts'
import type { MessagesRequest } from './schema.ts'

const deltaUsage = {
  input_tokens: z.int().describe('Prompt tokens that were not in the cache.'),
  cache_creation_input_tokens: z.int(),
  cache_read_input_tokens: z.int(),
  output_tokens: z.int(),
  output_tokens_details: z.strictObject({ thinking_tokens: z.int() }),
  server_tool_use: z.null(),
  ...included,
}

const usage = z.strictObject({
  ...deltaUsage,
  cache_creation: z.null(),
  inference_geo: z.null(),
  service_tier: z.literal('standard'),
  speed: z.literal('standard'),
})

const contentBlock = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text'), text: z.string(), citations: z.null() }),
  z.strictObject({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
  z.strictObject({
    type: z.literal('tool_use'),
    id: z.string(),
    name: z.string(),
    input: z.record(z.string(), z.unknown()),
    caller: z.strictObject({ type: z.literal('direct') }),
  }),
])

const end = {
  stop_reason: z.enum([
    'end_turn',
    'max_tokens',
    'stop_sequence',
    'tool_use',
    'refusal',
    'model_context_window_exceeded',
  ]),
  stop_sequence: z.string().nullable(),
  stop_details: z.null(),
  container: z.null(),
}

const beginning = {
  id: z.string(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  model: z.string(),
  content: z.array(contentBlock),
  diagnostics: z.null(),
}

export const message = z.strictObject({ ...beginning, ...end, usage, ...grounding })

const index = z.int()

export const messageEvent = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('message_start'),
    message: z.strictObject({ ...beginning, ...end, stop_reason: z.null(), stop_sequence: z.null(), usage }),
  }),
  z.strictObject({ type: z.literal('ping') }),
  z.strictObject({ type: z.literal('content_block_start'), index, content_block: contentBlock }),
  z.strictObject({
    type: z.literal('content_block_delta'),
    index,
    delta: z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('text_delta'), text: z.string() }),
      z.strictObject({ type: z.literal('thinking_delta'), thinking: z.string() }),
      z.strictObject({ type: z.literal('signature_delta'), signature: z.string() }),
      z.strictObject({ type: z.literal('input_json_delta'), partial_json: z.string() }),
    ]),
  }),
  z.strictObject({ type: z.literal('content_block_stop'), index }),
  z.strictObject({
    type: z.literal('message_delta'),
    delta: z.strictObject(end),
    usage: z.strictObject(deltaUsage),
    ...grounding,
  }),
  z.strictObject({ type: z.literal('message_stop') }),
])

export const messageCount = z.strictObject({ input_tokens: z.int() })

type Message = z.output<typeof message>
type MessageEvent = z.output<typeof messageEvent>
type ContentBlock = Message['content'][number]
type Delta = Extract<MessageEvent, { type: 'content_block_delta' }>['delta']

export async function whole(answer: RunningAnswer, body: MessagesRequest) {
  const { blocks, end } = await collectBlocks(answer)
  const message: Message = {
    ...beginningOf(answer, blocks.map(finished)),
    ...endOf(answer, end, body.max_tokens),
    usage: { ...usageOf(answer, end), ...includedOf(body, answer, end) },
    ...groundingOf(end),
  }
  return { body: message, timings: end.timings }
}

export async function* events(answer: RunningAnswer, body: MessagesRequest): AsyncIterable<MessageEvent> {
  const beginning = { ...beginningOf(answer, []), stop_reason: null, stop_sequence: null, ...notHere }
  const usage = usageOf(answer, { completionTokens: 0, reasoningTokens: 0 })
  yield { type: 'message_start', message: { ...beginning, usage } }
  yield { type: 'ping' }
  for await (const event of blocksOf(answer)) {
    if (event.type === 'end') {
      const usage = { ...deltaUsageOf(answer, event), ...includedOf(body, answer, event) }
      yield { type: 'message_delta', delta: endOf(answer, event, body.max_tokens), usage, ...groundingOf(event) }
      continue
    }
    const { index, block } = event
    if (event.type === 'open') yield { type: 'content_block_start', index, content_block: begun(block) }
    else if (event.type === 'delta') yield { type: 'content_block_delta', index, delta: deltaOf(block, event.text) }
    else {
      // Some clients send only those thoughts back that came with a signature.
      if (block.kind === 'reasoning')
        yield { type: 'content_block_delta', index, delta: { type: 'signature_delta', signature: '' } }
      yield { type: 'content_block_stop', index }
    }
  }
  yield { type: 'message_stop' }
}

const beginningOf = ({ id, model }: RunningAnswer, content: ContentBlock[]) =>
  ({ id: `msg_${id}`, type: 'message', role: 'assistant', model, content, diagnostics: null }) as const

type Tokens = Pick<BlocksEnd, 'completionTokens' | 'reasoningTokens'>

/** Anthropic does not count cached tokens as input tokens. */
const deltaUsageOf = ({ usage }: RunningAnswer, { completionTokens, reasoningTokens }: Tokens) => ({
  input_tokens: usage.promptTokens - usage.cachedTokens,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: usage.cachedTokens,
  output_tokens: completionTokens,
  output_tokens_details: { thinking_tokens: reasoningTokens },
  server_tool_use: null,
})

const usageOf = (answer: RunningAnswer, tokens: Tokens): Message['usage'] => ({
  ...deltaUsageOf(answer, tokens),
  cache_creation: null,
  inference_geo: null,
  service_tier: 'standard',
  speed: 'standard',
})

const stopReasons = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
} as const

/** What only Anthropic's own models have. Its clients expect the fields. */
const notHere = { stop_details: null, container: null }

function endOf(
  { upstream }: RunningAnswer,
  { reason, stop, completionTokens }: BlocksEnd,
  maxTokens: MessagesRequest['max_tokens'],
) {
  // Fewer tokens than allowed were generated, because the context was full. A server elsewhere may have a bound of its own.
  const isFull = upstream === undefined && reason === 'length' && completionTokens < (maxTokens ?? Infinity)
  const why = isFull ? 'model_context_window_exceeded' : stopReasons[reason]
  return { stop_reason: stop === null ? why : 'stop_sequence', stop_sequence: stop, ...notHere } as const
}

/** A block as a stream begins it: empty. */
const begun = (block: Block): ContentBlock => finished({ ...block, text: '' })

function finished({ kind, id, name, text }: Block): ContentBlock {
  if (kind === 'text') return { type: 'text', text, citations: null }
  if (kind === 'reasoning') return { type: 'thinking', thinking: text, signature: '' }
  return { type: 'tool_use', id, name, input: argumentsOf(text) ?? {}, caller: { type: 'direct' } }
}

function deltaOf({ kind }: Block, text: string): Delta {
  if (kind === 'text') return { type: 'text_delta', text }
  if (kind === 'reasoning') return { type: 'thinking_delta', thinking: text }
  return { type: 'input_json_delta', partial_json: text }
}
