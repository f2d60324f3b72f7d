import { z } from 'zod'
import type { RunningAnswer } from '../answering/answer.ts'
import { type Block, type BlockEvent, type BlocksEnd, blocksOf, collectBlocks } from '../answering/blocks.ts'
import { toOrielError } from '../errors.ts'
import { type ResponsesRequest, responsesRequest } from './schema.ts'

const itemStatus = z.enum(['in_progress', 'completed', 'incomplete'])

const outputText = z.strictObject({
  type: z.literal('output_text'),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs: z.array(z.never()),
})

const reasoningText = z.strictObject({ type: z.literal('reasoning_text'), text: z.string() })

const item = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('message'),
    id: z.string(),
    role: z.literal('assistant'),
    status: itemStatus,
    content: z.array(outputText),
  }),
  z.strictObject({
    type: z.literal('reasoning'),
    id: z.string(),
    status: itemStatus,
    summary: z.array(z.never()),
    content: z.array(reasoningText),
  }),
  z.strictObject({
    type: z.literal('function_call'),
    id: z.string(),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
    status: itemStatus,
  }),
])

const usage = z.strictObject({
  input_tokens: z.int(),
  input_tokens_details: z.strictObject({ cached_tokens: z.int(), cache_write_tokens: z.int() }),
  output_tokens: z.int(),
  output_tokens_details: z.strictObject({ reasoning_tokens: z.int() }),
  total_tokens: z.int(),
})

/** The answer of `/responses`, whole or as far as a stream has come. Most fields repeat the request. */
export const response = z.strictObject({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int().describe('Seconds since 1970.'),
  completed_at: z.int().nullable(),
  status: z.enum(['in_progress', 'completed', 'incomplete', 'failed']),
  background: z.literal(false),
  error: z.strictObject({ code: z.literal('server_error'), message: z.string() }).nullable(),
  incomplete_details: z.strictObject({ reason: z.literal('max_output_tokens') }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  model: z.string(),
  output: z.array(item),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.null(),
  prompt_cache_key: z.string().nullable(),
  reasoning: z.strictObject({ effort: z.string().nullable(), summary: z.null() }),
  safety_identifier: z.string().nullable(),
  service_tier: z.literal('default'),
  store: z.literal(false),
  temperature: z.number(),
  text: responsesRequest.shape.text.unwrap().unwrap(),
  tool_choice: responsesRequest.shape.tool_choice.unwrap().unwrap(),
  tools: responsesRequest.shape.tools.unwrap().unwrap(),
  top_logprobs: z.int(),
  top_p: z.number(),
  truncation: z.enum(['auto', 'disabled']),
  usage: usage.nullable(),
  user: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
})

const numbered = { sequence_number: z.int() }
const ofItem = { ...numbered, output_index: z.int(), item_id: z.string() }
const ofPart = { ...ofItem, content_index: z.int() }
const logprobs = z.array(z.never())

export const responseEvent = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.enum([
      'response.created',
      'response.in_progress',
      'response.completed',
      'response.incomplete',
      'response.failed',
    ]),
    response,
    ...numbered,
  }),
  z.strictObject({
    type: z.enum(['response.output_item.added', 'response.output_item.done']),
    output_index: z.int(),
    item,
    ...numbered,
  }),
  z.strictObject({
    type: z.enum(['response.content_part.added', 'response.content_part.done']),
    part: z.discriminatedUnion('type', [outputText, reasoningText]),
    ...ofPart,
  }),
  z.strictObject({ type: z.literal('response.output_text.delta'), delta: z.string(), logprobs, ...ofPart }),
  z.strictObject({ type: z.literal('response.output_text.done'), text: z.string(), logprobs, ...ofPart }),
  z.strictObject({ type: z.literal('response.reasoning_text.delta'), delta: z.string(), ...ofPart }),
  z.strictObject({ type: z.literal('response.reasoning_text.done'), text: z.string(), ...ofPart }),
  z.strictObject({ type: z.literal('response.function_call_arguments.delta'), delta: z.string(), ...ofItem }),
  z.strictObject({
    type: z.literal('response.function_call_arguments.done'),
    name: z.string(),
    arguments: z.string(),
    ...ofItem,
  }),
])

type Response = z.output<typeof response>
type Item = Response['output'][number]
type Numbered = z.output<typeof responseEvent>
type Unnumbered<Event> = Event extends unknown ? Omit<Event, 'sequence_number'> : never
type ResponseEvent = Unnumbered<Numbered>

export async function whole(answer: RunningAnswer, body: ResponsesRequest) {
  const { blocks, end } = await collectBlocks(answer)
  const items = blocks.map((block, index) => itemOf(answer, index, block, true))
  return { body: responseOf(answer, body, items, end), timings: end.timings }
}

export async function* events(answer: RunningAnswer, body: ResponsesRequest): AsyncIterable<Numbered> {
  let sequence_number = 0
  for await (const event of unnumbered(answer, body)) yield { ...event, sequence_number: sequence_number++ }
}

