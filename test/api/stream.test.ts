import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { postJson } from '../support/http.ts'
import { shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

let oriel: TestServer
beforeAll(async () => {
  oriel = await startServer()
})
afterAll(() => oriel.close())

const post = (over: object = {}, base = '/v1', init: RequestInit = {}) =>
  postJson(
    `${oriel.url}${base}/chat/completions`,
    { model: 'pocket', messages: [{ role: 'user', content: 'Hello' }], temperature: 0, ...over },
    { ...init },
  )

/** The greedy answer to `Hello`. */
const greeting = 'Hello! Send me an image and ask about it.'
const textOf = async (response: Response): Promise<string | undefined> => {
  const { choices } = (await response.json()) as { choices?: { message: { content: string } }[] }
  return choices?.[0]?.message.content
}

const engineOf = async () => {
  const health = (await (await fetch(`${oriel.url}/health`)).json()) as { engines: object[] }
  return health.engines[0]
}

const events = (text: string): string[] =>
  text
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice(6))

describe('a stream', () => {
  it('ends with [DONE], after a last chunk with the usage', async () => {
    const response = await post({ stream: true })
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    const promptTokens = Number(response.headers.get('fireworks-prompt-tokens'))
    const all = events(await response.text())
    expect(all.at(-1)).toBe('[DONE]')
    const chunks = all.slice(0, -1).map((event) => JSON.parse(event))
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1)
    expect(chunks[0].choices[0]).toMatchObject({ delta: { role: 'assistant', content: '' }, finish_reason: null })
    expect(chunks.at(-1)).toMatchObject({
      choices: [{ delta: {}, finish_reason: 'stop' }],
      usage: {
        prompt_tokens: promptTokens,
        completion_tokens: expect.any(Number),
        total_tokens: promptTokens + Number(chunks.at(-1).usage.completion_tokens),
      },
    })
    expect(chunks.slice(0, -1).some((chunk) => 'usage' in chunk)).toBe(false)
  })

  it('has the finish reason length if max_tokens ends it', async () => {
    const all = events(await (await post({ stream: true, max_tokens: 1 })).text())
    expect(JSON.parse(all.at(-2) ?? '')).toMatchObject({
      choices: [{ finish_reason: 'length' }],
      usage: { completion_tokens: 1 },
    })
  })

  it('has a role and a finish reason for each of n answers', async () => {
    const chunks = events(await (await post({ stream: true, n: 3, temperature: 1, seed: 1 })).text())
      .slice(0, -1)
      .map((event) => JSON.parse(event))
    for (const index of [0, 1, 2]) {
      const own = chunks.map(({ choices }) => choices[0]).filter((choice) => choice.index === index)
      expect(own[0].delta.role).toBe('assistant')
      expect(own.filter(({ finish_reason }) => finish_reason !== null)).toHaveLength(1)
    }
  })

  it('works under every base', async () => {
    for (const base of ['/v1', '/inference/v1', '/openai/v1', '/openai']) {
      const all = events(await (await post({ stream: true }, base)).text())
      const text = all.slice(0, -1).map((event) => JSON.parse(event).choices[0]?.delta.content ?? '')
      expect([text.join(''), all.at(-1)]).toEqual([greeting, '[DONE]'])
    }
  })

  it('repeats the request id of the client, or makes one', async () => {
    const given = await post({}, '/v1', { headers: { 'content-type': 'application/json', 'x-request-id': 'abc-1' } })
    expect(given.headers.get('x-request-id')).toBe('abc-1')
    expect((await post()).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('has the time of each phase in server-timing', async () => {
    const { headers } = await post()
    expect(headers.get('server-timing')).toMatch(
      /media;dur=.*queue;dur=.*encode;dur=.*prefill;dur=.*generation;dur=.*total;dur=/,
    )
    expect(Number(headers.get('fireworks-server-time-to-first-token'))).toBeLessThanOrEqual(
      Number(headers.get('fireworks-server-processing-time')),
    )
  })

  it('stops the engine when the client disconnects', async () => {
    const abort = new AbortController()
    const response = await post({ stream: true, ignore_eos: true, max_tokens: 4000 }, '/v1', { signal: abort.signal })
    const reader = response.body?.getReader()
    await reader?.read()
    abort.abort()
    await vi.waitFor(async () => expect(await engineOf()).toMatchObject({ running: 0, waiting: 0 }), patient)
    // A whole answer would be counted with 4000 tokens.
    const counted = /^oriel_generated_tokens_total\{model="pocket"\} (\d+)$/m
    const [, tokens] = counted.exec(await (await fetch(`${oriel.url}/metrics`)).text()) ?? []
    expect(Number(tokens)).toBeLessThan(4000)
  })

  it.skipIf(shortRun)('waits for a client that does not read', async () => {
    const { port } = new URL(oriel.url)
    const body = JSON.stringify({
      model: 'pocket',
      messages: [{ role: 'user', content: 'Hello' }],
      stream: true,
      ignore_eos: true,
      max_tokens: 3000,
    })
    const socket = connect({ port: Number(port), host: '127.0.0.1' })
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    )
    socket.pause()
    expect(await textOf(await post())).toBe(greeting)
    const text = await new Promise<string>((resolve) => {
      let got = ''
      socket.setEncoding('utf8').on('data', (part) => {
        got += part
      })
      socket.on('end', () => resolve(got))
      socket.resume()
    })
    expect(text).toContain('data: [DONE]')
    expect(text).toContain('"completion_tokens":3000')
  })
})

describe('an engine that dies', () => {
  it('fails its running requests with 503 and answers the next one', async () => {
    const plain = post({ ignore_eos: true, max_tokens: 4000 })
    const streaming = await post({ stream: true, ignore_eos: true, max_tokens: 4000 })
    oriel.kill()
    const failed = await plain
    expect(failed.status).toBe(503)
    expect(failed.headers.get('retry-after')).toBe('1')
    expect(await failed.json()).toMatchObject({
      error: { type: 'server_error', message: expect.stringContaining('is restarting') },
    })
    const all = events(await streaming.text())
    expect(all.at(-1)).toBe('[DONE]')
    expect(JSON.parse(all.at(-2) ?? '')).toMatchObject({ error: { message: expect.stringContaining('is restarting') } })
    expect(await textOf(await post())).toBe(greeting)
  })

  it('leaves waiting requests to the next engine', async () => {
    // Not a stream: 16,000 chunks would keep this process, which has the server too, from looking in time.
    const running = post({ n: 32, ignore_eos: true, max_tokens: 500 })
    await vi.waitFor(async () => expect(await engineOf()).toMatchObject({ running: 32 }), patient)
    const waiting = Array.from({ length: 3 }, () => post())
    await vi.waitFor(async () => expect(await engineOf()).toMatchObject({ running: 32, waiting: 3 }), patient)
    oriel.kill()
    expect(await (await running).text()).toContain('is restarting')
    for (const response of await Promise.all(waiting)) expect(await textOf(response)).toBe(greeting)
  })

  it.skipIf(shortRun)(
    'fails waiting requests when the next engine dies too, since one of them may be the cause',
    async () => {
      const running = await post({ stream: true, n: 32, ignore_eos: true, max_tokens: 500 })
      const waiting = Array.from({ length: 2 }, () => post({ n: 32, ignore_eos: true, max_tokens: 500 }))
      for (const left of [2, 1]) {
        const busy = async () => expect(await engineOf()).toMatchObject({ running: 32, waiting: left })
        await vi.waitFor(busy, patient)
        oriel.kill()
      }
      expect(await running.text()).toContain('is restarting')
      for (const { status } of await Promise.all(waiting)) expect(status).toBe(503)
      // Requests do not wait for the restart of an engine that has died several times soon after its start.
      await vi.waitFor(async () => expect(await textOf(await post())).toBe(greeting), patient)
    },
  )
})
