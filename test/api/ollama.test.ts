import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { type ChatResponse, type GenerateResponse, Ollama } from 'ollama'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { backends } from '../support/backends.ts'
import { postJson } from '../support/http.ts'
import { shape } from '../support/images.ts'
import { endEvents, promptEvent, type Script, startScripted, startWords, textEvent } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

const question = 'What is in this image?'
const schema = {
  type: 'object',
  properties: { colour: { type: 'string', enum: ['red', 'green', 'blue'] } },
  required: ['colour'],
  additionalProperties: false,
}

describe.each(backends)("Ollama's client, with the model $model", (backend) => {
  let server: { url: string; close(): Promise<void> }
  let client: Ollama
  let red: Uint8Array
  let blue: Uint8Array
  const { model } = backend
  beforeAll(async () => {
    server = await backend.start()
    client = new Ollama({ host: server.url })
    red = await shape('red')
    blue = await shape('blue', 'square')
  })
  afterAll(() => server.close())

  it('chats about text and images', async () => {
    const hello = await client.chat({ model, messages: [{ role: 'user', content: 'Hello' }] })
    expect(hello).toMatchObject({ message: { role: 'assistant', content: backend.greeting }, done_reason: 'stop' })
    const one = await client.chat({ model, messages: [{ role: 'user', content: question, images: [red] }] })
    expect(one.message.content).toBe(backend.oneImage)
    const two = await client.chat({
      model: `${model}:latest`,
      messages: [{ role: 'user', content: 'Compare the two images.', images: [red, blue] }],
      options: { temperature: 0 },
    })
    expect(two).toMatchObject({ model: `${model}:latest`, message: { content: backend.twoImages } })
  })

  it('streams a chat, with the counts and times in the last line', async () => {
    const lines: ChatResponse[] = []
    const stream = await client.chat({
      model,
      stream: true,
      messages: [{ role: 'user', content: question, images: [red] }],
    })
    for await (const line of stream) lines.push(line)
    expect(lines.map(({ message }) => message.content).join('')).toBe(backend.oneImage)
    const last = lines.at(-1)
    expect(lines.slice(0, -1).every((line) => !line.done && line.done_reason === undefined)).toBe(true)
    expect(last).toMatchObject({ done: true, done_reason: 'stop', message: { role: 'assistant', content: '' } })
    for (const name of ['prompt_eval_count', 'eval_count', 'total_duration'] as const)
      expect(last?.[name]).toBeGreaterThan(0)
    for (const name of ['load_duration', 'prompt_eval_duration', 'eval_duration'] as const) {
      expect(Number.isInteger(last?.[name])).toBe(true)
      expect(last?.[name]).toBeLessThanOrEqual(last?.total_duration ?? 0)
    }
  })

  it('completes a prompt, whole and streamed', async () => {
    const asked = { model, prompt: question, images: [red] }
    expect(await client.generate(asked)).toMatchObject({ response: backend.oneImage, done: true, done_reason: 'stop' })
    let text = ''
    for await (const line of await client.generate({ ...asked, stream: true })) text += line.response
    expect(text).toBe(backend.oneImage)
    const cut = await client.generate({ model, prompt: 'Hello', options: { num_predict: 1 } })
    expect(cut).toMatchObject({ done_reason: 'length', eval_count: 1 })
  })

  it('lists, shows and loads models', async () => {
    const { models } = await client.list()
    const listed = models.find(({ name }) => name === `${model}:latest`)
    expect(listed?.model).toBe(`${model}:latest`)
    expect(listed?.digest).toMatch(/^[0-9a-f]{64}$/)
    expect((await client.ps()).models).toMatchObject([{ name: `${model}:latest`, digest: listed?.digest }])
    const shown = await client.show({ model })
    const { 'general.architecture': architecture, ...info } = shown.model_info as unknown as Record<string, unknown>
    expect(info[`${architecture}.context_length`]).toBe(backend.contextTokens)
    expect(shown.capabilities).toEqual(expect.arrayContaining(['completion', 'vision']))
    expect(await client.chat({ model, messages: [] })).toMatchObject({ done: true, done_reason: 'load' })
    expect(await client.generate({ model, prompt: '' })).toMatchObject({ response: '', done_reason: 'load' })
    expect(await client.pull({ model })).toEqual({ status: 'success' })
    expect((await client.version()).version).toMatch(/^\d+\.\d+\.\d+$/)
  })

  it('is told in one sentence what this server does not do', async () => {
    const cases: [ask: () => Promise<unknown>, status: number, error: RegExp][] = [
      [
        () => client.chat({ model: 'llava', messages: [{ role: 'user', content: 'Hi' }] }),
        404,
        /^The model "llava" was not found/,
      ],
      [() => client.show({ model: 'llava' }), 404, /^The model "llava" was not found/],
      [() => client.show({ model: 'smolvlm-500m' }), 404, /has not been downloaded/],
      [() => client.pull({ model: 'llava:7b' }), 403, /oriel pull llava:7b\.$/],
      [() => client.delete({ model }), 403, /oriel rm/],
      [() => client.copy({ source: model, destination: 'mine' }), 403, /copy/],
      [() => client.create({ model: 'mine', from: 'llava' }), 403, /make models/],
      [() => client.push({ model }), 403, /upload/],
      [() => client.embed({ model, input: 'Hi' }), 400, /answers and does not embed/],
      [() => client.generate({ model, prompt: 'Hi', suffix: 'there' }), 400, /^suffix is not supported/],
      [() => client.generate({ model, prompt: 'Hi', format: 'xml' }), 400, /^format must be "json" or a JSON schema/],
      [
        () => client.generate({ model, prompt: 'Hi', options: { temperature: 9 } }),
        400,
        /^options\.temperature must be at most 2/,
      ],
    ]
    for (const [ask, status, error] of cases)
      await expect(ask()).rejects.toMatchObject({ status_code: status, error: expect.stringMatching(error) })
  })
})

