import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { version } from '../../src/version.ts'
import { send } from '../support/raw.ts'
import { endEvents, promptEvent, type Script, startScripted, textEvent } from '../support/scripted.ts'

let close = async (): Promise<void> => {}
afterEach(async () => {
  await close()
  vi.useRealTimers()
})

async function start(script: Script): Promise<string> {
  const server = await startScripted(script)
  close = server.close
  return server.url
}

const hello: Script = async function* () {
  yield promptEvent
  yield textEvent('Hel')
  yield textEvent('lo')
  yield* endEvents(2)
}

const body = (over: object = {}): string =>
  JSON.stringify({ model: 'scripted', messages: [{ role: 'user', content: 'Hi' }], ...over })

const post = (url: string, over: object = {}, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: body(over),
  })

/** Sends bytes as they are. @returns what came back until the connection closed */
const raw = (url: string, bytes: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(bytes))
    let got = ''
    socket.setEncoding('utf8').on('data', (part) => {
      got += part
    })
    socket.on('close', () => resolve(got)).on('error', reject)
  })

describe('a stream on the wire', () => {
  it('has exactly these bytes', async () => {
    const text = await (await post(await start(hello), { stream: true })).text()
    const chunk = (choice: string, usage = ''): string =>
      `data: {"id":"ID","object":"chat.completion.chunk","created":0,"model":"scripted","system_fingerprint":"oriel-${version}","choices":[{"index":0,${choice}}]${usage}}\n\n`
    expect(text.replace(/chatcmpl-[\w-]+/g, 'ID').replace(/"created":\d+/g, '"created":0')).toBe(
      chunk('"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null') +
        chunk('"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null') +
        chunk('"delta":{"content":"lo"},"logprobs":null,"finish_reason":null') +
        chunk(
          '"delta":{},"logprobs":null,"finish_reason":"stop"',
          ',"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14,"completion_tokens_details":{"reasoning_tokens":0},"prompt_tokens_details":{"cached_tokens":4,"image_tokens":0,"images":[],"video_tokens":0,"audio_tokens":0}}',
        ) +
        'data: [DONE]\n\n',
    )
  })

  it('has the usage in a chunk of its own with include_usage', async () => {
    const text = await (
      await post(await start(hello), { stream: true, stream_options: { include_usage: true } })
    ).text()
    const chunks = text
      .split('\n\n')
      .slice(0, -2)
      .map((event) => JSON.parse(event.slice(6)))
    expect(chunks.map(({ usage, choices }) => [choices.length, usage?.total_tokens ?? null])).toEqual([
      [1, null],
      [1, null],
      [1, null],
      [1, null],
      [0, 14],
    ])
  })

  it('ends with an error event when the engine fails', async () => {
    const url = await start(async function* () {
      yield promptEvent
      yield textEvent('Hel')
      throw new TypeError('cannot read /secret/path')
    })
    const text = await (await post(url, { stream: true })).text()
    expect(text.split('\n\n').slice(-3)).toEqual([
      'data: {"error":{"message":"The server met an error that it did not expect.","type":"server_error","param":null,"code":null}}',
      'data: [DONE]',
      '',
    ])
  })

  it('has the status of an error that occurs before the first byte', async () => {
    const url = await start(async function* () {
      yield await Promise.reject(new OrielError('overloaded', 'Full.', { retryAfter: 3 }))
    })
    const response = await post(url, { stream: true })
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '3'])
  })

  it('begins with keep-alive comments while the request waits for a slot', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
    let go = (): void => {}
    const url = await start(async function* () {
      await new Promise<void>((resolve) => {
        go = resolve
      })
      yield* hello({} as Parameters<Script>[0], new AbortController().signal)
    })
    const waiting = post(url, { stream: true })
    // Real turns of the event loop let the request travel; the fake clock passes the server's wait.
    for (let turn = 0; turn < 50; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
      await pause(1)
      await vi.advanceTimersByTimeAsync(1000)
    }
    go()
    const text = await (await waiting).text()
    expect(text).toMatch(/^(: keep-alive\n\n)+data: \{"id"/)
    expect(text).toMatch(/data: \[DONE\]\n\n$/)
  })

  it('takes no more from the engine than a slow client reads', async () => {
    let said = 0
    const url = await start(async function* (_, signal) {
      yield promptEvent
      for (; said < 100_000 && !signal.aborted; said++) yield textEvent('x'.repeat(1000))
      yield* endEvents(said)
    })
    const response = await post(url, { stream: true })
    await pause(500)
    const held = said
    await pause(500)
    expect(said).toBe(held)
    // What the socket buffers of both sides hold.
    expect(held).toBeLessThan(20_000)
    await response.body?.cancel()
  })

  it('leaves no event listeners behind while it waits for a slow client', async () => {
    const warnings: Error[] = []
    const note = (warning: Error): number => warnings.push(warning)
    process.on('warning', note)
    const url = await start(async function* () {
      yield promptEvent
      for (let part = 0; part < 2000; part++) yield textEvent('x'.repeat(10_000))
      yield* endEvents(2000)
    })
    expect((await (await post(url, { stream: true })).text()).length).toBeGreaterThan(20_000_000)
    process.off('warning', note)
    expect(warnings).toEqual([])
  })

  it('stops the engine when the client disconnects', async () => {
    let aborted = (): void => {}
    const stopped = new Promise<void>((resolve) => {
      aborted = resolve
    })
    const url = await start(async function* (_, signal) {
      signal.addEventListener('abort', aborted)
      yield promptEvent
      while (!signal.aborted) {
        yield textEvent('x')
        await pause(5)
      }
      throw new OrielError('cancelled', 'The request was cancelled.')
    })
    const reader = (await post(url, { stream: true })).body?.getReader()
    await reader?.read()
    await reader?.cancel()
    await stopped
  })

  it('stops the engine when the client of a whole answer disconnects', async () => {
    let aborted = (): void => {}
    const stopped = new Promise<void>((resolve) => {
      aborted = resolve
    })
    const url = await start(async function* (_, signal) {
      yield promptEvent
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      aborted()
      throw new OrielError('cancelled', 'The request was cancelled.')
    })
    const abort = new AbortController()
    const waiting = fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: body(),
      signal: abort.signal,
    })
    await pause(100)
    abort.abort()
    await expect(waiting).rejects.toThrow()
    await stopped
  })
})

