import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dataUrl, shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'

let oriel: TestServer
let red: string
let blue: string
beforeAll(async () => {
  oriel = await startServer()
  red = dataUrl(await shape('red'))
  blue = dataUrl(await shape('blue', 'square', 300))
})
afterAll(() => oriel.close())

const text = (words: string) => ({ type: 'text', text: words })
const image = (url: string) => ({ type: 'image_url', image_url: { url } })
const content = () => [image(red), text('What is in this image?')]

const post = (body: object, path = '/v1/chat/completions', headers: Record<string, string> = {}) =>
  fetch(oriel.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'pocket', ...body }),
  })

interface Choice {
  message: { content: string; tool_calls?: { function: { name: string; arguments: string } }[] }
  finish_reason: string
  logprobs: { tokens: string[]; token_ids: number[]; text_offset: number[]; top_logprobs: object[] } | null
  token_ids: number[]
  raw_output: {
    completion: string
    prompt_fragments: string[]
    prompt_token_ids: number[]
    completion_token_ids: number[]
  }
}
interface Body {
  object: string
  choices: Choice[]
  prompt_token_ids: number[]
  perf_metrics: Record<string, string>
  cost: { prompt: number; answer_at_most: number }
  usage: {
    prompt_tokens: number
    completion_tokens: number
    prompt_tokens_details: { cached_tokens: number; images: number[]; image_tokens: number }
  }
}

const chat = async (over: object, headers?: Record<string, string>) => {
  const response = await post(
    { temperature: 0, messages: [{ role: 'user', content: content() }], ...over },
    undefined,
    headers,
  )
  const body = (await response.json()) as Body
  return { status: response.status, headers: response.headers, body, choice: body.choices?.[0] as Choice }
}

