import type { z } from 'zod'
import { isCutOff } from '../../deployments/index.ts'
import { parseJson } from '../../json.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { type Block, type BlockEvent, type BlocksEnd, blocksOf, collectBlocks } from '../answering/blocks.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { toOrielError } from '../errors.ts'
import { groundingOf } from '../shapes/grounding.ts'
import { chancesOf } from '../shapes/logprobs.ts'
import { includedOf } from '../shapes/usage.ts'
import { itemId, responseId } from './history.ts'
import type { response, responseEvent } from './response.ts'
import type { ResponsesRequest } from './schema.ts'
import type { StoredItem } from './store.ts'
import { storedInput } from './stored.ts'
import { sealed } from './thoughts.ts'
import { type Offered, offeredTools, shownTools } from './tools.ts'

type Response = z.output<typeof response>
type Item = Response['output'][number]
type Numbered = z.output<typeof responseEvent>
type Unnumbered<Event> = Event extends unknown ? Omit<Event, 'sequence_number'> : never
type ResponseEvent = Unnumbered<Numbered>

/** What the body of a response is made from. */
interface Asked {
  answer: RunningAnswer
  body: ResponsesRequest
  /** The items of the request, as they are kept, if they are. */
  input: readonly StoredItem[]
  /** Whether the response is kept. */
  store: boolean
  /** The tools that the model may have called, by the names that it knows. */
  tools: ReadonlyMap<string, Offered>
}

export async function whole(answer: RunningAnswer, body: ResponsesRequest, context: RequestContext) {
  const asked = askedOf(answer, body, context)
  const { blocks, end } = await collectBlocks(answer)
  const items = blocks.map((block, index) => itemOf(asked, index, block, true))
  const response = responseOf(asked, items, end)
  await keep(asked, response, context)
  return { body: response, timings: end.timings }
}

export async function* events(
  answer: RunningAnswer,
  body: ResponsesRequest,
  context: RequestContext,
): AsyncIterable<Numbered> {
  const asked = askedOf(answer, body, context)
  let sequence_number = 0
  for await (const event of unnumbered(asked)) {
    // Before its last event: the client may continue it at once.
    if (event.type === 'response.completed' || event.type === 'response.incomplete')
      await keep(asked, event.response, context)
    yield { ...event, sequence_number: sequence_number++ }
  }
}

function askedOf(answer: RunningAnswer, body: ResponsesRequest, { sent, responses }: RequestContext): Asked {
  const wanted = body.store !== false
  const input = wanted ? storedInput(answer.id, sent) : []
  return { answer, body, input, store: wanted && responses.holds(input), tools: offeredTools(body.tools) }
}

async function keep({ input, store }: Asked, response: Response, context: RequestContext): Promise<void> {
  if (store) await context.responses.put({ response, input }, context)
}

/** @param end undefined until the answer is complete */
function responseOf({ answer, body, store }: Asked, output: Item[], end?: BlocksEnd): Response {
  const { usage, sampling } = answer
  return {
    id: responseId(answer.id),
    object: 'response',
    created_at: answer.created,
    completed_at: end === undefined ? null : Math.floor(Date.now() / 1000),
    status: end === undefined ? 'in_progress' : statusOf(end),
    background: false,
    error: null,
    frequency_penalty: sampling.frequencyPenalty,
    incomplete_details: end === undefined ? null : incompleteOf(end),
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: body.max_tool_calls ?? null,
    model: answer.model,
    output,
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    presence_penalty: sampling.presencePenalty,
    previous_response_id: body.previous_response_id ?? null,
    prompt_cache_key: body.prompt_cache_key ?? null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    safety_identifier: body.safety_identifier ?? null,
    service_tier: 'default',
    store,
    temperature: sampling.temperature,
    text: { format: formatOf(body.text?.format), verbosity: body.text?.verbosity ?? 'medium' },
    tool_choice: body.tool_choice ?? 'auto',
    tools: shownTools(body.tools),
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
            ...includedOf(body, answer, end),
          },
    user: body.user ?? null,
    metadata: body.metadata ?? {},
    ...(end === undefined ? {} : groundingOf(end)),
  }
}

function formatOf(given: NonNullable<ResponsesRequest['text']>['format']): Response['text']['format'] {
  if (given?.type !== 'json_schema') return given ?? { type: 'text' }
  const { type, schema, name = 'response', description = null, strict } = given
  return { type, name, description, schema, strict: strict ?? false }
}

const statusOf = ({ reason }: BlocksEnd) => (isCutOff(reason) ? 'incomplete' : 'completed')

function incompleteOf({ reason }: BlocksEnd): Response['incomplete_details'] {
  if (reason === 'content_filter') return { reason }
  return reason === 'length' ? { reason: 'max_output_tokens' } : null
}

