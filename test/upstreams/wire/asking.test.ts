import { expect, test } from 'vitest'
import { wires } from '../../../src/upstreams/wire/index.ts'
import { type Api, about, askOf } from './asks.ts'
import { type Answers, answering } from './upstream.ts'

const { signal } = new AbortController()

const nothingTold = {
  as: null,
  title: null,
  created: null,
  contextTokens: null,
  inputs: null,
  tools: null,
  thoughts: null,
  embeds: false,
}

/** What each server tells of its models, in the form of its documents. */
const lists: readonly (readonly [Api, Answers, readonly object[]])[] = [
  [
    'openai',
    { '/v1/models': { object: 'list', data: [{ id: 'gpt-5', object: 'model', created: 7, owned_by: 'openai' }] } },
    [{ ...nothingTold, id: 'gpt-5', created: 7 }],
  ],
  [
    'vllm',
    { '/v1/models': { data: [{ id: 'Qwen/Qwen3-VL', created: 7, root: 'a', parent: null, max_model_len: 32768 }] } },
    [{ ...nothingTold, id: 'Qwen/Qwen3-VL', created: 7, contextTokens: 32768 }],
  ],
  [
    'sglang',
    {
      '/v1/models': { data: [{ id: 'qwen', max_model_len: 4096 }] },
      '/get_model_info': { has_image_understanding: true, has_audio_understanding: false, is_generation: true },
    },
    [{ ...nothingTold, id: 'qwen', contextTokens: 4096, inputs: ['image', 'video'] }],
  ],
  [
    'fireworks',
    {
      '/v1/models': {
        data: [
          { id: 'a', supports_chat: true, supports_image_input: true, supports_tools: true, context_length: 131072 },
          { id: 'b', supports_chat: false, supports_image_input: false, supports_tools: false },
        ],
      },
    },
    [
      { ...nothingTold, id: 'a', contextTokens: 131072, inputs: ['image'], tools: true },
      { ...nothingTold, id: 'b', inputs: [], tools: false, embeds: true },
    ],
  ],
  [
    'novita',
    {
      '/v1/models': {
        data: [{ id: 'a', title: 'A', context_size: 8192, features: ['vision', 'function-calling', 'reasoning'] }],
      },
    },
    [{ ...nothingTold, id: 'a', title: 'A', contextTokens: 8192, inputs: ['image'], tools: true, thoughts: true }],
  ],
  [
    'llama-server',
    {
      '/v1/models': { data: [{ id: '/home/me/smol.gguf', created: 7, meta: { n_ctx: 2048, n_ctx_train: 8192 } }] },
      '/props': {
        default_generation_settings: { n_ctx: 1024 },
        modalities: { vision: true, video: false, audio: false },
        chat_template_caps: { supports_tools: true },
      },
    },
    [
      {
        ...nothingTold,
        id: '/home/me/smol.gguf',
        as: 'smol',
        created: 7,
        contextTokens: 1024,
        inputs: ['image'],
        tools: true,
      },
    ],
  ],
  [
    'ollama',
    {
      '/api/tags': { models: [{ name: 'gemma3:4b' }] },
      '/api/show': {
        capabilities: ['completion', 'vision'],
        parameters: 'temperature 1\nnum_ctx                        4096',
        model_info: { 'general.architecture': 'gemma3', 'gemma3.context_length': 131072 },
      },
    },
    [{ ...nothingTold, id: 'gemma3:4b', contextTokens: 4096, inputs: ['image'], tools: false, thoughts: false }],
  ],
  [
    'lm-studio',
    {
      '/api/v0/models': {
        data: [
          { id: 'qwen2-vl', type: 'vlm', state: 'not-loaded', max_context_length: 32768, capabilities: ['tool_use'] },
          { id: 'nomic', type: 'embeddings', max_context_length: 2048 },
        ],
      },
    },
    [
      { ...nothingTold, id: 'qwen2-vl', contextTokens: 32768, inputs: ['image'], tools: true },
      { ...nothingTold, id: 'nomic', contextTokens: 2048, inputs: [], embeds: true },
    ],
  ],
  [
    'anthropic',
    {
      '/v1/models?limit=1000': {
        data: [
          {
            id: 'claude',
            display_name: 'Claude',
            created_at: '1970-01-01T00:00:07Z',
            max_input_tokens: 200000,
            capabilities: { image_input: { supported: true }, thinking: { supported: true } },
          },
        ],
      },
    },
    [{ id: 'claude', title: 'Claude', created: 7, contextTokens: 200000, inputs: ['image'], tools: true }],
  ],
]

test.each(lists)('learns of the models of %s what it tells', async (api, answers, expected) => {
  const { upstream, calls } = answering(api, answers)
  expect(await wires[api].models(upstream, signal)).toMatchObject(expected)
  for (const { headers } of calls) expect(headers).toMatchObject(wires[api].headers('the key'))
})

test('a list is read though some of it has another form than expected', async () => {
  const data = [{ id: 'a', created: 'yesterday', max_model_len: 'long', features: 5 }]
  const { upstream } = answering('vllm', { '/v1/models': { data } })
  expect(await wires.vllm.models(upstream, signal)).toEqual([{ ...nothingTold, id: 'a' }])
})

test('a model of another Oriel whose load has failed stays in its list: the next request loads it', async () => {
  const data = ['loaded', 'failed', 'available', 'not_pulled'].map((state) => ({ id: state, state }))
  const { upstream } = answering('oriel', { '/v1/models': { data } })
  const ids = (await wires.oriel.models(upstream, signal)).map(({ id }) => id)
  expect(ids).toEqual(['loaded', 'failed', 'available'])
})

test('a list that is none is a failure of the upstream', async () => {
  const { upstream } = answering('vllm', { '/v1/models': '<html>' })
  await expect(wires.vllm.models(upstream, signal)).rejects.toMatchObject({ isFault: true })
})

test('counts a chat where the server can', async () => {
  const vllm = answering('vllm', { '/tokenize': { count: 5, max_model_len: 10, tokens: [1] } })
  expect(await wires.vllm.count(askOf(), 'a', vllm.upstream, signal)).toMatchObject({ promptTokens: 5, tokens: [] })
  expect(JSON.parse(String(vllm.calls[0]?.body))).toMatchObject({ model: 'a', messages: [{ content: 'Hello' }] })
  const llama = answering('llama-server', { '/v1/chat/completions/input_tokens': { input_tokens: 6 } })
  const counted = await wires['llama-server'].count(askOf(about('image')), 'a', llama.upstream, signal)
  expect(counted).toMatchObject({ promptTokens: 6, imageTokens: [0] })
  const claude = answering('anthropic', { '/v1/messages/count_tokens': { input_tokens: 7 } })
  expect(await wires.anthropic.count(askOf(), 'a', claude.upstream, signal)).toMatchObject({ promptTokens: 7 })
  expect(JSON.parse(String(claude.calls[0]?.body))).not.toHaveProperty('max_tokens')
})

test('says that a server cannot count', async () => {
  for (const api of ['openai', 'ollama', 'sglang'] as const)
    await expect(wires[api].count(askOf(), 'a', answering(api, {}).upstream, signal)).rejects.toMatchObject({
      kind: 'not_implemented',
    })
  const { upstream } = answering('vllm', { '/tokenize': { count: 5 } })
  await expect(wires.vllm.count(askOf(about('image')), 'a', upstream, signal)).rejects.toMatchObject({
    kind: 'not_implemented',
  })
})
