import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { usagePage } from '../../src/api/usage/usage.ts'
import { startFront } from '../support/front.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { failing, type ReplyingUpstream, startUpstream, streaming } from '../support/replying-upstream.ts'
import type { TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'
import {
  anthropicStream,
  callsStream,
  llamaStream,
  ollamaCallsStream,
  openaiStream,
  taggedStream,
  vllmStream,
} from '../upstreams/wire/streams.ts'

const apis = [
  ...(['openai', 'fireworks', 'novita', 'anthropic', 'vllm', 'sglang'] as const),
  ...(['llama-server', 'ollama', 'lm-studio', 'oriel'] as const),
]

/** One server in front of one scripted upstream, which speaks every API: the model is called as its API. */
let upstream: ReplyingUpstream
let server: TestServer
let openai: OpenAI
let anthropic: Anthropic
let picture: string
beforeAll(async () => {
  upstream = await startUpstream()
  server = await startFront(
    apis.map((api) => ({ api, url: upstream.url, as: api, key: 'the-key-of-the-upstream', model: 'a-model' })),
  )
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
  anthropic = new Anthropic({ baseURL: server.url, apiKey: 'none', maxRetries: 0 })
  picture = dataUrl(await shape('red'))
})
afterAll(async () => {
  await server.close()
  await upstream.close()
})

/** The body of the last request that the upstream got for a model. */
const asked = () => upstream.heard.findLast(({ path }) => path.startsWith('/v1/') && path !== '/v1/models')?.body

const question = { role: 'user' as const, content: 'What is it?' }
const ask = (model: string, more: object = {}) =>
  postJson(`${server.url}/v1/chat/completions`, { model, messages: [question], ...more })

describe.each(apis)('%s as upstream', (api) => {
  const answer = api === 'anthropic' ? anthropicStream : taggedStream
  const [thought, text] = api === 'anthropic' ? ['Weather, then.', 'I look it up.'] : ['Let me see.', 'It is a cat.']
  // OpenAI has no tags, and another Oriel has read them.
  const isTagged = api === 'openai' || api === 'oriel'
  const [reasoning, content] = isTagged ? [undefined, `<think>${thought}</think>\n\n${text}`] : [thought, text]
  beforeAll(() => {
    upstream.reply = streaming(answer)
  })

  it('answers chats, whole and streamed', async () => {
    const whole = await openai.chat.completions.create({ model: api, messages: [question] })
    expect(whole.choices[0]?.message).toMatchObject({ content, ...(reasoning && { reasoning_content: reasoning }) })
    let streamed = ''
    for await (const { choices } of await openai.chat.completions.create({
      model: api,
      messages: [question],
      stream: true,
    }))
      streamed += choices[0]?.delta.content ?? ''
    expect(streamed).toBe(content)
    expect(asked()).toMatchObject({ model: 'a-model', stream: true })
  })

  it('answers messages', async () => {
    const message = await anthropic.messages.create({ model: api, max_tokens: 50, messages: [question] })
    const blocks = message.content.map((block) =>
      'text' in block ? block.text : 'thinking' in block ? block.thinking : block.type,
    )
    expect(blocks.slice(0, 2)).toEqual(reasoning === undefined ? [content] : [reasoning, content])
    expect(asked()).toMatchObject(api === 'openai' ? { max_completion_tokens: 50 } : { max_tokens: 50 })
  })

  it('answers responses and chats of Ollama', async () => {
    const response = await openai.responses.create({ model: api, input: 'What is it?' })
    expect(response.output_text).toBe(content)
    const chat = await postJson(`${server.url}/api/chat`, { model: api, messages: [question], stream: false })
    expect(await chat.json()).toMatchObject({ message: { content } })
  })

  it('gets a picture before the question about it', async () => {
    await ask(api, {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: picture } },
            { type: 'text', text: 'What is it?' },
          ],
        },
      ],
    })
    const [{ content }] = asked().messages
    const sent = api === 'anthropic' ? content[0].source.data : content[0].image_url.url.split(',')[1]
    // The file is whole: it begins as a PNG and ends as one.
    const bytes = Buffer.from(sent, 'base64')
    expect([bytes.subarray(1, 4).toString(), bytes.subarray(-8, -4).toString()]).toEqual(['PNG', 'IEND'])
    expect(content[1]).toEqual({ type: 'text', text: 'What is it?' })
  })

  it('gets its key, which is in no answer of ours', async () => {
    const response = await ask(api)
    const { headers } = upstream.heard.at(-1) ?? {}
    expect(headers?.['x-api-key'] ?? headers?.authorization).toContain('the-key-of-the-upstream')
    const models = await (await fetch(`${server.url}/v1/models`)).text()
    expect(models + (await response.text()) + JSON.stringify([...response.headers])).not.toContain('the-key')
  })

  it('is told that a request is wrong in the words of the client', async () => {
    upstream.reply = failing(400, { error: { message: 'top_p must be in (0, 1], got 0 at http://10.1.2.3:8000/x' } })
    const response = await ask(api, { top_p: 0 })
    expect(response.status).toBe(400)
    const { error } = (await response.json()) as { error: { message: string } }
    expect(error.message).toBe("This model's server refused the request: top_p must be in (0, 1], got 0 at …")
  })
})

