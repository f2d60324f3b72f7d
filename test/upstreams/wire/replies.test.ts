import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type AnswerEvent, type AnswerToken, Collected } from '../../../src/deployments/index.ts'
import { AttemptFailed } from '../../../src/upstreams/attempt-failed.ts'
import { wires } from '../../../src/upstreams/wire/index.ts'
import type { PreparedAsk } from '../../../src/upstreams/wire/wire.ts'
import { type Api, askOf } from './asks.ts'
import {
  anthropicStop,
  anthropicStream,
  callsStream,
  llamaStream,
  ollamaCallsStream,
  openaiStream,
  plainStream,
  refusingStream,
  taggedStream,
  twoChoicesStream,
  vllmStream,
} from './streams.ts'

async function* piecesOf(bytes: Buffer, cuts: readonly number[]): AsyncIterable<Uint8Array> {
  let from = 0
  for (const cut of [...cuts, bytes.length]) {
    yield bytes.subarray(from, cut)
    from = cut
  }
}

/** What an upstream's stream becomes. @param cuts places in bytes where it arrives in pieces */
async function read(api: Api, stream: string, ask: PreparedAsk = askOf(), cuts: readonly number[] = []) {
  const usage = { promptTokens: 1, cachedTokens: 0, imageTokens: ask.attachments.map(() => 1) }
  const events: AnswerEvent[] = []
  for await (const event of wires[api].events(piecesOf(Buffer.from(stream), cuts), ask, usage)) events.push(event)
  const collected = new Collected(ask.settings.n)
  for (const event of events) collected.take(event)
  return { events, usage, choices: collected.choices, choice: collected.choices[0], tally: collected.tally }
}

/** The failure of a stream that is none, and the text before it. */
async function failure(api: Api, stream: string, ask: PreparedAsk = askOf()) {
  let text = ''
  try {
    for await (const event of wires[api].events(piecesOf(Buffer.from(stream), []), ask, {
      ...{ promptTokens: 1, cachedTokens: 0, imageTokens: [] },
    }))
      if (event.type === 'part') text += event.raw
  } catch (error) {
    if (error instanceof AttemptFailed) return { ...error, text, message: error.message }
    throw error
  }
  throw new Error('the stream did not fail')
}

test('reads text, its end and its usage', async () => {
  const { events, usage, choice, tally } = await read('openai', openaiStream)
  expect(choice).toMatchObject({ text: 'Grüße, 世界 🌍!', reasoning: '', reason: 'stop' })
  expect(choice).toMatchObject({ completionTokens: 6, reasoningTokens: 2 })
  expect(usage).toEqual({ promptTokens: 20, cachedTokens: 16, imageTokens: [] })
  expect(tally).toMatchObject({ completionTokens: 6, reasoningTokens: 2 })
  expect(events.map(({ type }) => type)).toEqual(['part', 'part', 'end', 'done'])
})

test('passes each part on before the next one is there', async () => {
  const bytes = Buffer.from(openaiStream)
  const end = bytes.indexOf('世界')
  let isRead = false
  const slow = async function* () {
    yield bytes.subarray(0, end)
    isRead = true
    yield bytes.subarray(end)
  }
  const events = wires.openai.events(slow(), askOf(), { promptTokens: 1, cachedTokens: 0, imageTokens: [] })
  const first = await events[Symbol.asyncIterator]().next()
  expect(first.value).toMatchObject({ type: 'part', raw: 'Grüße' })
  expect(isRead).toBe(false)
})

test('reads thoughts of their own field, what ended the text, and counts that come with each part', async () => {
  const { events, choice, tally } = await read('vllm', vllmStream, askOf({ settings: { stop: ['END'] } }))
  expect(choice).toMatchObject({ text: 'Yes', reasoning: 'Hm.', completionTokens: 4 })
  expect(events.flatMap((event) => (event.type === 'part' ? [event.completionTokens] : []))).toEqual([2, 3])
  expect(events.at(-2)).toMatchObject({ type: 'end', stop: 'END', reasoningTokens: 2 })
  expect(tally).toMatchObject({ completionTokens: 4 })
})

test('separates thoughts in tags, wherever the text is cut', async () => {
  const { choice } = await read('vllm', taggedStream)
  expect(choice).toMatchObject({ reasoning: 'Let me see.', text: 'It is a cat.' })
  const left = await read('vllm', taggedStream, askOf({ prompt: { splitReasoning: false } }))
  expect(left.choice?.text).toBe('<think>Let me see.</think>\n\nIt is a cat.')
})

