import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { dataUrl, shape } from '../support/images.ts'
import { administrator, type KeyedServer, startKeyed } from '../support/keyed.ts'
import { inputs } from '../support/long.ts'
import { patient } from '../support/wait.ts'

/** Whatever becomes of a request, it gives its place back, and the ledger has one row for it. */

let server: KeyedServer
let red: string
beforeAll(async () => {
  server = await startKeyed({
    tier: 'single',
    tiers: { single: { concurrentRequests: 1 }, three: { concurrentRequests: 3 } },
  })
  red = dataUrl(await shape('red'))
})
afterAll(() => server.close())

interface Client {
  account: string
  headers: Record<string, string>
  post(url: string, body: unknown, signal?: AbortSignal): Promise<Response>
}

async function clientOf(tier: string | null = null): Promise<Client> {
  const { secret, account } = await server.keyOf({}, tier)
  const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' }
  return {
    account,
    headers,
    post: (url, body, signal) =>
      fetch(`${server.url}${url}`, { method: 'POST', headers, body: JSON.stringify(body), signal: signal ?? null }),
  }
}

const chat = '/v1/chat/completions'
const question = { model: 'pocket', max_tokens: 4, messages: [{ role: 'user', content: 'Hello' }] }
/** An answer that runs until somebody ends it. */
const long = { ...question, max_tokens: 2000, ignore_eos: true }

/** Requests of an account by their status, when so many are in the ledger. */
async function rowsOf({ account }: Client, requests: number): Promise<Record<number, number>> {
  return vi.waitFor(async () => {
    const { rows } = await server.elsewhere.usage({ from: 0, to: Date.now() + 1, accounts: [account], by: ['status'] })
    expect(rows.reduce((sum, row) => sum + row.requests, 0)).toBe(requests)
    return Object.fromEntries(rows.map((row) => [row.status, row.requests]))
  }, patient)
}

/** All places are free: so many requests run at the same time. */
async function isFree(client: Client, places = 1): Promise<void> {
  await vi.waitFor(async () => {
    const running = await Promise.all(Array.from({ length: places }, () => client.post(chat, question)))
    expect(running.map(({ status }) => status)).toEqual(running.map(() => 200))
    await Promise.all(running.map((response) => response.text()))
  }, patient)
}

it('a request that is refused before it is let in takes no place and has no row', async () => {
  const client = await clientOf()
  const refused: [string, unknown, number][] = [
    [chat, { ...question, max_tokens: 0 }, 400],
    [chat, { ...question, model: 'unknown' }, 404],
    ['/v1/messages', { ...question, model: 'unknown' }, 404],
    ['/v1/messages/count_tokens', { model: 'unknown', messages: question.messages }, 404],
    ['/api/chat', { model: 'unknown', messages: question.messages }, 404],
    ['/api/generate', { model: 'unknown' }, 404],
    ['/v1/responses', { model: 'pocket', input: 'Hello', previous_response_id: 'resp_none' }, 400],
  ]
  for (const [url, body, status] of refused) {
    const response = await client.post(url, body)
    expect([url, response.status]).toEqual([url, status])
  }
  await isFree(client)
  expect(await rowsOf(client, 1)).toEqual({ 200: 1 })
})

it('a request that fails after it is let in gives its place back', async () => {
  const client = await clientOf()
  const broken = `data:image/png;base64,${Buffer.from('\x89PNG\r\n\x1a\nbroken', 'latin1').toString('base64')}`
  const content = [{ type: 'image_url', image_url: { url: broken } }]
  for (const stream of [false, true]) {
    const response = await client.post(chat, { ...question, stream, messages: [{ role: 'user', content }] })
    expect(response.status).toBe(422)
    await response.text()
  }
  const tooLong = await client.post(chat, {
    ...question,
    messages: [{ role: 'user', content: 'word '.repeat(50_000) }],
  })
  expect(tooLong.status).toBe(400)
  await isFree(client)
  expect(await rowsOf(client, 4)).toEqual({ 200: 1, 400: 1, 422: 2 })
})

it('a request that asks no model is a request, and no more', async () => {
  const client = await clientOf()
  const asked: [string, unknown][] = [
    ['/v1/messages/count_tokens', { model: 'pocket', messages: question.messages }],
    ['/api/generate', { model: 'pocket' }],
    ['/api/chat', { model: 'pocket', messages: [] }],
    [chat, { ...question, dry_run: true }],
  ]
  for (const [url, body] of asked) {
    const response = await client.post(url, body)
    expect([url, response.status]).toEqual([url, 200])
    await response.text()
  }
  expect(await rowsOf(client, asked.length)).toEqual({ 200: asked.length })
  const { rows } = await server.elsewhere.usage({ from: 0, to: Date.now() + 1, accounts: [client.account] })
  expect(rows).toMatchObject([{ promptTokens: 0, completionTokens: 0, cost: 0 }])
})

it('a client that leaves gives its place back, whenever it leaves', async () => {
  const client = await clientOf()
  const bodies = [
    { ...long, stream: true },
    { ...long, stream: false },
    { ...long, stream: true, n: 3 },
    { ...long, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: red } }] }] },
  ]
  for (const body of bodies)
    for (const ms of inputs([0, 16], [0, 2, 16, 128])) {
      const { headers } = client
      const asked = httpRequest(`${server.url}${chat}`, { method: 'POST', headers, agent: false })
      asked.on('error', () => {}).end(JSON.stringify(body))
      await sleep(ms)
      asked.destroy()
      await isFree(client)
    }
  const prompts = { model: 'pocket', prompt: ['one', 'two', 'three'], n: 2, max_tokens: 2000, ignore_eos: true }
  const over = new AbortController()
  const response = await client.post('/v1/completions', { ...prompts, stream: true }, over.signal)
  await response.body?.getReader().read()
  over.abort()
  await isFree(client)
})

it('requests that wait on one connection are gone with it', async () => {
  const client = await clientOf('three')
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  const lines = Object.entries({ host: hostname, ...client.headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  const sent = (body: string) =>
    `POST ${chat} HTTP/1.1\r\n${lines.join('')}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  const streamed = sent(JSON.stringify({ ...long, stream: true }))
  socket.write(streamed + sent(JSON.stringify(question)).repeat(2))
  await new Promise((resolve) => socket.once('data', resolve))
  await sleep(100)
  socket.destroy()
  await isFree(client, 3)

  // One after the other, they are answered.
  const again = connect(Number(port), hostname)
  again.write(sent(JSON.stringify(question)).repeat(5))
  let text = ''
  again.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  await vi.waitFor(() => expect(text.match(/HTTP\/1.1 200 /g)).toHaveLength(5), patient)
  again.destroy()
})

it('an engine that dies ends its answers, and they give their places back', async () => {
  const client = await clientOf('three')
  const running = [true, false, true].map((stream) => client.post(chat, { ...long, stream }))
  await vi.waitFor(async () => {
    const headers = { 'x-api-key': administrator }
    const health = await fetch(`${server.url}/health`, { headers })
    const { engines } = (await health.json()) as { engines: { running: number }[] }
    expect(engines[0]?.running).toBe(3)
  }, patient)
  server.kill()
  await Promise.all(running.map(async (response) => (await response).text()))
  await isFree(client, 3)
  const rows = await rowsOf(client, 6)
  expect(rows).toMatchObject({ 503: 3 })
  const { rows: all } = await server.elsewhere.usage({
    from: 0,
    to: Date.now() + 1,
    accounts: [client.account],
    by: ['status'],
  })
  expect(all.find(({ status }) => status === 503)).toMatchObject({ cost: 0 })
})
