import { expect, test } from 'vitest'
import { OrielError } from '../../../src/errors.ts'
import { wires } from '../../../src/upstreams/wire/index.ts'
import { type Api, about, askOf, bodyOf, weather } from './asks.ts'

const apis = Object.keys(wires) as Api[]
const ofOpenai = apis.filter((api) => api !== 'anthropic')

/** The param of the error that an ask is refused with; null: it is not refused. */
function refusedParam(...[api, asked]: Parameters<typeof bodyOf>): string | null {
  try {
    bodyOf(api, asked)
    return null
  } catch (error) {
    if (!(error instanceof OrielError) || error.kind !== 'invalid' || error.param === undefined) throw error
    expect(error.message).toMatch(/^This model's server has no .+\. Leave it out, or use another model\.$/)
    return error.param
  }
}

test.each(ofOpenai)('asks %s for a stream of a chat that tells its usage', (api) => {
  const call = wires[api].call(askOf(), 'a-model')
  expect(call).toMatchObject({ method: 'POST', path: '/v1/chat/completions' })
  expect(JSON.parse(String(call.body))).toMatchObject({
    model: 'a-model',
    messages: [{ role: 'user', content: 'Hello' }],
    stream: true,
    stream_options: { include_usage: true },
  })
})

test('asks Anthropic for a stream of a message, with the limit that it requires', () => {
  expect(wires.anthropic.call(askOf(), 'a-model').path).toBe('/v1/messages')
  expect(bodyOf('anthropic')).toEqual({
    model: 'a-model',
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }],
    max_tokens: 8192,
    stream: true,
  })
})

test('sends the key as each API wants it, and none where there is none', () => {
  expect(wires.vllm.headers('secret')).toEqual({ authorization: 'Bearer secret' })
  expect(wires.anthropic.headers('secret')).toMatchObject({ 'x-api-key': 'secret', 'anthropic-version': '2023-06-01' })
  expect(wires.ollama.headers(null)).toEqual({})
})

const sampling = { topK: 5, minP: 0.1, typicalP: 0.9, repetitionPenalty: 1.1, frequencyPenalty: 0.5, seed: 7 }

test.each<[Api, keyof typeof sampling | 'n' | 'minTokens' | 'ignoreEos' | 'stopTokens' | 'includeStop', string | null]>(
  [
    ['openai', 'seed', 'seed'],
    ['openai', 'topK', null],
    ['openai', 'n', 'n'],
    ['fireworks', 'typicalP', 'typical_p'],
    ['fireworks', 'ignoreEos', 'ignore_eos'],
    ['fireworks', 'minTokens', null],
    ['novita', 'repetitionPenalty', 'repetition_penalty'],
    ['novita', 'typicalP', null],
    ['vllm', 'minP', 'min_p'],
    ['vllm', 'includeStop', 'include_stop_str_in_output'],
    ['vllm', 'stopTokens', 'stop_token_ids'],
    ['vllm', 'typicalP', null],
    ['sglang', 'includeStop', 'no_stop_trim'],
    ['sglang', 'minTokens', 'min_tokens'],
    ['llama-server', 'repetitionPenalty', 'repeat_penalty'],
    ['llama-server', 'n', 'n'],
    ['llama-server', 'stopTokens', null],
    ['ollama', 'frequencyPenalty', 'frequency_penalty'],
    ['ollama', 'topK', null],
    ['ollama', 'n', null],
    ['lm-studio', 'topK', 'top_k'],
    ['lm-studio', 'minP', null],
    ['oriel', 'typicalP', 'typical_p'],
    ['anthropic', 'topK', 'top_k'],
    ['anthropic', 'seed', null],
    ['anthropic', 'n', null],
  ],
)('to %s, %s is the parameter %s', (api, setting, name) => {
  const others = { n: 2, minTokens: 3, ignoreEos: true, stopTokens: [5], includeStop: true }
  const value = { ...sampling, ...others }[setting]
  const settings =
    setting in sampling ? { sampling: { [setting]: value } } : { [setting]: value, stop: ['end'], maxTokens: 10 }
  if (name === null) expect(refusedParam(api, { settings })).toBe(setting)
  else expect(bodyOf(api, { settings })[name]).toEqual(value)
})