const stream = async (over: object) =>
  (
    await (
      await post({ temperature: 0, stream: true, messages: [{ role: 'user', content: content() }], ...over })
    ).text()
  )
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: {'))
    .map((frame) => JSON.parse(frame.slice(6)))

describe('a chat', () => {
  it('returns its prompt before the answer', async () => {
    const { choice } = await chat({})
    const echoed = (await chat({ echo: true })).choice.message.content
    expect(echoed).toBe(
      `<|im_start|>user\n<image>What is in this image?<|im_end|>\n<|im_start|>assistant\n${choice.message.content}`,
    )
    const last = (await chat({ echo_last: 2 })).choice.message.content
    expect(echoed.endsWith(last)).toBe(true)
    expect(last.length).toBeGreaterThan(choice.message.content.length)
    const pieces = await stream({ echo: true })
    expect(pieces.map(({ choices }) => choices[0].delta.content ?? '').join('')).toBe(echoed)
  })

  it('returns tokens and raw output, whole and in a stream', async () => {
    const { body, choice } = await chat({ raw_output: true, return_token_ids: true })
    expect(body.prompt_token_ids).toHaveLength(body.usage.prompt_tokens)
    expect(body.prompt_token_ids.filter((id) => id === -1).length).toBeGreaterThan(30)
    expect(choice.raw_output).toMatchObject({
      completion: choice.message.content,
      prompt_token_ids: body.prompt_token_ids,
      completion_token_ids: choice.token_ids,
    })
    const chunks = await stream({ raw_output: true, return_token_ids: true })
    expect(chunks[0].prompt_token_ids).toEqual(body.prompt_token_ids)
    expect(chunks.flatMap(({ choices }) => choices[0].token_ids ?? [])).toEqual(choice.token_ids)
    expect(chunks.at(-1).choices[0].raw_output).toEqual(choice.raw_output)
  })

  it('returns tokens that have no text, at the end too', async () => {
    // A control token, which has no text.
    const silent = { logit_bias: { 3: 100 }, max_tokens: 4, return_token_ids: true }
    const { body, choice } = await chat(silent)
    expect(choice).toMatchObject({ message: { content: '' }, finish_reason: 'length', token_ids: [3, 3, 3, 3] })
    expect(body.usage.completion_tokens).toBe(4)
    expect((await stream(silent)).flatMap(({ choices }) => choices[0].token_ids ?? [])).toEqual([3, 3, 3, 3])
  })

  it("returns log probabilities in Fireworks' format", async () => {
    const { choice } = await chat({ logprobs: 3 })
    const { tokens = [], text_offset = [], top_logprobs = [] } = choice.logprobs ?? {}
    expect(tokens.join('')).toBe(choice.message.content)
    for (const [index, offset] of text_offset.entries())
      expect(choice.message.content.startsWith(tokens[index] ?? '', offset)).toBe(true)
    expect(top_logprobs.every((top) => Object.keys(top).length === 3)).toBe(true)
    const offsets = (await stream({ logprobs: 3 })).flatMap(({ choices }) => choices[0].logprobs?.text_offset ?? [])
    expect(offsets).toEqual(text_offset)
  })

  it('returns its times in headers, and in the body if perf_metrics_in_response is true', async () => {
    const { headers, body } = await chat({ perf_metrics_in_response: true })
    expect(headers.get('fireworks-prompt-tokens')).toBe(String(body.usage.prompt_tokens))
    expect(headers.get('fireworks-cached-prompt-tokens')).toMatch(/^\d+$/)
    expect(Number(headers.get('fireworks-server-processing-time'))).toBeGreaterThan(0)
    expect(Number(headers.get('fireworks-server-time-to-first-token'))).toBeGreaterThan(0)
    expect(headers.get('server-timing')).toMatch(
      /^fetch;dur=[\d.]+, decode;.*media;.*queue;.*encode;.*prefill;.*generation;.*total;dur=/,
    )
    expect(JSON.parse(headers.get('fireworks-sampling-options') ?? '')).toMatchObject({ temperature: 0, top_p: 1 })
    expect(body.perf_metrics).toMatchObject({ 'prompt-tokens': String(body.usage.prompt_tokens) })
    const chunks = await stream({ perf_metrics_in_response: true })
    expect(chunks.at(-1).perf_metrics).toMatchObject({ 'generation-duration': expect.stringMatching(/^[\d.]+$/) })
    expect(chunks.slice(0, -1).some((chunk) => 'perf_metrics' in chunk)).toBe(false)
  })
})

describe('a chat that ends with an assistant message', () => {
  const begun = () => [
    { role: 'user', content: content() },
    { role: 'assistant', content: 'A red' },
  ]

  it.each([{ continue_final_message: true }, { add_generation_prompt: false }])(
    'is continued with %o',
    async (goesOn) => {
      const whole = (await chat({})).choice.message.content
      const { choice, body } = await chat({ messages: begun(), ...goesOn })
      expect(`A red${choice.message.content}`).toBe(whole)
      const pieces = await stream({ messages: begun(), ...goesOn })
      expect(pieces.map(({ choices }) => choices[0].delta.content ?? '').join('')).toBe(choice.message.content)
      const counted = await post({ messages: begun(), ...goesOn }, '/v1/tokenize')
      expect(await counted.json()).toMatchObject({ count: body.usage.prompt_tokens })
    },
  )

  it('is followed by a new turn without either', async () => {
    const { choice } = await chat({ messages: begun(), echo: true })
    expect(choice.message.content).toContain('A red<|im_end|>\n<|im_start|>assistant\n')
  })

  it.each([
    [{ continue_final_message: true }, 'continue_final_message'],
    [{ add_generation_prompt: false }, 'add_generation_prompt'],
    [{ continue_final_message: true, add_generation_prompt: true }, 'continue_final_message'],
  ])('not %o', async (over, param) => {
    expect(await chat(over)).toMatchObject({ status: 400, body: { error: { param } } })
  })
})

describe('the prompt of a chat', () => {
  const long = () => [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: [image(blue), text('What is in this image?')] },
    { role: 'assistant', content: 'A square.' },
    { role: 'user', content: 'And now?' },
  ]

  it('loses its oldest turns until it has prompt_truncate_len tokens', async () => {
    const whole = await chat({ messages: long() })
    const { body } = await chat({ messages: long(), prompt_truncate_len: whole.body.usage.prompt_tokens - 1 })
    expect(whole.body.usage.prompt_tokens_details.images).toHaveLength(1)
    expect(body.usage.prompt_tokens_details.images).toEqual([])
    const short = await chat({ messages: [long()[0], long()[3]] })
    expect(body.usage.prompt_tokens).toBe(short.body.usage.prompt_tokens)
  })

  it('keeps as many of a thousand turns as fit', async () => {
    const turns = Array.from({ length: 500 }, (_, turn) => [
      { role: 'user', content: `Question ${turn}` },
      { role: 'assistant', content: `Answer ${turn}` },
    ]).flat()
    const messages = [long()[0], ...turns, { role: 'user', content: 'And now?' }]
    const { body, choice } = await chat({ messages, prompt_truncate_len: 300, max_tokens: 1, echo: true })
    expect(body.usage.prompt_tokens).toBeLessThanOrEqual(300)
    expect(body.usage.prompt_tokens).toBeGreaterThan(240)
    expect(choice.message.content).toMatch(/Be brief\.[\s\S]*user\nQuestion \d+[\s\S]*Answer 499[\s\S]*And now\?/)
  })

  it('is cached within its isolation key, or not at all', async () => {
    const cached = async (over: object, headers?: Record<string, string>) =>
      (await chat(over, headers)).body.usage.prompt_tokens_details.cached_tokens
    await chat({})
    expect(await cached({})).toBeGreaterThan(40)
    expect(await cached({ prompt_cache_key: 'anything', user: 'somebody' })).toBeGreaterThan(40)
    expect(await cached({ prompt_cache_max_len: 0 })).toBe(0)
    expect(await cached({ prompt_cache_isolation_key: 'a' })).toBe(0)
    expect(await cached({ prompt_cache_isolation_key: 'a' })).toBeGreaterThan(40)
    expect(await cached({}, { 'x-prompt-cache-isolation-key': 'a' })).toBeGreaterThan(40)
    expect(await cached({}, { 'x-prompt-cache-isolation-key': 'b' })).toBe(0)
  })

  it('is counted without an answer in a dry run', async () => {
    const { body } = await chat({ messages: long() })
    const { body: dry } = await chat({ messages: long(), dry_run: true, stream: true })
    expect(dry).toMatchObject({
      object: 'dry_run',
      choices: [],
      usage: { prompt_tokens: body.usage.prompt_tokens, completion_tokens: 0 },
    })
    // The test server charges 2 for a million prompt tokens and 10 for a million answer tokens. Without max_tokens, an
    // answer may fill the context of 4096 tokens.
    expect(dry.cost.prompt).toBeCloseTo((body.usage.prompt_tokens * 2) / 1e6, 12)
    expect(dry.cost.answer_at_most).toBeCloseTo(((4096 - body.usage.prompt_tokens) * 10) / 1e6, 12)
    expect(dry.usage.prompt_tokens_details.images).toEqual(body.usage.prompt_tokens_details.images)
  })
})