describe('the request to the engine', () => {
  const asked = async (over: object, headers: Record<string, string> = {}, path = '/v1') => {
    let seen: Parameters<Script>[0] | undefined
    const url = await start((request, signal) => {
      seen = request
      return hello(request, signal)
    })
    const response = await fetch(`${url}${path}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: body(over),
    })
    await close()
    close = async () => {}
    return { status: response.status, answer: await response.json(), seen }
  }

  it('has the values of the parameters', async () => {
    const { seen } = await asked({
      max_completion_tokens: 7,
      stop: ['a', '', 'b'],
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.1,
      typical_p: 0.8,
      mirostat_target: 5,
      repetition_penalty: 1.1,
      frequency_penalty: 0.2,
      presence_penalty: -0.2,
      seed: -1,
      logit_bias: { '5': -100 },
      n: 2,
      logprobs: true,
      top_logprobs: 3,
      ignore_eos: true,
      context_length_exceeded_behavior: 'truncate',
      prompt_cache_max_len: 0,
    })
    expect(seen).toMatchObject({
      maxTokens: 7,
      overflow: 'truncate',
      n: 2,
      stop: ['a', 'b'],
      ignoreEos: true,
      sampling: {
        temperature: 0.5,
        topP: 0.9,
        topK: 40,
        minP: 0.1,
        typicalP: 0.8,
        mirostat: { target: 5, rate: 0.1 },
        repetitionPenalty: 1.1,
        frequencyPenalty: 0.2,
        presencePenalty: -0.2,
        seed: 0xffffffff,
        logitBias: [{ token: 5, bias: -100 }],
        grammar: null,
      },
      topLogprobs: 3,
      cachePrompt: false,
    })
  })

  it('has the defaults for parameters that are null', async () => {
    const nothing = [
      'max_tokens',
      'stop',
      'temperature',
      'top_p',
      'seed',
      'logit_bias',
      'n',
      'tools',
      'response_format',
    ]
    const { status, seen } = await asked(Object.fromEntries(nothing.map((name) => [name, null])))
    expect(status).toBe(200)
    expect(seen).toMatchObject({ maxTokens: null, n: 1, stop: [], overflow: 'error', cachePrompt: true })
  })

  it('has a cache key for each isolation key', async () => {
    const keys = [
      (await asked({})).seen?.cacheKey,
      (await asked({ prompt_cache_isolation_key: 'a' })).seen?.cacheKey,
      (await asked({}, { 'x-prompt-cache-isolation-key': 'a' })).seen?.cacheKey,
      (await asked({}, { 'x-prompt-cache-isolation-key': 'b' })).seen?.cacheKey,
    ]
    expect(keys[1]).toBe(keys[2])
    expect(new Set(keys).size).toBe(3)
  })

  it("truncates under Fireworks' base, and is refused under OpenAI's, if it exceeds the context", async () => {
    expect((await asked({}, {}, '/inference/v1')).seen?.overflow).toBe('truncate')
    expect((await asked({}, {}, '/openai/v1')).seen?.overflow).toBe('error')
  })

  it('is refused if logit_bias names an unknown token', async () => {
    const { status, answer } = await asked({ logit_bias: { '512': 1 } })
    expect(status).toBe(400)
    expect(answer).toMatchObject({
      error: { param: 'logit_bias.512', message: expect.stringContaining('vocabulary of 512 tokens') },
    })
  })
})

describe('HTTP', () => {
  it('answers bytes that are not HTTP with an error body', async () => {
    const answer = await raw(await start(hello), 'HELLO\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
    expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({ error: { code: 'invalid_request' } })
  })

  it('refuses a body larger than the limit, naming the limit', async () => {
    const url = await start(hello)
    const answer = await raw(
      url,
      'POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\nconnection: close\r\n\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
    expect(answer).toContain('larger than 16000000 bytes')
  })

  it('refuses what a proxy passes on when all of it has come: a client that still sends would not get the answer', async () => {
    const url = await start(hello)
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    let got = ''
    socket.setEncoding('utf8').on('data', (part) => {
      got += part
    })
    socket.write(
      `POST /v1/nothing HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.1\r\ncontent-type: application/json\r\ncontent-length: 2000000\r\nconnection: close\r\n\r\n${'a'.repeat(1_000_000)}`,
    )
    await pause(200)
    expect(got).toBe('')
    socket.write('a'.repeat(1_000_000))
    await new Promise((resolve) => socket.once('close', resolve))
    expect(got).toMatch(/^HTTP\/1\.1 404 /)
  })

  it('serves pages that load nothing from other hosts', async () => {
    const page = await fetch(`${await start(hello)}/docs`)
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    const html = await page.text()
    expect(html).toMatch(/<script type="module" crossorigin src="\/assets\/[\w-]+\.js">/)
    expect(html).not.toMatch(/https?:\/\//)
  })

  it('serves nothing but the files of the pages, and says to browsers that the rest is data', async () => {
    const url = await start(hello)
    const outside = ['%2e%2e%2fpackage.json', '..%5c..%5cpackage.json', '%00', '__proto__', 'constructor', '']
    for (const name of outside) expect([name, (await fetch(`${url}/assets/${name}`)).status]).toEqual([name, 404])
    const [, asset = ''] = /src="(\/assets\/[^"]+)"/.exec(await (await fetch(`${url}/`)).text()) ?? []
    for (const [accepted, encoding] of [
      ['gzip', 'gzip'],
      ['br, gzip;q=0.5', 'gzip'],
      ['gzip;q=0', undefined],
      ['gzip; q=0.0, br', undefined],
      ['identity', undefined],
    ] as const)
      for (const method of ['GET', 'HEAD']) {
        const { status, headers } = await send(url + asset, { method, headers: { 'accept-encoding': accepted } })
        expect([accepted, status, headers['content-encoding']]).toEqual([accepted, 200, encoding])
        expect(headers['cache-control']).toContain('immutable')
      }
    expect((await fetch(`${url}/favicon.ico`)).headers.get('content-type')).toBe('image/svg+xml')
    for (const place of ['/nothing', '/admin/models', '/v1/models', '/health', asset]) {
      const { headers } = await fetch(url + place)
      expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'")
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin')
    }
  })

  it('finds a model whose id has slashes, literal or escaped', async () => {
    const url = await start(hello)
    const id = 'accounts/oriel/models/scripted'
    for (const path of [id, encodeURIComponent(id), 'scripted'])
      expect(await (await fetch(`${url}/v1/models/${path}`)).json()).toMatchObject({ id: 'scripted', object: 'model' })
    expect((await fetch(`${url}/v1/models/${'x'.repeat(300)}`)).status).toBe(404)
    expect((await fetch(`${url}/v1/models/%zz`)).status).toBe(400)
  })

  it('has an error body and a request id for every failure', async () => {
    const url = await start(() => {
      throw new TypeError('at /home/somebody/secret.ts:12')
    })
    for (const response of [
      await post(url),
      await fetch(`${url}/nothing`),
      await fetch(`${url}/v1/models`, { method: 'DELETE' }),
      await fetch(`${url}/v1/models/%zz`),
    ]) {
      expect(response.headers.get('x-request-id')).toMatch(/^[\w-]{36}$/)
      const text = await response.text()
      expect(Object.keys(JSON.parse(text).error)).toEqual(['message', 'type', 'param', 'code'])
      expect(text).not.toMatch(/secret|\.ts|\bat \//)
    }
  })

  it('is refused for its URL before its body is read', async () => {
    const url = await start(hello)
    const sent = (method: string, path: string, body?: string) =>
      fetch(url + path, {
        method,
        headers: { 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body }),
      })
    for (const [method, path, status] of [
      ['POST', '/nothing', 404],
      ['DELETE', '/v1/nothing', 404],
      ['DELETE', '/v1/chat/completions', 405],
      ['POST', '/v1/models', 405],
    ] as const)
      for (const body of [undefined, '{'])
        expect([path, (await sent(method, path, body)).status]).toEqual([path, status])
    expect((await sent('DELETE', '/admin/cache')).status).toBe(204)
    expect(await (await sent('POST', '/v1/chat/completions')).json()).toMatchObject({
      error: { message: 'The body must be an object; found nothing.' },
    })
  })

  it('ignores parameters named like properties of Object.prototype', async () => {
    const url = await start(hello)
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: body().replace('{', '{"__proto__":{"stream":true},"constructor":1,'),
    })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ object: 'chat.completion', choices: [{ finish_reason: 'stop' }] })
  })
})