describe('calls of functions', () => {
  const parameters = { type: 'object' as const, properties: { city: { type: 'string' } } }
  const tools = [
    { type: 'function' as const, function: { name: 'weather', parameters } },
    { type: 'function' as const, function: { name: 'time' } },
  ]

  it.each([
    ['vllm', callsStream],
    ['anthropic', anthropicStream],
    ['ollama', ollamaCallsStream],
  ])('pass from %s to an OpenAI client, and their results back', async (model, stream) => {
    upstream.reply = streaming(stream)
    const { choices } = await openai.chat.completions.create({ model, messages: [question], tools })
    const [choice] = choices
    const [call] = choice?.message.tool_calls ?? []
    expect(choice?.finish_reason).toBe('tool_calls')
    expect(call).toMatchObject({ function: { name: 'weather', arguments: '{"city":"Bern"}' } })
    if (choice === undefined || call === undefined) return
    const results = (choice.message.tool_calls ?? []).map(({ id }) => ({
      role: 'tool' as const,
      tool_call_id: id,
      content: 'Rain',
    }))
    await openai.chat.completions.create({ model, tools, messages: [question, choice.message, ...results] })
    const sent = JSON.stringify(asked().messages)
    expect(sent.split(call.id)).toHaveLength(3)
    expect(sent).toContain('Rain')
  })

  it('pass from vLLM to an Anthropic client', async () => {
    upstream.reply = streaming(callsStream)
    const message = await anthropic.messages.create({
      ...{ model: 'vllm', max_tokens: 100, messages: [question] },
      tools: [
        { name: 'weather', input_schema: parameters },
        { name: 'time', input_schema: { type: 'object' } },
      ],
    })
    expect(message.stop_reason).toBe('tool_use')
    expect(message.content).toMatchObject([
      { type: 'tool_use', name: 'weather', input: { city: 'Bern' } },
      { type: 'tool_use', name: 'time', input: {} },
    ])
  })
})