test.each(apis)('%s is not told what it does by itself', (api) => {
  const neutral = { topK: 0, minP: 0, typicalP: 1, repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0 }
  expect(refusedParam(api, { settings: { sampling: neutral } })).toBeNull()
})

test('knows the value that is no limit of top-k', () => {
  expect(bodyOf('sglang', { settings: { sampling: { topK: 0 } } }).top_k).toBe(-1)
  expect(bodyOf('vllm', { settings: { sampling: { topK: 0 } } }).top_k).toBe(0)
})

test('calls the limit of tokens as each server does', () => {
  expect(bodyOf('openai', { settings: { maxTokens: 5 } })).toMatchObject({ max_completion_tokens: 5 })
  expect(bodyOf('vllm', { settings: { maxTokens: 5 } })).toMatchObject({ max_tokens: 5 })
  expect(bodyOf('anthropic', { settings: { maxTokens: 5 } })).toMatchObject({ max_tokens: 5 })
})

const schema = { type: 'object', properties: { a: { type: 'string' } } }

test.each(ofOpenai)('asks %s for a JSON Schema', (api) => {
  const settings = { sampling: { grammar: { kind: 'json_schema', schema, strict: true } as const } }
  expect(bodyOf(api, { settings }).response_format).toEqual({
    type: 'json_schema',
    json_schema: { name: 'answer', schema, strict: true },
  })
})

test('asks Anthropic for a JSON Schema', () => {
  const settings = { sampling: { grammar: { kind: 'json_schema', schema } as const } }
  expect(bodyOf('anthropic', { settings }).output_config).toEqual({ format: { type: 'json_schema', schema } })
})

test('asks for any JSON object in the words of the server', () => {
  const settings = { sampling: { grammar: { kind: 'json_schema', schema: { type: 'object' } } as const } }
  expect(bodyOf('vllm', { settings }).response_format).toEqual({ type: 'json_object' })
  expect(bodyOf('lm-studio', { settings }).response_format).toMatchObject({ type: 'json_schema' })
})

test.each<[Api, object | null, object | null]>([
  ['fireworks', { response_format: { type: 'grammar', grammar: 'root ::= "a"' } }, null],
  ['vllm', { structured_outputs: { grammar: 'root ::= "a"' } }, { structured_outputs: { regex: 'a+' } }],
  ['sglang', { ebnf: 'root ::= "a"' }, { regex: 'a+' }],
  ['llama-server', { grammar: 'root ::= "a"' }, null],
  ['oriel', { structured_outputs: { grammar: 'root ::= "a"' } }, { structured_outputs: { regex: 'a+' } }],
  ['openai', null, null],
  ['ollama', null, null],
  ['anthropic', null, null],
])('asks %s for a grammar and a regular expression, or refuses them', (api, gbnf, regex) => {
  const asks = [
    [{ kind: 'gbnf', text: 'root ::= "a"' }, gbnf],
    [{ kind: 'regex', pattern: 'a+' }, regex],
  ] as const
  for (const [grammar, fields] of asks)
    if (fields === null) expect(refusedParam(api, { settings: { sampling: { grammar } } })).toBe('grammar')
    else expect(bodyOf(api, { settings: { sampling: { grammar } } })).toMatchObject(fields)
})

test('shares cached prompts as each server can, and hides the keys', () => {
  const own = { isolation: ['account', 'a key'] }
  const [one, same, other] = [own, own, { isolation: ['account', 'another'] }].map(
    (settings) => bodyOf('vllm', { settings }).cache_salt,
  )
  expect(one).toMatch(/^[\w-]{43}$/)
  expect(same).toBe(one)
  expect(other).not.toBe(one)
  expect(bodyOf('fireworks', { settings: own }).prompt_cache_isolation_key).toBe(one)
  expect(bodyOf('fireworks', { settings: { cachePrompt: false } }).prompt_cache_max_len).toBe(0)
  expect(bodyOf('llama-server', { settings: { cachePrompt: false } }).cache_prompt).toBe(false)
  const [salt, another] = [0, 1].map(() => bodyOf('vllm', { settings: { cachePrompt: false } }).cache_salt)
  expect(salt).not.toBe(another)
  expect(refusedParam('openai', { settings: own })).toBe('isolation')
  expect(refusedParam('openai', { settings: { isolation: ['account'] } })).toBeNull()
  expect(refusedParam('ollama', { settings: { cachePrompt: false } })).toBe('cachePrompt')
  // Nothing of a request is cached there unless it says so.
  expect(refusedParam('anthropic', { settings: { ...own, cachePrompt: false } })).toBeNull()
})