test('puts thoughts into the text for a client that wants them there', async () => {
  const { choice } = await read('vllm', vllmStream, askOf({ prompt: { splitReasoning: false } }))
  expect(choice).toMatchObject({ reasoning: '', text: '<think>\nHm.\n</think>\n\nYes' })
})

test('reads calls that come in pieces, and gives one without arguments an empty object', async () => {
  const { choice } = await read('vllm', callsStream)
  expect(choice).toMatchObject({ reason: 'tool_calls', text: '' })
  expect(choice?.calls).toEqual([
    { name: 'weather', arguments: '{"city":"Bern"}' },
    { name: 'time', arguments: '{}' },
  ])
})

test('gives a call that was cut off before its arguments none', async () => {
  const { choice } = await read('vllm', callsStream.replace('"finish_reason":"tool_calls"', '"finish_reason":"length"'))
  expect(choice).toMatchObject({ reason: 'length', calls: [{ arguments: '{"city":"Bern"}' }, { arguments: '' }] })
})

test('reads whole calls that have the same number, and says that the answer is calls', async () => {
  const { choice } = await read('ollama', ollamaCallsStream)
  expect(choice?.reason).toBe('tool_calls')
  expect(choice?.calls.map((call) => call.arguments)).toEqual(['{"city":"Bern"}', '{"city":"Uri"}'])
})

test('leaves out further calls where only one is wanted', async () => {
  const { choice } = await read(
    'ollama',
    ollamaCallsStream,
    askOf({ prompt: { calling: { mode: 'auto', parallel: false } } }),
  )
  expect(choice?.calls).toHaveLength(1)
})

test('reads log probabilities with ids where they are told, and no more alternatives than are wanted', async () => {
  const { choice, usage } = await read('llama-server', llamaStream, askOf({ settings: { topLogprobs: 1 } }))
  const token: AnswerToken = { id: 65, bytes: Uint8Array.of(65), logprob: -0.5, top: [] }
  expect(choice?.tokens).toEqual([{ ...token, top: [{ id: 65, bytes: Uint8Array.of(65), logprob: -0.5 }] }])
  expect(choice?.reason).toBe('length')
  expect(usage).toMatchObject({ promptTokens: 7, cachedTokens: 3 })
})

test('reads log probabilities of plain prompts', async () => {
  const plain = { ask: { prompt: { kind: 'plain', parts: [] } as never }, settings: { topLogprobs: 2 } }
  const { choice } = await read('vllm', plainStream, askOf(plain))
  expect(choice?.text).toBe(' upon')
  expect(choice?.tokens).toMatchObject([{ id: -1, logprob: -0.1, top: [{ logprob: -0.1 }, { logprob: -3 }] }])
})

test('reads the likeliest alternatives of plain prompts, also where others are numbers', async () => {
  const top = '"top_logprobs":[{" upon":-0.1,"7":-4,"12":-5,"3":-1}]'
  const stream = plainStream.replace(/"top_logprobs":\[\{[^}]*\}\]/, top)
  const plain = { ask: { prompt: { kind: 'plain', parts: [] } as never }, settings: { topLogprobs: 2 } }
  const { choice } = await read('vllm', stream, askOf(plain))
  expect(choice?.tokens?.[0]?.top.map(({ bytes, logprob }) => [Buffer.from(bytes).toString(), logprob])).toEqual([
    [' upon', -0.1],
    ['3', -1],
  ])
})

test('keeps several choices apart, each with its end in time', async () => {
  const { events, choices, tally } = await read('vllm', twoChoicesStream, askOf({ settings: { n: 2 } }))
  expect(choices.map(({ text, reason }) => [text, reason])).toEqual([
    ['one two', 'length'],
    ['uno', 'stop'],
  ])
  expect(events.map(({ type }) => type)).toEqual(['part', 'part', 'end', 'part', 'end', 'done'])
  expect(tally?.completionTokens).toBe(3)
})

test('counts a long piece as several tokens where the server counts none, until the end tells', async () => {
  const long = openaiStream.replace(', 世界 🌍!', 'a'.repeat(100))
  const { events } = await read('openai', long)
  const counts = events.flatMap((event) => (event.type === 'part' ? [event.completionTokens] : []))
  expect(Math.max(...counts)).toBe(26)
})

test("reads Anthropic's blocks: thoughts, text and calls", async () => {
  const { choice, usage, tally } = await read('anthropic', anthropicStream)
  expect(choice).toMatchObject({ reasoning: 'Weather, then.', text: 'I look it up.', reason: 'tool_calls' })
  expect(choice?.calls).toEqual([{ name: 'weather', arguments: '{"city":"Bern"}' }])
  expect(usage).toMatchObject({ promptTokens: 100, cachedTokens: 85 })
  expect(tally?.completionTokens).toBe(42)
})