describe('an answer of an upstream that ends by a bound', () => {
  it('of its own is not the end of the context for an Anthropic client', async () => {
    upstream.reply = streaming(openaiStream.replace('"finish_reason":"stop"', '"finish_reason":"length"'))
    const reasonOf = async (more: object) => {
      const body = { model: 'openai', messages: [question], ...more }
      const response = await postJson(`${server.url}/inference/v1/messages`, body)
      return ((await response.json()) as { stop_reason: string }).stop_reason
    }
    expect(await reasonOf({})).toBe('max_tokens')
    expect(await reasonOf({ max_tokens: 50 })).toBe('max_tokens')
  })

  it('because of what is in it keeps its text, and says so in each API', async () => {
    upstream.reply = streaming(openaiStream.replace('"finish_reason":"stop"', '"finish_reason":"content_filter"'))
    const said = 'Grüße, 世界 🌍!'
    const chat = await openai.chat.completions.create({ model: 'openai', messages: [question] })
    expect(chat.choices).toMatchObject([{ finish_reason: 'content_filter', message: { content: said } }])
    expect(chat.usage?.completion_tokens).toBe(6)
    const chunks = eventsOf<{ choices: { finish_reason: string | null }[] }>(
      await (await ask('openai', { stream: true })).text(),
    )
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('content_filter')
    const message = await anthropic.messages.create({ model: 'openai', max_tokens: 50, messages: [question] })
    expect(message).toMatchObject({ stop_reason: 'refusal', content: [{ text: said }] })
    const response = await openai.responses.create({ model: 'openai', input: 'What is it?' })
    expect(response).toMatchObject({
      ...{ status: 'incomplete', incomplete_details: { reason: 'content_filter' }, output_text: said },
      output: [{ status: 'incomplete' }],
    })
    const ollama = await postJson(`${server.url}/api/chat`, { model: 'openai', messages: [question], stream: false })
    expect(await ollama.json()).toMatchObject({ done_reason: 'stop', message: { content: said } })
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    expect(metrics).toMatch(/^oriel_choices_total\{model="openai",reason="content_filter"\} 5$/m)
  })

  it('because of what is in it is a whole completion too', async () => {
    const text = { choices: [{ index: 0, text: 'Well', finish_reason: 'content_filter' }] }
    upstream.reply = streaming(`data: ${JSON.stringify(text)}\n\ndata: [DONE]\n\n`)
    const { choices } = await openai.completions.create({ model: 'vllm', prompt: 'one', max_tokens: 5 })
    expect(choices).toMatchObject([{ finish_reason: 'content_filter', text: 'Well' }])
  })
})

describe('what an upstream cannot do', () => {
  it.each([
    ['openai', { top_k: 5 }, 'top_k'],
    ['ollama', { n: 2 }, 'n'],
    ['anthropic', { seed: 1 }, 'seed'],
    ['novita', { response_format: { type: 'grammar', grammar: 'root ::= "a"' } }, 'response_format'],
    ['vllm', { return_token_ids: true }, 'return_token_ids'],
    ['openai', { chat_template_kwargs: { tone: 'dry' } }, 'chat_template_kwargs.tone'],
  ])('is refused by its name: %s has no %o', async (model, more, param) => {
    const before = upstream.heard.length
    const response = await ask(model, more)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { param, code: 'not_supported_upstream' } })
    expect(upstream.heard.slice(before).filter(({ path }) => path.includes('completions'))).toEqual([])
  })
})

describe('usage', () => {
  it('is what the upstream says, of whole answers and of streams', async () => {
    upstream.reply = streaming(openaiStream)
    const whole = await openai.chat.completions.create({ model: 'openai', messages: [question] })
    expect(whole.usage).toMatchObject({
      ...{ prompt_tokens: 20, completion_tokens: 6, total_tokens: 26 },
      prompt_tokens_details: { cached_tokens: 16 },
      completion_tokens_details: { reasoning_tokens: 2 },
    })
    const streamed = await (await ask('openai', { stream: true, stream_options: { include_usage: true } })).text()
    expect(eventsOf<{ usage: unknown }>(streamed).at(-1)?.usage).toEqual(whole.usage)
    const tokens = async (more?: object) => (await ask('openai', more)).headers.get('fireworks-prompt-tokens')
    expect([await tokens(), await tokens({ stream: true })]).toEqual(['20', null])
    const message = await anthropic.messages.create({ model: 'openai', max_tokens: 50, messages: [question] })
    expect(message.usage).toMatchObject({ input_tokens: 4, cache_read_input_tokens: 16, output_tokens: 6 })
  })

  it('of several prompts is the sum', async () => {
    upstream.reply = streaming(openaiStream.replaceAll('"delta":{"content"', '"delta":{"ignored"'))
    const { usage } = await openai.completions.create({ model: 'vllm', prompt: ['one', 'two'], max_tokens: 5 })
    expect(usage).toMatchObject({ prompt_tokens: 40, completion_tokens: 12 })
  })

  it('has log probabilities as the upstream tells them', async () => {
    upstream.reply = streaming(llamaStream)
    const body = { model: 'llama-server', messages: [question], logprobs: true, top_logprobs: 2 }
    const { choices } = await openai.chat.completions.create(body)
    expect(choices[0]?.logprobs?.content).toEqual([
      {
        ...{ token: 'A', token_id: 65, logprob: -0.5, bytes: [65] },
        top_logprobs: [
          { token: 'A', token_id: 65, logprob: -0.5, bytes: [65] },
          { token: 'B', token_id: 66, logprob: -1.5, bytes: [66] },
        ],
      },
    ])
  })
})