test.each(apis)('%s is asked for nothing that only an engine in this server does', (api) => {
  expect(refusedParam(api, { settings: { echo: 'all' } })).toBe('echo')
  expect(refusedParam(api, { settings: { wantsTokens: true } })).toBe('wantsTokens')
  expect(refusedParam(api, { settings: { promptLogprobs: true } })).toBe('promptLogprobs')
})

test('offers tools, and says how they may be called', () => {
  const tools = [weather]
  const calling = { mode: 'forced', parallel: false } as const
  expect(bodyOf('vllm', { prompt: { tools, calling } })).toMatchObject({
    tools: [{ type: 'function', function: { name: 'weather', parameters: weather.parameters } }],
    tool_choice: 'required',
    parallel_tool_calls: false,
  })
  expect(bodyOf('anthropic', { prompt: { tools, calling } })).toMatchObject({
    tools: [{ name: 'weather', input_schema: weather.parameters }],
    tool_choice: { type: 'any', disable_parallel_tool_use: true },
  })
  expect(bodyOf('ollama', { prompt: { tools } })).not.toHaveProperty('tool_choice')
  expect(refusedParam('ollama', { prompt: { tools, calling } })).toBe('prompt')
  expect(bodyOf('ollama', { prompt: { tools, calling: { mode: 'none', parallel: true } } })).not.toHaveProperty('tools')
})

const past = [
  { role: 'system', content: [{ kind: 'text' as const, text: 'Be brief.' }] },
  { role: 'user', content: [{ kind: 'text' as const, text: 'Weather?' }] },
  {
    role: 'assistant',
    content: [],
    reasoning: 'I look it up.',
    calls: [
      { id: 'call_1', name: 'weather', arguments: '{"city":"Bern"}' },
      { id: 'call_2', name: 'weather', arguments: '' },
    ],
  },
  { role: 'tool', callId: 'call_1', content: [{ kind: 'text' as const, text: 'Rain' }] },
  { role: 'tool', callId: 'call_2', content: [{ kind: 'text' as const, text: 'Sun' }] },
]

test('repeats calls and their results', () => {
  expect(bodyOf('vllm', { prompt: { messages: past } }).messages).toEqual([
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Weather?' },
    {
      role: 'assistant',
      content: null,
      reasoning: 'I look it up.',
      reasoning_content: 'I look it up.',
      tool_calls: [
        { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Bern"}' } },
        { id: 'call_2', type: 'function', function: { name: 'weather', arguments: '' } },
      ],
    },
    { role: 'tool', content: 'Rain', tool_call_id: 'call_1' },
    { role: 'tool', content: 'Sun', tool_call_id: 'call_2' },
  ])
})

test('lets the answer to a plain prompt go to the end of the context, or says that it cannot', () => {
  const ask = { prompt: { kind: 'plain' as const, parts: [{ kind: 'text' as const, text: 'Once', special: true }] } }
  expect(bodyOf('vllm', { ask })).toMatchObject({ max_tokens: null })
  expect(bodyOf('oriel', { ask })).toMatchObject({ max_tokens: -1 })
  for (const api of ['openai', 'sglang'] as const)
    expect(() => bodyOf(api, { ask })).toThrow(/no answers to the end of the context/)
  expect(bodyOf('openai', { ask, settings: { maxTokens: 7 } })).toMatchObject({ max_tokens: 7 })
})

test('gives Anthropic no text of nothing but spaces', () => {
  const text = (text: string) => [{ kind: 'text' as const, text }]
  const messages = [
    { role: 'system', content: text(' ') },
    { role: 'user', content: [...text('\n'), ...text('Hello')] },
  ]
  expect(bodyOf('anthropic', { prompt: { messages } })).not.toHaveProperty('system')
  expect(bodyOf('anthropic', { prompt: { messages } }).messages).toEqual([
    { role: 'user', content: [{ type: 'text', text: 'Hello' }] },
  ])
})

test('gives Anthropic the results of calls in one turn, and the system prompt apart', () => {
  const body = bodyOf('anthropic', { prompt: { messages: past } })
  expect(body.system).toEqual([{ type: 'text', text: 'Be brief.' }])
  expect(body.messages).toEqual([
    { role: 'user', content: [{ type: 'text', text: 'Weather?' }] },
    {
      role: 'assistant',
      content: [
        { type: 'tool_use', id: 'call_1', name: 'weather', input: { city: 'Bern' } },
        { type: 'tool_use', id: 'call_2', name: 'weather', input: {} },
      ],
    },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'call_1', content: [{ type: 'text', text: 'Rain' }] },
        { type: 'tool_result', tool_use_id: 'call_2', content: [{ type: 'text', text: 'Sun' }] },
      ],
    },
  ])
})