describe('sampling', () => {
  const answer = { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] }
  const inAnswer = { type: 'json_schema', json_schema: { name: 'answer', schema: answer } }
  it.each([
    ['mirostat', { mirostat_target: 3, mirostat_lr: 0.2 }],
    ['mirostat under a schema', { mirostat_target: 3, response_format: inAnswer, max_tokens: 40 }],
    ['bounds', { top_k: 20, top_p: 0.9, min_p: 0.01, typical_p: 0.95 }],
    ['penalties', { repetition_penalty: 1.2, frequency_penalty: 0.5, presence_penalty: 0.5 }],
  ])('with %s returns the same answer for the same seed', async (_, sampling) => {
    const asked = () => chat({ temperature: 1, seed: 11, ...sampling })
    const { choice, headers } = await asked()
    expect(choice.message.content.length).toBeGreaterThan(5)
    expect((await asked()).choice.message.content).toBe(choice.message.content)
    expect(JSON.parse(headers.get('fireworks-sampling-options') ?? '')).toMatchObject({ seed: 11, temperature: 1 })
  })
})

describe('a seed', () => {
  it('may be any integer, and gives the answers of one request different values', async () => {
    // Batches of other sizes round otherwise, which a long answer at such a temperature may show.
    const asked = async () =>
      (await chat({ temperature: 1.5, seed: -1, n: 2, max_tokens: 4 })).body.choices.map(
        ({ message }) => message.content,
      )
    // Its prompt is cached from now on.
    await asked()
    const [first, second] = await asked()
    expect(await asked()).toEqual([first, second])
    expect(first).not.toBe(second)
  })
})

