/** Streams as servers send them, by their documents and by what they were seen to send. */

const sse = (...events: (object | string)[]): string =>
  events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('')

const chunk = (choice: object | null, more: object = {}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1_790_000_000,
  model: 'a-model',
  choices: choice === null ? [] : [{ index: 0, logprobs: null, finish_reason: null, ...choice }],
  ...more,
})

const text = (content: string, more: object = {}) => chunk({ delta: { content } }, more)
const stopped = (reason = 'stop', more: object = {}) => chunk({ delta: {}, finish_reason: reason, ...more })

export const openaiStream = sse(
  chunk({ delta: { role: 'assistant', content: '', refusal: null } }, { usage: null }),
  text('Grüße', { usage: null }),
  text(', 世界 🌍!', { usage: null }),
  stopped(),
  chunk(null, {
    usage: {
      prompt_tokens: 20,
      completion_tokens: 6,
      total_tokens: 26,
      prompt_tokens_details: { cached_tokens: 16, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 2, audio_tokens: 0 },
    },
  }),
  '[DONE]',
)

/** vLLM with a parser of thoughts, and usage with each chunk. */
export const vllmStream = sse(
  chunk(
    { delta: { role: 'assistant', content: '' } },
    { usage: { prompt_tokens: 9, total_tokens: 9, completion_tokens: 0 } },
  ),
  chunk({ delta: { reasoning: 'Hm.' } }, { usage: { prompt_tokens: 9, total_tokens: 11, completion_tokens: 2 } }),
  text('Yes', { usage: { prompt_tokens: 9, total_tokens: 12, completion_tokens: 3 } }),
  chunk(
    { delta: { content: '' }, finish_reason: 'stop', stop_reason: 'END' },
    { usage: { prompt_tokens: 9, total_tokens: 13, completion_tokens: 4 } },
  ),
  chunk(null, { usage: { prompt_tokens: 9, total_tokens: 13, completion_tokens: 4 } }),
  '[DONE]',
)

/** A server without a parser of thoughts. */
export const taggedStream = sse(
  text('<thi'),
  text('nk>Let me see.</th'),
  text('ink>\n\nIt is'),
  text(' a cat.'),
  stopped(),
  '[DONE]',
)

const called = (index: number, more: object) => chunk({ delta: { tool_calls: [{ index, ...more }] } })

export const callsStream = sse(
  chunk({ delta: { role: 'assistant', content: null } }),
  called(0, { id: 'call_a', type: 'function', function: { name: 'weather', arguments: '' } }),
  called(0, { function: { arguments: '{"city"' } }),
  called(0, { function: { arguments: ':"Bern"}' } }),
  called(1, { id: 'call_b', type: 'function', function: { name: 'time', arguments: '' } }),
  stopped('tool_calls'),
  '[DONE]',
)

/** Whole calls that all have the same number, from a server that says `stop`. */
export const ollamaCallsStream = sse(
  chunk({
    delta: {
      role: 'assistant',
      content: '',
      tool_calls: [
        { id: 'call_1', index: 0, type: 'function', function: { name: 'weather', arguments: '{"city":"Bern"}' } },
        { id: 'call_2', index: 0, type: 'function', function: { name: 'weather', arguments: '{"city":"Uri"}' } },
      ],
    },
  }),
  stopped('stop'),
  '[DONE]',
)

/** As llama-server sends log probabilities, and counts as it goes. */
export const llamaStream = sse(
  chunk({ delta: { role: 'assistant', content: null } }),
  chunk(
    {
      delta: { content: 'A' },
      logprobs: {
        content: [
          {
            id: 65,
            token: 'A',
            bytes: [65],
            logprob: -0.5,
            top_logprobs: [
              { id: 65, token: 'A', bytes: [65], logprob: -0.5 },
              { id: 66, token: 'B', bytes: [66], logprob: -1.5 },
            ],
          },
        ],
      },
    },
    { timings: { cache_n: 3, prompt_n: 4, prompt_ms: 5, predicted_n: 1, predicted_ms: 0 } },
  ),
  stopped('length'),
  chunk(null, {
    usage: { prompt_tokens: 7, completion_tokens: 1, total_tokens: 8, prompt_tokens_details: { cached_tokens: 3 } },
    timings: { cache_n: 3, prompt_n: 4, prompt_ms: 5, predicted_n: 1, predicted_ms: 1 },
  }),
  '[DONE]',
)

/** A plain prompt at vLLM, in whose form log probabilities of completions are. */
export const plainStream = sse(
  {
    object: 'text_completion',
    choices: [
      {
        index: 0,
        text: ' upon',
        logprobs: {
          text_offset: [0],
          token_logprobs: [-0.1],
          tokens: [' upon'],
          top_logprobs: [{ ' upon': -0.1, ' more': -3 }],
        },
        finish_reason: null,
      },
    ],
  },
  { object: 'text_completion', choices: [{ index: 0, text: '', logprobs: null, finish_reason: 'length' }] },
  { object: 'text_completion', choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } },
  '[DONE]',
)

export const twoChoicesStream = sse(
  chunk({ delta: { content: 'one' } }),
  chunk({ index: 1, delta: { content: 'uno' } }),
  chunk({ index: 1, delta: {}, finish_reason: 'stop' }),
  chunk({ delta: { content: ' two' } }),
  stopped('length'),
  chunk(null, { usage: { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6 } }),
  '[DONE]',
)

export const refusingStream = sse(text('I'), stopped('content_filter'), '[DONE]')

const named = (...events: ({ type: string } & Record<string, unknown>)[]): string =>
  events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('')

const delta = (index: number, fields: object) => ({ type: 'content_block_delta', index, delta: fields })

const messageStart = {
  type: 'message_start',
  message: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    content: [],
    model: 'a-model',
    stop_reason: null,
    usage: { input_tokens: 10, cache_creation_input_tokens: 5, cache_read_input_tokens: 85, output_tokens: 1 },
  },
}

export const anthropicStream = named(
  messageStart,
  { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } },
  { type: 'ping' },
  delta(0, { type: 'thinking_delta', thinking: 'Weather, then.' }),
  delta(0, { type: 'signature_delta', signature: 'EqQBCg==' }),
  { type: 'content_block_stop', index: 0 },
  { type: 'content_block_start', index: 1, content_block: { type: 'text', text: '' } },
  delta(1, { type: 'text_delta', text: 'I look ' }),
  delta(1, { type: 'text_delta', text: 'it up.' }),
  { type: 'content_block_stop', index: 1 },
  { type: 'something_new', index: 'a' },
  {
    type: 'content_block_start',
    index: 2,
    content_block: { type: 'tool_use', id: 'toolu_1', name: 'weather', input: {} },
  },
  delta(2, { type: 'input_json_delta', partial_json: '' }),
  delta(2, { type: 'input_json_delta', partial_json: '{"city":' }),
  delta(2, { type: 'input_json_delta', partial_json: '"Bern"}' }),
  { type: 'content_block_stop', index: 2 },
  {
    type: 'message_delta',
    delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { output_tokens: 42 },
  },
  { type: 'message_stop' },
)

export const anthropicStop = named(
  messageStart,
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'One' } },
  {
    type: 'message_delta',
    delta: { stop_reason: 'stop_sequence', stop_sequence: 'END' },
    usage: { output_tokens: 2 },
  },
  { type: 'message_stop' },
)