test('sends images in the place that the content has them, each API in its form', () => {
  const url = 'data:image/png;base64,AAAA'
  expect(bodyOf('openai', about('image', { detail: 'low' })).messages).toEqual([
    {
      role: 'user',
      content: [
        { type: 'image_url', image_url: { url, detail: 'low' } },
        { type: 'text', text: 'What is it?' },
      ],
    },
  ])
  expect(bodyOf('vllm', about('image', { detail: 'low' })).messages).toMatchObject([
    { content: [{ type: 'image_url', image_url: { url } }, {}] },
  ])
  expect(bodyOf('anthropic', about('image')).messages).toMatchObject([
    { content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } }, {}] },
  ])
})

test('sends each page of a document, and the frames of a video as one list', () => {
  const pages = about('image')
  const two = [Buffer.from('AAAA'), Buffer.from('BBBB')].map((base64) => ({
    format: 'jpeg',
    type: 'image/jpeg',
    base64,
  }))
  const prepared = { files: two, fetchMs: 0, decodeMs: 0 }
  const documentOf = {
    ...pages,
    ask: { ...pages.ask, prepared: [{ ...prepared, kind: 'image' as const, asFrames: false }] },
  }
  expect(bodyOf('vllm', documentOf).messages).toMatchObject([
    { content: [{ type: 'image_url' }, { type: 'image_url' }, { type: 'text' }] },
  ])
  const video = about('video')
  const framesOf = {
    ...video,
    ask: { ...video.ask, prepared: [{ ...prepared, kind: 'video' as const, asFrames: true }] },
  }
  expect(bodyOf('vllm', framesOf).messages).toMatchObject([
    { content: [{ type: 'video_url', video_url: { url: 'data:video/jpeg;base64,AAAA,BBBB' } }, { type: 'text' }] },
  ])
})

test('sends audio and video as the server takes them', () => {
  expect(bodyOf('vllm', about('audio')).messages).toMatchObject([
    { content: [{ type: 'input_audio', input_audio: { data: 'AAAA', format: 'mp3' } }, {}] },
  ])
  expect(bodyOf('sglang', about('audio')).messages).toMatchObject([
    { content: [{ type: 'audio_url', audio_url: { url: 'data:audio/mpeg;base64,AAAA' } }, {}] },
  ])
  const clip = { clip: { start: 1, end: 2 }, frames: { most: 4 } }
  expect(bodyOf('oriel', about('video', clip)).messages).toMatchObject([
    { content: [{ type: 'video_url', video_url: { clip: clip.clip, max_frames: 4 } }, {}] },
  ])
  expect(refusedParam('anthropic', about('audio'))).toBe('messages[0].content[0]')
})

test('bounds what a model sees where the server can', () => {
  const bounds = { bounds: { leastPixels: 100, mostPixels: 1000 } }
  const fields = { min_pixels: 100, max_pixels: 1000 }
  expect(bodyOf('vllm', about('image', bounds)).mm_processor_kwargs).toEqual(fields)
  expect(bodyOf('oriel', about('image', bounds)).messages).toMatchObject([{ content: [{ image_url: fields }, {}] }])
  for (const api of ['openai', 'ollama', 'anthropic'] as const)
    expect(refusedParam(api, about('image', bounds))).toBe('messages[0].content[0]')
})

