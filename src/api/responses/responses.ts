import type { AnswerEndpoint } from '../answer-route.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { type Block, type BlockEvent, blocksOf, collectBlocks } from '../answering/blocks.ts'
import { errorBody, toOrielError } from '../errors.ts'
import { readResponsesRequest } from './read.ts'
import { type ResponsesRequest, responsesRequest } from './schema.ts'

/** `POST /v1/responses`: OpenAI's newer API, without what it stores. */
export const responsesEndpoint: AnswerEndpoint<typeof responsesRequest> = {
  schema: responsesRequest,
  read: (body, context) => [readResponsesRequest(body, context)],
  streams: ({ stream }) => stream ?? false,
  async whole(answer, body) {
    const { blocks, end, timings } = await collectBlocks(answer)
    return {
      body: responseOf(
        answer,
        body,
        blocks.map((block, index) => itemOf(answer, index, block, true)),
        end,
      ),
      timings,
    }
  },
  events,
  framing: ({ dialect, requestId }) => {
    let sequence_number = 0
    const frame = (event: object): string =>
      `event: ${'type' in event ? event.type : ''}\ndata: ${JSON.stringify({ ...event, sequence_number: sequence_number++ })}\n\n`
    return {
      event: frame,
      // OpenAI's clients throw for what has an `error`, and no other event.
      failure: (error) => {
        const { message, code = null, param = null } = error
        return frame({ ...errorBody(error, dialect, requestId), type: 'error', code, message, param })
      },
      end: '',
    }
  },
}

type End = Extract<BlockEvent, { type: 'end' }>

/** @param end undefined while the answer is under way */
function responseOf(answer: RunningAnswer, body: ResponsesRequest, output: readonly object[], end?: End): object {
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

const statusOf = ({ reason }: End): string => (reason === 'length' ? 'incomplete' : 'completed')

/** @param done whether no more of it comes */
function itemOf(
  { id: answer }: RunningAnswer,
  index: number,
  block: Block,
  done: boolean,
): { id: string; [field: string]: unknown } {
  const id = `${answer}-${index}`
  const status = done ? (block.complete ? 'completed' : 'incomplete') : 'in_progress'
  if (block.kind === 'call') {
    const call = { call_id: block.id, name: block.name, arguments: done ? block.text : '', status }
    return { type: 'function_call', id: `fc_${id}`, ...call }
  }
  const content = done ? [partOf(block)] : []
  return block.kind === 'text'
    ? { type: 'message', id: `msg_${id}`, role: 'assistant', status, content }
    : { type: 'reasoning', id: `rs_${id}`, status, summary: [], content }
}

const partOf = ({ kind, text }: Pick<Block, 'kind' | 'text'>): object =>
  kind === 'text' ? { type: 'output_text', text, annotations: [], logprobs: [] } : { type: 'reasoning_text', text }

async function* events(answer: RunningAnswer, body: ResponsesRequest): AsyncIterable<object> {
  const output: object[] = []
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
    const error = { code: 'server_error', message: toOrielError(failure).message }
    yield { type: 'response.failed', response: { ...now(), status: 'failed', error } }
    throw failure
  }
}

type ItemEvent = Exclude<BlockEvent, { type: 'end' }>

/** What a stream says of an item as it begins, grows and ends. */
function* itemEvents(event: ItemEvent, item: object, at: { output_index: number; item_id: string }): Iterable<object> {
  const { block, type } = event
  const { output_index } = at
  const part = { ...at, content_index: 0 }
  if (type === 'open') yield { type: 'response.output_item.added', output_index, item }
  if (block.kind === 'call') {
    const name = 'response.function_call_arguments'
    if (type === 'delta') yield { type: `${name}.delta`, ...at, delta: event.text }
    if (type === 'close') yield { type: `${name}.done`, ...at, name: block.name, arguments: block.text }
  } else {
    const name = block.kind === 'text' ? 'response.output_text' : 'response.reasoning_text'
    const logprobs = block.kind === 'text' ? { logprobs: [] } : {}
    if (type === 'open') yield { type: 'response.content_part.added', ...part, part: partOf({ ...block, text: '' }) }
    if (type === 'delta') yield { type: `${name}.delta`, ...part, delta: event.text, ...logprobs }
    if (type === 'close') {
      yield { type: `${name}.done`, ...part, text: block.text, ...logprobs }
      yield { type: 'response.content_part.done', ...part, part: partOf(block) }
    }
  }
  if (type === 'close') yield { type: 'response.output_item.done', output_index, item }
}