describe('an answer follows', () => {
  const schema = {
    type: 'object',
    properties: { colour: { enum: ['red', 'blue'] }, round: { type: 'boolean' } },
    required: ['colour', 'round'],
    additionalProperties: false,
  }
  it.each([
    ['a schema', { type: 'json_schema', json_schema: { name: 'shape', schema, strict: true } }],
    ["a schema in Fireworks' format", { type: 'json_object', schema }],
    [
      'a grammar',
      { type: 'grammar', grammar: 'root ::= "{\\"colour\\": \\"" ("red" | "blue") "\\", \\"round\\": true}"' },
    ],
  ])('%s', async (_, response_format) => {
    const { choice } = await chat({ response_format })
    expect(JSON.parse(choice.message.content)).toEqual({
      colour: expect.stringMatching(/^(red|blue)$/),
      round: expect.any(Boolean),
    })
  })

  it('the schema of a required call, whole and in a stream', async () => {
    const tools = [{ type: 'function', function: { name: 'report', parameters: schema } }]
    const { choice } = await chat({ tools, tool_choice: 'required' })
    expect(choice).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } })
    const [call] = choice.message.tool_calls ?? []
    expect(call?.function.name).toBe('report')
    expect(['red', 'blue']).toContain(JSON.parse(call?.function.arguments ?? '').colour)
    const deltas = (await stream({ tools, tool_choice: 'required' })).flatMap(
      ({ choices }) => choices[0].delta.tool_calls ?? [],
    )
    expect(deltas.map((delta) => delta.function.arguments).join('')).toBe(call?.function.arguments)
  })
})

interface Tokenization {
  object: string
  count: number
  max_model_len: number
  tokens: number[]
  token_strs: (string | null)[]
  parts: { type: string; param: string; tokens: number; pictures?: { tokens: number }[] }[]
}

describe('tokenize', () => {
  const tokenize = async (body: object) => {
    const response = await post(body, '/v1/tokenize')
    return { status: response.status, body: (await response.json()) as Tokenization }
  }

  it('counts a chat part by part, with the totals of the chat itself', async () => {
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [text('Compare'), image(red), image(blue), text('please')] },
    ]
    const { body } = await tokenize({ messages })
    const { usage } = (await chat({ messages, max_tokens: 1 })).body
    expect(body.count).toBe(usage.prompt_tokens)
    expect(body.tokens).toHaveLength(body.count)
    expect(body.parts.map(({ param, type }) => `${type} ${param}`)).toEqual([
      'text messages[0].content',
      'text messages[1].content[0]',
      'image messages[1].content[1].image_url',
      'image messages[1].content[2].image_url',
      'text messages[1].content[3]',
    ])
    const images = body.parts.filter(({ type }) => type === 'image')
    expect(images.map(({ tokens }) => tokens)).toEqual(usage.prompt_tokens_details.images)
    expect(images[0]?.pictures).toEqual([{ width: 192, height: 192, tokens: 110 }])
    expect(body.parts.every(({ tokens }) => tokens > 0)).toBe(true)
  })

  it('counts the parts of dropped turns too, each image by itself', async () => {
    const [first, second] = [red, blue].map((url) => [{ type: 'image_url', image_url: { url, detail: 'low' } }])
    const other = { role: 'assistant', content: 'Hm.' }
    const messages = [
      { role: 'user', content: first },
      other,
      { role: 'user', content: [image(blue), ...(second ?? [])] },
    ]
    const imagesOf = ({ parts }: Tokenization) => parts.flatMap(({ pictures = [] }) => pictures)
    const { body: whole } = await tokenize({ messages })
    const { body: cut } = await tokenize({ messages, prompt_truncate_len: whole.count - 1 })
    expect(cut.count).toBeLessThan(whole.count)
    expect(new Set(imagesOf(whole).map(({ tokens }) => tokens)).size).toBeGreaterThan(1)
    expect(imagesOf(cut)).toEqual(imagesOf(whole))
  })

  it('returns the tokens of a text', async () => {
    const { body } = await tokenize({ prompt: 'A red <image> circle', images: [red] })
    expect(body.token_strs.map((token) => token ?? '').join('')).toContain('A red ')
    expect(body.parts.map(({ type }) => type)).toEqual(['text', 'image', 'text'])
    const { body: plain } = await tokenize({ prompt: 'A red circle' })
    expect(plain).toMatchObject({ object: 'tokenization', max_model_len: 4096, count: plain.tokens.length })
    expect(plain.token_strs.join('')).toBe('A red circle')
  })

  it('requires a prompt or messages', async () => {
    expect(await tokenize({})).toMatchObject({ status: 400, body: { error: { param: 'prompt' } } })
    expect(await tokenize({ prompt: '<image>' })).toMatchObject({ status: 400, body: { error: { param: 'images' } } })
  })
})