/** @param done whether the block is complete; until then the item is empty */
function itemOf(asked: Asked, index: number, block: Block, done: boolean): Item {
  const id = (prefix: string) => itemId(prefix, asked.answer.id, index)
  const status: Item['status'] = done ? (block.complete ? 'completed' : 'incomplete') : 'in_progress'
  const content = <Part>(part: (block: Block) => Part): Part[] => (done ? [part(block)] : [])
  if (block.kind === 'text')
    return { type: 'message', id: id('msg'), role: 'assistant', status, content: content(textPart) }
  if (block.kind === 'reasoning') {
    const wanted = done && asked.body.include?.includes('reasoning.encrypted_content')
    const seal = wanted ? { encrypted_content: sealed(block.text) } : {}
    return { type: 'reasoning', id: id('rs'), status, summary: [], content: content(reasoningPart), ...seal }
  }
  const { tool, namespace } = asked.tools.get(block.name) ?? {
    tool: { type: 'function', name: block.name },
    namespace: null,
  }
  const call = { call_id: block.id, name: tool.name, ...(namespace === null ? {} : { namespace }) }
  const text = done ? block.text : ''
  return tool.type === 'custom'
    ? { type: 'custom_tool_call', id: id('ctc'), ...call, input: inputOf(text), status }
    : { type: 'function_call', id: id('fc'), ...call, arguments: text, status }
}

/** The only argument of a custom tool, or what the model wrote in its place. */
function inputOf(text: string): string {
  const given = parseJson(text)
  const isObject = typeof given === 'object' && given !== null
  return isObject && 'input' in given && typeof given.input === 'string' ? given.input : text
}

const textPart = ({ text, tokens }: Block) => ({
  type: 'output_text' as const,
  text,
  annotations: [],
  logprobs: chancesOf(tokens),
})

const reasoningPart = ({ text }: Block) => ({ type: 'reasoning_text' as const, text })

async function* unnumbered(asked: Asked): AsyncIterable<ResponseEvent> {
  const output: Item[] = []
  const now = () => responseOf(asked, output)
  yield { type: 'response.created', response: now() }
  yield { type: 'response.in_progress', response: now() }
  try {
    for await (const event of blocksOf(asked.answer)) {
      if (event.type === 'end') {
        yield { type: `response.${statusOf(event)}`, response: responseOf(asked, output, event) }
        continue
      }
      const { index: output_index, block } = event
      const item = itemOf(asked, output_index, block, event.type === 'close')
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
type Place = { output_index: number; item_id: string }

/** The events of an item that begins, grows or ends. */
function* itemEvents(event: ItemEvent, item: Item, at: Place): Iterable<ResponseEvent> {
  const { output_index } = at
  if (event.type === 'open') yield { type: 'response.output_item.added', output_index, item }
  if (item.type === 'function_call') yield* callEvents(event, item.name, at)
  else if (item.type === 'custom_tool_call') yield* customEvents(event, item.input, at)
  else yield* partEvents(event, { ...at, content_index: 0 })
  if (event.type === 'close') yield { type: 'response.output_item.done', output_index, item }
}

function* callEvents(event: ItemEvent, name: string, at: Place): Iterable<ResponseEvent> {
  const { text } = event.block
  if (event.type === 'delta') yield { type: 'response.function_call_arguments.delta', ...at, delta: event.text }
  if (event.type === 'close') yield { type: 'response.function_call_arguments.done', ...at, name, arguments: text }
}

/** The model writes the input within JSON, so it is known when that is complete. */
function* customEvents({ type }: ItemEvent, input: string, at: Place): Iterable<ResponseEvent> {
  if (type !== 'close') return
  yield { type: 'response.custom_tool_call_input.delta', ...at, delta: input }
  yield { type: 'response.custom_tool_call_input.done', ...at, input }
}

function* partEvents(event: ItemEvent, at: Place & { content_index: number }): Iterable<ResponseEvent> {
  const { kind, text, tokens } = event.block
  const partOf = kind === 'text' ? textPart : reasoningPart
  if (event.type === 'open') yield { type: 'response.content_part.added', ...at, part: partOf(event.block) }
  if (event.type === 'delta')
    yield kind === 'text'
      ? { type: 'response.output_text.delta', ...at, delta: event.text, logprobs: chancesOf(event.tokens) }
      : { type: 'response.reasoning_text.delta', ...at, delta: event.text }
  if (event.type === 'close') {
    yield kind === 'text'
      ? { type: 'response.output_text.done', ...at, text, logprobs: chancesOf(tokens) }
      : { type: 'response.reasoning_text.done', ...at, text }
    yield { type: 'response.content_part.done', ...at, part: partOf(event.block) }
  }
}