/** @param end undefined until the answer is complete */
function responseOf(answer: RunningAnswer, body: ResponsesRequest, output: Item[], end?: BlocksEnd): Response {
  const { usage, sampling } = answer
  return {
    id: `resp_${answer.id}`,
    object: 'response',
    created_at: answer.created,
    completed_at: end === undefined ? null : Math.floor(Date.now() / 1000),
    status: end === undefined ? 'in_progress' : statusOf(end),
    background: false,
    error: null,
    incomplete_details: end?.reason === 'length' ? { reason: 'max_output_tokens' } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    model: answer.model,
    output,
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    prompt_cache_key: body.prompt_cache_key ?? null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    safety_identifier: body.safety_identifier ?? null,
    service_tier: 'default',
    store: false,
    temperature: sampling.temperature,
    text: body.text ?? { format: { type: 'text' } },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_logprobs: body.top_logprobs ?? 0,
    top_p: sampling.topP,
    truncation: body.truncation ?? 'disabled',
    usage:
      end === undefined
        ? null
        : {
            input_tokens: usage.promptTokens,
            input_tokens_details: { cached_tokens: usage.cachedTokens, cache_write_tokens: 0 },
            output_tokens: end.completionTokens,
            output_tokens_details: { reasoning_tokens: end.reasoningTokens },
            total_tokens: usage.promptTokens + end.completionTokens,
          },
    user: body.user ?? null,
    metadata: body.metadata ?? {},
  }
}

const statusOf = ({ reason }: BlocksEnd) => (reason === 'length' ? 'incomplete' : 'completed')

/** @param done whether the block is complete; until then the item is empty */
function itemOf({ id: answer }: RunningAnswer, index: number, block: Block, done: boolean): Item {
  const id = `${answer}-${index}`
  const status: Item['status'] = done ? (block.complete ? 'completed' : 'incomplete') : 'in_progress'
  if (block.kind === 'call') {
    const call = { call_id: block.id, name: block.name, arguments: done ? block.text : '', status }
    return { type: 'function_call', id: `fc_${id}`, ...call }
  }
  const { text } = block
  return block.kind === 'text'
    ? { type: 'message', id: `msg_${id}`, role: 'assistant', status, content: done ? [textPart(text)] : [] }
    : { type: 'reasoning', id: `rs_${id}`, status, summary: [], content: done ? [reasoningPart(text)] : [] }
}

const textPart = (text: string) => ({ type: 'output_text' as const, text, annotations: [], logprobs: [] })

const reasoningPart = (text: string) => ({ type: 'reasoning_text' as const, text })

async function* unnumbered(answer: RunningAnswer, body: ResponsesRequest): AsyncIterable<ResponseEvent> {
  const output: Item[] = []
  const now = () => responseOf(answer, body, output)
  yield { type: 'response.created', response: now() }
  yield { type: 'response.in_progress', response: now() }
  try {
    for await (const event of blocksOf(answer)) {
      if (event.type === 'end') {
        yield { type: `response.${statusOf(event)}`, response: responseOf(answer, body, output, event) }
        continue
      }
      const { index: output_index, block } = event
      const item = itemOf(answer, output_index, block, event.type === 'close')
      if (event.type === 'close') output.push(item)
      yield* itemEvents(event, item, { output_index, item_id: item.id })
    }
  } catch (failure) {
    const error = { code: 'server_error' as const, message: toOrielError(failure).message }
    yield { type: 'response.failed', response: { ...now(), status: 'failed', error } }
    throw failure
  }
}

type ItemEvent = Exclude<BlockEvent, { type: 'end' }>

/** The events of an item that begins, grows or ends. */
function* itemEvents(
  event: ItemEvent,
  item: Item,
  at: { output_index: number; item_id: string },
): Iterable<ResponseEvent> {
  const { output_index } = at
  if (event.type === 'open') yield { type: 'response.output_item.added', output_index, item }
  if (event.block.kind === 'call') yield* callEvents(event, at)
  else yield* partEvents(event, { ...at, content_index: 0 })
  if (event.type === 'close') yield { type: 'response.output_item.done', output_index, item }
}

function* callEvents(event: ItemEvent, at: { output_index: number; item_id: string }): Iterable<ResponseEvent> {
  const { name, text } = event.block
  if (event.type === 'delta') yield { type: 'response.function_call_arguments.delta', ...at, delta: event.text }
  if (event.type === 'close') yield { type: 'response.function_call_arguments.done', ...at, name, arguments: text }
}

function* partEvents(
  event: ItemEvent,
  at: { output_index: number; item_id: string; content_index: number },
): Iterable<ResponseEvent> {
  const { kind, text } = event.block
  const partOf = kind === 'text' ? textPart : reasoningPart
  if (event.type === 'open') yield { type: 'response.content_part.added', ...at, part: partOf('') }
  if (event.type === 'delta')
    yield kind === 'text'
      ? { type: 'response.output_text.delta', ...at, delta: event.text, logprobs: [] }
      : { type: 'response.reasoning_text.delta', ...at, delta: event.text }
  if (event.type === 'close') {
    yield kind === 'text'
      ? { type: 'response.output_text.done', ...at, text, logprobs: [] }
      : { type: 'response.reasoning_text.done', ...at, text }
    yield { type: 'response.content_part.done', ...at, part: partOf(text) }
  }
}
