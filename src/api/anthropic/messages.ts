import type { AnswerEndpoint, CountEndpoint } from '../answer-route.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { type Block, type BlockEvent, blocksOf, collectBlocks } from '../answering/blocks.ts'
import { errorBody } from '../errors.ts'
import { readMessagesRequest } from './read.ts'
import { countRequest, messagesRequest } from './schema.ts'

/** `POST /v1/messages`: Anthropic's API. */
export const messagesEndpoint: AnswerEndpoint<typeof messagesRequest> = {
  schema: messagesRequest,
  read: (body, context) => [readMessagesRequest(body, context)],
  streams: ({ stream }) => stream ?? false,
  async whole(answer) {
    const { blocks, end, timings } = await collectBlocks(answer)
    const body = {
      ...messageOf(answer, blocks.map(finished)),
      ...endOf(end),
      usage: usageOf(answer, end.completionTokens),
    }
    return { body, timings }
  },
  events,
  framing: ({ dialect, requestId }) => ({
    event: frame,
    failure: (error) => frame({ ...errorBody(error, dialect, requestId), type: 'error' }),
    end: '',
  }),
}

/** `POST /v1/messages/count_tokens` */
export const countEndpoint: CountEndpoint<typeof countRequest> = {
  schema: countRequest,
  read: (body, context) => [readMessagesRequest(body, context)],
  counted: (_, prompts) => ({ input_tokens: prompts.reduce((sum, { promptTokens }) => sum + promptTokens, 0) }),
}

const frame = (event: object): string =>
  `event: ${'type' in event ? event.type : ''}\ndata: ${JSON.stringify(event)}\n\n`

const messageOf = ({ id, model }: RunningAnswer, content: readonly object[]) => ({
  id: `msg_${id}`,
  type: 'message',
  role: 'assistant',
  model,
  content,
  stop_reason: null,
  stop_sequence: null,
})

/** Anthropic counts what was read from the cache apart from the rest. */
const usageOf = ({ usage }: RunningAnswer, outputTokens: number) => ({
  input_tokens: usage.promptTokens - usage.cachedTokens,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: usage.cachedTokens,
  output_tokens: outputTokens,
})

const endOf = ({ reason, stop }: Extract<BlockEvent, { type: 'end' }>) => ({
  stop_reason:
    stop !== null ? 'stop_sequence' : { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use' }[reason],
  stop_sequence: stop,
})

/** A block as it begins in a stream: empty. */
function begun({ kind, id, name }: Block): object {
  if (kind === 'text') return { type: 'text', text: '' }
  return kind === 'reasoning'
    ? { type: 'thinking', thinking: '', signature: '' }
    : { type: 'tool_use', id, name, input: {} }
}

function finished(block: Block): object {
  const { kind, text } = block
  if (kind === 'text') return { ...begun(block), text }
  return kind === 'reasoning' ? { ...begun(block), thinking: text } : { ...begun(block), input: inputOf(text) }
}

/** A call that was cut off has no arguments that could be read. */
function inputOf(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return {}
  }
}

function deltaOf({ kind }: Block, text: string): object {
  if (kind === 'text') return { type: 'text_delta', text }
  return kind === 'reasoning'
    ? { type: 'thinking_delta', thinking: text }
    : { type: 'input_json_delta', partial_json: text }
}

async function* events(answer: RunningAnswer): AsyncIterable<object> {
  yield { type: 'message_start', message: { ...messageOf(answer, []), usage: usageOf(answer, 0) } }
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