describe('an upstream that fails', () => {
  it.each([
    ['refuses our key', failing(401, { error: { message: 'Incorrect API key provided: the-key' } })],
    ['does not have the model', failing(404, { error: { message: 'The model `a-model` does not exist.' } })],
    ['crashes', failing(500, { error: { message: 'CUDA error' } })],
    ['is a page', streaming('<html><body>Welcome</body></html>')],
    ['resets the connection', (response: { destroy(): void }) => response.destroy()],
  ])('is a 503 that says nothing of the inside: it %s', async (_, reply) => {
    upstream.reply = reply
    const response = await ask('sglang')
    expect(response.status).toBe(503)
    const text = await response.text()
    expect(text).not.toMatch(/key|CUDA|127\.0\.0\.1|html|a-model/i)
  })

  it('tells when it may be asked again', async () => {
    upstream.reply = failing(429, { error: { message: 'Slow down' } }, { 'retry-after': '1' })
    const response = await ask('lm-studio')
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
  })

  it('ends a stream that breaks off with an error, after what was said', async () => {
    const at = vllmStream.indexOf('Yes')
    upstream.reply = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(vllmStream.slice(0, at + 40))
      setTimeout(() => response.destroy(), 50)
    }
    const text = await (await ask('vllm', { stream: true })).text()
    expect(text).toContain('"reasoning_content":"Hm."')
    expect(text).toContain('"error"')
    expect(text).not.toContain('"finish_reason":"stop"')
  })
})

describe('a client that leaves', () => {
  it('before the answer begins has used its prompt, as it is estimated', async () => {
    const used = async (): Promise<number> => {
      const { data } = usagePage.parse(await (await fetch(`${server.url}/v1/usage?group_by=status`)).json())
      return data.find(({ status }) => status === 499)?.prompt_tokens ?? 0
    }
    const before = await used()
    const heard = upstream.heard.length
    upstream.reply = () => {}
    const leaving = new AbortController()
    const messages = [{ role: 'user', content: 'a'.repeat(4000) }]
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, signal: leaving.signal }
    const body = JSON.stringify({ model: 'vllm', messages })
    const request = fetch(`${server.url}/v1/chat/completions`, { ...init, body })
    await vi.waitFor(() => expect(upstream.heard.length).toBeGreaterThan(heard), patient)
    leaving.abort()
    await request.catch(() => {})
    await vi.waitFor(async () => expect((await used()) - before).toBe(1000), patient)
  })

  const begun = vllmStream.slice(0, vllmStream.indexOf('data:', vllmStream.indexOf('Hm.')))

  it.each([true, false])('ends the work of the upstream, of a stream: %s', async (stream) => {
    upstream.left = 0
    const before = upstream.heard.length
    upstream.reply = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(begun)
    }
    const leaving = new AbortController()
    const body = JSON.stringify({ model: 'vllm', messages: [question], stream })
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: leaving.signal }
    const request = fetch(`${server.url}/v1/chat/completions`, init)
    if (stream) await (await request).body?.getReader().read()
    else await vi.waitFor(() => expect(upstream.heard.length).toBeGreaterThan(before), patient)
    leaving.abort()
    await request.catch(() => {})
    await vi.waitFor(() => expect(upstream.left).toBe(1), patient)
  })
})