test.each<[Api, Record<string, string | boolean>, object | string]>([
  [
    'vllm',
    { enable_thinking: false, reasoning_effort: 'low' },
    { reasoning_effort: 'low', chat_template_kwargs: { enable_thinking: false } },
  ],
  ['vllm', { tone: 'dry' }, { chat_template_kwargs: { tone: 'dry' } }],
  ['openai', { reasoning_effort: 'high' }, { reasoning_effort: 'high' }],
  ['openai', { enable_thinking: false }, { reasoning_effort: 'none' }],
  ['openai', { tone: 'dry' }, 'variables.tone'],
  ['novita', { enable_thinking: true }, { enable_thinking: true }],
  ['novita', { reasoning_effort: 'high' }, 'variables.reasoning_effort'],
  [
    'anthropic',
    { enable_thinking: true, reasoning_effort: 'high' },
    { thinking: { type: 'adaptive', display: 'summarized' }, output_config: { effort: 'high' } },
  ],
  ['anthropic', { enable_thinking: false }, { thinking: { type: 'disabled' } }],
  ['anthropic', { tone: 'dry' }, 'variables.tone'],
])('tells %s how to think: %o', (api, variables, expected) => {
  if (typeof expected === 'string') expect(refusedParam(api, { prompt: { variables } })).toBe(expected)
  else expect(bodyOf(api, { prompt: { variables } })).toMatchObject(expected)
})

const begun = [
  { role: 'user', content: [{ kind: 'text' as const, text: 'Count.' }] },
  { role: 'assistant', content: [{ kind: 'text' as const, text: 'One, two,' }] },
]

test('continues the last message where the server can', () => {
  const prompt = { messages: begun, continues: true }
  expect(bodyOf('vllm', { prompt })).toMatchObject({ continue_final_message: true, add_generation_prompt: false })
  expect(bodyOf('anthropic', { prompt }).messages).toHaveLength(2)
  expect(refusedParam('openai', { prompt })).toBe('prompt')
  // It would continue the message, though nobody asked for that.
  expect(refusedParam('anthropic', { prompt: { messages: begun } })).toBe('prompt')
})

test('asks for log probabilities where the server has them', () => {
  const settings = { topLogprobs: 0 }
  expect(bodyOf('openai', { settings })).toMatchObject({ logprobs: true, top_logprobs: 0 })
  expect(bodyOf('llama-server', { settings })).toMatchObject({ logprobs: true, top_logprobs: 1 })
  expect(refusedParam('llama-server', { settings, prompt: { tools: [weather] } })).toBe('topLogprobs')
  expect(refusedParam('anthropic', { settings })).toBe('topLogprobs')
  expect(refusedParam('lm-studio', { settings })).toBe('topLogprobs')
})

test('passes the name of requests that belong together on, as a hash', () => {
  expect(bodyOf('fireworks', { settings: { affinity: 'my chat' } }).prompt_cache_key).toMatch(/^[\w-]{43}$/)
  expect(bodyOf('vllm', { settings: { affinity: 'my chat' } })).not.toHaveProperty('prompt_cache_key')
})

const plain = (...parts: object[]) => ({ ask: { prompt: { kind: 'plain', parts } as never } })
const words = { kind: 'text', text: 'Once', special: true }
const tokens = { kind: 'tokens', tokens: [1, 2] }

test('completes plain prompts where the server leaves them as they are', () => {
  expect(wires.vllm.call(askOf(plain(words)), 'a').path).toBe('/v1/completions')
  expect(bodyOf('vllm', plain(words, words)).prompt).toBe('OnceOnce')
  expect(bodyOf('vllm', plain(tokens)).prompt).toEqual([1, 2])
  expect(bodyOf('llama-server', plain(words, tokens)).prompt).toEqual(['Once', 1, 2])
  expect(refusedParam('vllm', plain(words, tokens))).toBe('prompt')
  expect(refusedParam('novita', plain(tokens))).toBe('prompt')
  expect(refusedParam('ollama', plain(words))).toBe('prompt')
  expect(refusedParam('anthropic', plain(words))).toBe('prompt')
})

test('marks the places of images in plain prompts', () => {
  const { ask } = about('image')
  const asked = { ask: { ...ask, ...plain(words, { kind: 'image', attachment: 0 }).ask } }
  expect(bodyOf('fireworks', asked)).toMatchObject({ prompt: 'Once<image>', images: ['data:image/png;base64,AAAA'] })
  expect(refusedParam('vllm', asked)).toBe('messages[0].content[0]')
})