describe("Ollama's API with the built-in model", () => {
  let server: TestServer
  let client: Ollama
  beforeAll(async () => {
    server = await startServer()
    client = new Ollama({ host: server.url })
  })
  afterAll(() => server.close())

  it('holds an answer to JSON and to a schema', async () => {
    const ask = async (format: string | object) => {
      const { message } = await client.chat({
        model: 'pocket',
        messages: [{ role: 'user', content: 'Describe it.', images: [await shape('red')] }],
        format,
        options: { num_predict: 200, temperature: 0 },
      })
      return JSON.parse(message.content) as { colour?: string }
    }
    expect(['red', 'green', 'blue']).toContain((await ask(schema)).colour)
    expect(typeof (await ask('json'))).toBe('object')
  })

  it('completes a raw prompt, with its images in place', async () => {
    const { response } = await client.generate({
      model: 'pocket',
      raw: true,
      prompt: `<|im_start|>user\n<image>${question}<|im_end|>\n<|im_start|>assistant\n`,
      images: [await shape('red')],
    })
    expect(response).toContain('A red circle on a white background.')
  })

  it('names the image that cannot be read', async () => {
    const asked = client.chat({ model: 'pocket', messages: [{ role: 'user', content: 'Hi', images: ['a?'] }] })
    await expect(asked).rejects.toMatchObject({
      status_code: 400,
      error: expect.stringMatching(/^messages\[0\]\.images\[0\]: .*base64 is malformed/),
    })
  })

  it('returns log probabilities', async () => {
    const { logprobs } = await client.generate({ model: 'pocket', prompt: 'Hello', logprobs: true, top_logprobs: 2 })
    expect(logprobs?.[0]).toMatchObject({ token: 'Hello', logprob: expect.any(Number) })
    expect(logprobs?.[0]?.top_logprobs).toHaveLength(2)
  })

  it('unloads a model when the request that asks for it is over, and loads it again', async () => {
    const loaded = async () => (await client.ps()).models.length
    await client.chat({ model: 'pocket', messages: [] })
    expect(await loaded()).toBe(1)
    const answer = await client.chat({ model: 'pocket', messages: [{ role: 'user', content: 'Hello' }], keep_alive: 0 })
    expect(answer.message.content).not.toBe('')
    await vi.waitFor(async () => expect(await loaded()).toBe(0), { timeout: 30_000 })
    expect(await client.generate({ model: 'pocket', prompt: '' })).toMatchObject({ done_reason: 'load' })
    expect(await loaded()).toBe(1)
    expect(await client.generate({ model: 'pocket', prompt: '', keep_alive: '0s' })).toMatchObject({
      done_reason: 'unload',
    })
    await vi.waitFor(() => expect(server.engines()).toEqual([]), { timeout: 30_000 })
    await expect(client.generate({ model: 'none', prompt: '', keep_alive: 0 })).rejects.toMatchObject({
      status_code: 404,
    })
  })

  it.runIf(process.platform === 'linux')('keeps a model that other clients have used', async () => {
    const unload = async (from: string): Promise<string> => {
      const headers = { 'content-type': 'application/json' }
      const asked = request(`${server.url}/api/generate`, { method: 'POST', localAddress: from, headers })
      asked.end('{"model": "pocket", "prompt": "Hello", "stream": false, "keep_alive": 0}')
      const [answer] = (await once(asked, 'response')) as [IncomingMessage]
      return text(answer)
    }
    expect(await client.generate({ model: 'pocket', prompt: 'Hello' })).toMatchObject({ done_reason: 'stop' })
    expect(JSON.parse(await unload('127.0.0.2'))).toMatchObject({ done_reason: 'stop' })
    expect(JSON.parse(await unload('127.0.0.1'))).toMatchObject({ done_reason: 'stop' })
    // It would have been gone by the end of the answer's connection.
    await pause(500)
    expect((await client.ps()).models).toHaveLength(1)
  })

  it('names what it ignores, and answers what its clients probe', async () => {
    const response = await postJson(`${server.url}/api/chat`, {
      model: 'pocket',
      messages: [{ role: 'user', content: 'Hello' }],
      stream: false,
      keep_alive: '5m',
      template: '{{ .Prompt }}',
      options: { num_ctx: 2048, 'num\n': 1 },
    })
    expect(response.headers.get('content-type')).toContain('application/json')
    expect(response.headers.get('x-oriel-ignored-parameters')).toBe(
      'template, keep_alive, options.num_ctx, options.num%0A',
    )
    for (const path of ['/', '/api/version', '/api/tags'])
      expect((await fetch(server.url + path, { method: 'HEAD' })).status).toBe(200)
    const form = {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: '{"model":"pocket"}',
    }
    expect((await fetch(`${server.url}/api/chat`, form)).status).toBe(200)
    expect((await fetch(`${server.url}/v1/chat/completions`, form)).status).toBe(415)
    expect((await fetch(`${server.url}/api/chat`, { ...form, headers: { origin: 'http://a.test' } })).status).toBe(403)
    const missing = await fetch(`${server.url}/api/nothing`)
    expect([missing.status, await missing.json()]).toEqual([404, { error: 'Unknown URL: GET /api/nothing.' }])
  })
})