test("reads what stopped Anthropic's answer", async () => {
  const { events } = await read('anthropic', anthropicStop)
  expect(events.at(-2)).toMatchObject({ type: 'end', reason: 'stop', stop: 'END', completionTokens: 2 })
})

const streams: readonly (readonly [Api, string])[] = [
  ['openai', openaiStream],
  ['vllm', taggedStream],
  ['vllm', callsStream],
  ['anthropic', anthropicStream],
]

/** What a client gets: where its text was cut is of no importance. */
async function whole(api: Api, stream: string, cuts: readonly number[]) {
  const { choice, usage, tally } = await read(api, stream, askOf(), cuts)
  const { text, reasoning, calls, reason } = choice ?? {}
  return { text, reasoning, calls, reason, usage, tally }
}

test.each(streams)('reads a stream of %s the same wherever it is cut once', async (api, stream) => {
  const expected = await whole(api, stream, [])
  for (let cut = 1; cut < Buffer.byteLength(stream); cut++) expect(await whole(api, stream, [cut])).toEqual(expected)
})

test.each(streams)(
  'reads a stream of %s the same in whatever pieces, and with other line ends',
  async (api, stream) => {
    const expected = await whole(api, stream, [])
    const others = [
      stream.replaceAll('\n', '\r\n'),
      `: ping\n\n${stream.replaceAll('data: ', 'data:')}`,
      stream.trimEnd(),
    ]
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(stream, ...others),
        fc.array(fc.nat(), { maxLength: 30 }),
        async (form, cuts) => {
          const length = Buffer.byteLength(form)
          const places = cuts.map((cut) => cut % length).sort((a, b) => a - b)
          expect(await whole(api, form, places)).toEqual(expected)
        },
      ),
      { numRuns: 50 },
    )
  },
)

test.each(streams)('an answer of %s that ends before its end is an error, wherever that is', async (api, stream) => {
  const ends = [stream.lastIndexOf('finish_reason":"'), stream.indexOf('"message_delta"')].filter((at) => at >= 0)
  const most = Math.min(...ends)
  for (let length = 0; length < most; length += 7)
    expect(await failure(api, Buffer.from(stream).subarray(0, length).toString('latin1'))).toMatchObject({
      isFault: true,
      error: { kind: 'engine_failed' },
    })
})

test.each([
  ['{"choices": 5}', 'upstream_unreadable'],
  ['not JSON', 'upstream_unreadable'],
  ['{"choices":[{"index":3,"delta":{"content":"a"}}]}', 'upstream_unreadable'],
  [
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}',
    'upstream_unreadable',
  ],
  ['[DONE]', 'upstream_broke_off'],
])('a stream with %s is a failure of the upstream', async (data, code) => {
  expect(await failure('vllm', `data: ${data}\n\n`)).toMatchObject({ isFault: true, error: { code } })
})

test('an event without end does not grow for ever', async () => {
  expect(await failure('vllm', `data: ${'a'.repeat(5e6)}`)).toMatchObject({ error: { code: 'upstream_unreadable' } })
})

test.each<[Api, string, string]>([
  ['openai', refusingStream, 'I'],
  ['anthropic', anthropicStop.replace('"stop_reason":"stop_sequence"', '"stop_reason":"refusal"'), 'One'],
])('says that the upstream withheld the rest of an answer: %s', async (api, stream, text) => {
  const { choice, tally } = await read(api, stream)
  expect(choice).toMatchObject({ text, reason: 'content_filter' })
  expect(tally?.completionTokens).toBeGreaterThan(0)
})

test.each<[Api, string, object]>([
  [
    'vllm',
    'data: {"error":{"message":"Too long: maximum context length is 5","type":"BadRequestError","code":400}}',
    { kind: 'invalid', code: 'context_length_exceeded' },
  ],
  [
    'llama-server',
    'data: {"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
    { kind: 'overloaded' },
  ],
  [
    'openai',
    'data: {"error":{"message":"The server had an error","type":"server_error","code":null}}',
    { kind: 'engine_failed' },
  ],
  [
    'anthropic',
    'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    { kind: 'overloaded' },
  ],
])('reads errors within the stream of %s', async (api, stream, error) => {
  expect(await failure(api, `${stream}\n\n`)).toMatchObject({ error })
})