describe("Ollama's API with a model that calls and thinks", () => {
  let close = async (): Promise<void> => {}
  afterEach(() => close())

  const saying = async (...words: string[]) => {
    const started = await startWords(words)
    close = started.close
    return { client: new Ollama({ host: started.url }), ...started }
  }
  const tools = [{ type: 'function', function: { name: 'look', description: '', parameters: { type: 'object' } } }]
  const user = { role: 'user', content: 'Hi' }

  it('has thoughts apart, and calls with their arguments as objects', async () => {
    const { client } = await saying(
      '<think>Hm.</think>',
      'I look.',
      '<tool_call>\n{"name": "look", "argu',
      'ments": {"at": [1]}}\n</tool_call>',
      '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>',
    )
    const { message, done_reason } = await client.chat({ model: 'scripted', messages: [user], tools, think: true })
    const calls = [
      { function: { name: 'look', arguments: { at: [1] } } },
      { function: { name: 'look', arguments: {} } },
    ]
    expect(message).toMatchObject({ content: 'I look.', thinking: 'Hm.', tool_calls: calls })
    expect(done_reason).toBe('stop')
    const lines: ChatResponse[] = []
    for await (const line of await client.chat({ model: 'scripted', messages: [user], tools, stream: true }))
      lines.push(line)
    expect(lines.map((line) => line.message.content).join('')).toBe('I look.')
    expect(lines.map((line) => line.message.thinking ?? '').join('')).toBe('Hm.')
    expect(lines.flatMap((line) => line.message.tool_calls ?? [])).toMatchObject(calls)
  })

  it.each([
    ['within its arguments', ', "arguments": {"at": [1'],
    ['before its arguments', ','],
  ])('leaves out a call that was cut off %s', async (_, rest) => {
    const first = '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'
    const words = ['I look.', first, `<tool_call>\n{"name": "look"${rest}`]
    const started = await startScripted(async function* () {
      yield promptEvent
      for (const [before, word] of words.entries()) yield textEvent(word, before + 1)
      yield* endEvents(3).map((event) => (event.type === 'end' ? { ...event, reason: 'length' as const } : event))
    })
    close = started.close
    const client = new Ollama({ host: started.url })
    const { message, done_reason } = await client.chat({ model: 'scripted', messages: [user], tools })
    const calls = [{ function: { name: 'look', arguments: {} } }]
    expect([message, done_reason]).toMatchObject([{ content: 'I look.', tool_calls: calls }, 'length'])
    expect(message.tool_calls).toHaveLength(1)
    const lines: ChatResponse[] = []
    for await (const line of await client.chat({ model: 'scripted', messages: [user], tools, stream: true }))
      lines.push(line)
    expect(lines.flatMap((line) => line.message.tool_calls ?? [])).toHaveLength(1)
    expect(lines.at(-1)?.done_reason).toBe('length')
  })

  it.each([
    ['very', 'a string of 4 characters'],
    [1, '1'],
    [{}, 'an object'],
  ])('says what may be wanted of thoughts: not %j', async (think, found) => {
    const { url } = await saying('Done.')
    const response = await postJson(`${url}/api/chat`, { model: 'scripted', messages: [user], think })
    const { error } = (await response.json()) as { error: string }
    expect(response.status).toBe(400)
    expect(error).toBe(`think must be true, false, "low", "medium", "high" or "max"; found ${found}.`)
  })

  it('reads earlier calls and results without ids', async () => {
    const { client, promptText } = await saying('Done.')
    const calls = ['a', 'b'].map((at) => ({ function: { name: 'look', arguments: { at } } }))
    await client.chat({
      model: 'scripted',
      tools,
      messages: [
        user,
        { role: 'assistant', content: '', tool_calls: calls },
        { role: 'tool', content: 'first', tool_name: 'look' },
        { role: 'tool', content: 'second' },
      ],
    })
    expect(promptText()).toMatch(/"at":"a".*"at":"b".*first.*second/s)
    const many = Array.from({ length: 129 }, () => ({ function: { name: 'look', arguments: {} } }))
    await expect(
      client.chat({ model: 'scripted', messages: [{ role: 'assistant', content: '', tool_calls: many }] }),
    ).rejects.toThrow('messages[0].tool_calls must have at most 128 items')
  })

  it('ends a stream that fails with a line that has the error', async () => {
    const script: Script = async function* () {
      yield promptEvent
      yield textEvent('Hel')
      throw new OrielError('engine_failed', 'The engine stopped.')
    }
    const { url, ...started } = await startScripted(script)
    close = started.close
    const answer = await (await postJson(`${url}/api/generate`, { model: 'scripted', prompt: 'Hi' })).text()
    const lines = answer.split('\n')
    expect(lines.pop()).toBe('')
    expect(lines.map((line) => JSON.parse(line) as Partial<GenerateResponse>)).toMatchObject([
      { response: 'Hel', done: false },
      { error: 'The engine stopped.' },
    ])
  })
})
