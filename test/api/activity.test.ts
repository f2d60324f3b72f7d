import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { z } from 'zod'
import { activitySnapshot } from '../../src/api/administration/activity.ts'
import { deferred } from '../../src/deferred.ts'
import type { Phase } from '../../src/deployments/index.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { serveBackend } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

type Snapshot = z.output<typeof activitySnapshot>

let server: TestServer
let red: string
beforeAll(async () => {
  server = await startServer({ prices: { input: 2, output: 10 } })
  red = dataUrl(await shape('red'))
})
afterAll(() => server.close())

const snapshot = async (): Promise<Snapshot> =>
  activitySnapshot.parse(await (await fetch(`${server.url}/admin/activity`)).json())

/** A question about an image that no other question has. */
const question = (text: string, image = true) => ({
  model: 'pocket',
  messages: [
    {
      role: 'user',
      content: [...(image ? [{ type: 'image_url', image_url: { url: red } }] : []), { type: 'text', text }],
    },
  ],
})

const ask = (body: object, headers: Record<string, string> = {}, path = '/v1/chat/completions') =>
  postJson(server.url + path, body, { headers })

/** The newest finished request, once `count` more have ended than before. */
async function finishedAfter(act: () => Promise<unknown>): Promise<Snapshot['finished'][number]> {
  const [before] = (await snapshot()).finished
  await act()
  return vi.waitFor(async () => {
    const [last] = (await snapshot()).finished
    if (last === undefined || last.id === before?.id) throw new Error('none has ended')
    return last
  }, patient)
}

const windowOf = ({ windows }: Snapshot, minutes: number) => {
  const found = windows.find((one) => one.minutes === minutes)
  if (found === undefined) throw new Error('no such window')
  return found
}

async function* live(signal?: AbortSignal): AsyncIterable<Snapshot> {
  const response = await fetch(`${server.url}/admin/activity/live`, signal === undefined ? {} : { signal })
  let text = ''
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const frames = (text + chunk).split('\n\n')
    text = frames.pop() ?? ''
    for (const frame of frames)
      if (frame.startsWith('data: ')) yield activitySnapshot.parse(JSON.parse(frame.slice('data: '.length)))
  }
}

describe('the activity of a server', () => {
  it('has the phases, tokens and cost of requests that have ended, and nothing of their content', async () => {
    let usage: { prompt_tokens: number; completion_tokens: number; cost: number } | undefined
    const done = await finishedAfter(async () => {
      const asked = { ...question('What is in this image? MARK'), usage: { include: true } }
      const response = await ask(asked, { 'x-request-id': 'mine' })
      usage = ((await response.json()) as { usage: NonNullable<typeof usage> }).usage
    })
    expect(done).toMatchObject({
      ...{ request_id: 'mine', account: 'local', key: null, model: 'pocket', endpoint: '/v1/chat/completions' },
      ...{ dialect: 'OpenAI', status: 200, error: null, images: 1, cost: usage?.cost },
      tokens: { output: usage?.completion_tokens },
    })
    expect(done.tokens.text + done.tokens.image).toBe(usage?.prompt_tokens)
    expect(done.tokens.image).toBeGreaterThan(0)
    for (const phase of Object.values(done.phases)) expect(phase).toBeGreaterThanOrEqual(0)
    expect(done.phases.encode_ms).toBeGreaterThan(0)
    expect(done.first_token_ms).toBeGreaterThan(0)
    expect(done.token_ms).toBeGreaterThan(0)
    expect(done.duration_ms).toBeGreaterThanOrEqual(done.phases.decode_ms ?? 0)
    const all = JSON.stringify(await snapshot())
    expect(all).not.toMatch(/MARK|red circle|base64/)
  })

  it('sums the last minutes: percentiles, tokens by kind, hit rates, costs', async () => {
    const before = windowOf(await snapshot(), 60)
    await finishedAfter(() => ask(question('Is it in the cache?')))
    const last = await finishedAfter(() => ask(question('Is it in the cache?')))
    const all = await snapshot()
    const after = windowOf(all, 60)
    expect(after.requests).toBe(before.requests + 2)
    expect(after.tokens.image).toBe(before.tokens.image + 2 * last.tokens.image)
    expect(after.tokens.cached).toBeGreaterThanOrEqual(before.tokens.cached + last.tokens.image)
    expect(after.tokens.output).toBeGreaterThanOrEqual(before.tokens.output + last.tokens.output)
    expect(after.cost).toBeGreaterThan(before.cost)
    for (const {
      first_token_ms: first,
      token_ms: each,
      prefix_hit_rate: prefixes,
      image_hit_rate: images,
    } of all.windows) {
      expect(first?.p50).toBeGreaterThan(0)
      expect(first?.p99).toBeGreaterThanOrEqual(first?.p50 ?? 0)
      expect(each?.p50).toBeGreaterThan(0)
      expect(prefixes).toBeGreaterThan(0)
      expect(images).toBeGreaterThan(0)
      expect(images).toBeLessThan(1)
    }
    expect(all.windows.map(({ minutes }) => minutes)).toEqual([1, 5, 60])
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
    expect(all.series.requests).toHaveLength(60)
    expect(sum(all.series.requests)).toBe(after.requests)
    expect(sum(all.series.output_tokens)).toBe(after.tokens.output)
  })

  it('counts errors by their kind, of requests that were let in and of others', async () => {
    const { errors: before, requests } = windowOf(await snapshot(), 5)
    const refused = await finishedAfter(() => ask({ ...question('Too long'), max_tokens: 5000 }))
    expect(refused).toMatchObject({ status: 400, error: expect.any(String), first_token_ms: null, token_ms: null })
    await ask({ ...question('Wrong'), temperature: 'hot' })
    await ask({ ...question('None'), model: 'nothing' })
    await fetch(`${server.url}/no/such/page`)
    await fetch(`${server.url}/admin/models/image-tokens`)
    const all = await snapshot()
    const { errors, requests: after } = windowOf(all, 5)
    expect(after).toBe(requests + 3)
    // What was not let in has no model and no row in the ledger.
    expect(all.finished.slice(0, 2)).toMatchObject([
      { id: expect.stringMatching(/^refused_/), status: 404, error: 'model_not_found', model: null, account: 'local' },
      { id: expect.stringMatching(/^refused_/), status: 400, error: 'invalid_value', model: null, cost: 0 },
    ])
    expect(all.finished[2]).toMatchObject({ id: refused.id, model: 'pocket' })
    expect(errors.invalid).toBe((before.invalid ?? 0) + 2)
    expect(errors.not_found).toBe((before.not_found ?? 0) + 1)
  })

  it('shows a request while it is answered, with its phase and its tokens so far', async () => {
    const long = { ...question('Tell'), max_tokens: 3000, ignore_eos: true, stream: true }
    const stop = new AbortController()
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': 'long' },
      body: JSON.stringify(long),
      signal: stop.signal,
    })
    const running = await vi.waitFor(async () => {
      const found = (await snapshot()).running.find((one) => one.request_id === 'long')
      expect(found?.output_tokens).toBeGreaterThan(3)
      return found
    }, patient)
    expect(running).toMatchObject({ phase: 'decoding', model: 'pocket', images: 1 })
    expect(running?.prompt_tokens).toBeGreaterThan(running?.image_tokens ?? 0)
    const { models, memory } = await snapshot()
    expect(models).toMatchObject([
      { id: 'pocket', state: 'loaded', running: 1, sequences: 1, idle_ms: null, engine: 'ok' },
    ])
    const [{ kv } = { kv: null }] = models
    expect(kv?.running_cells).toBeGreaterThan(0)
    expect(Number(kv?.running_cells) + Number(kv?.stored_cells) + Number(kv?.free_cells)).toBe(kv?.cells)
    expect(memory.taken_bytes).toBe(models[0]?.memory_bytes)
    const left = await finishedAfter(async () => {
      stop.abort()
      await response.text().catch(() => {})
    })
    expect(left).toMatchObject({ request_id: 'long', status: 499, error: 'cancelled' })
    expect(left.tokens.output).toBeGreaterThan(3)
    expect((await snapshot()).running_count).toBe(0)
  })

  it('streams: each event has the requests that ended since the one before', async () => {
    const seen = new Map<string, number>()
    const stop = new AbortController()
    let events = 0
    for await (const { finished } of live(stop.signal)) {
      for (const { id } of finished) seen.set(id, (seen.get(id) ?? 0) + 1)
      if (events++ === 0) {
        expect(finished.length).toBeGreaterThan(0)
        await ask(question('While you watch', false), { 'x-request-id': 'watched' })
      } else if (finished.some((one) => one.request_id === 'watched')) break
    }
    stop.abort()
    expect([...seen.values()].every((times) => times === 1)).toBe(true)
    expect(seen.size).toBe((await snapshot()).finished.length)
  })

  it('shows what a request waits for before its first token', async () => {
    const waits = deferred<void>()
    let tell: (phase: Phase) => void = () => {}
    const plain = plainBackend()
    const { url, close } = await serveBackend({
      ...plain,
      async answer(ask, signal, onPhase) {
        tell = onPhase ?? tell
        await waits.promise
        return plain.answer(ask, signal)
      },
    })
    const phaseNow = async () => {
      const { running } = activitySnapshot.parse(await (await fetch(`${url}/admin/activity`)).json())
      return running.map(({ phase }) => phase)
    }
    const messages = [{ role: 'user', content: 'Hello' }]
    const asked = postJson(`${url}/v1/chat/completions`, { model: plain.info.id, messages })
    await vi.waitFor(async () => expect(await phaseNow()).toEqual(['queued']), patient)
    for (const phase of ['media', 'encoding', 'prefill'] as const) {
      tell(phase)
      expect(await phaseNow()).toEqual([phase])
    }
    waits.resolve()
    expect((await asked).status).toBe(200)
    await vi.waitFor(async () => expect(await phaseNow()).toEqual([]), patient)
    await close()
  })

  it('is made once for all who watch, of whom there are only so many', async () => {
    const stop = new AbortController()
    const watching = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const response = await fetch(`${server.url}/admin/activity/live`, { signal: stop.signal })
        const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
        return { status: response.status, first: (await reader?.read())?.value ?? '', reader }
      }),
    )
    expect(new Set(watching.map(({ status }) => status))).toEqual(new Set([200]))
    // Not one for each, however long they took to connect.
    expect(new Set(watching.map(({ first }) => /"at":"([^"]+)"/.exec(first)?.[1])).size).toBeLessThan(25)
    const refused = await fetch(`${server.url}/admin/activity/live`)
    expect(refused.status).toBe(503)
    expect(await refused.json()).toMatchObject({ error: { code: 'too_many_watchers' } })
    expect((await fetch(`${server.url}/admin/activity/live`, { method: 'HEAD' })).status).toBe(200)
    stop.abort()
    for (const { reader } of watching) await reader?.cancel().catch(() => {})
    await vi.waitFor(async () => {
      const again = await fetch(`${server.url}/admin/activity/live`)
      await again.body?.cancel()
      expect(again.status).toBe(200)
    }, patient)
  })

  it('is for administrators, and not for pages of other origins', async () => {
    const keyed = await startServer({ accounts: { adminKey: 'an-admin-key-of-tests' } })
    for (const path of ['/admin/activity', '/admin/activity/live']) {
      expect((await fetch(keyed.url + path)).status).toBe(401)
      const page = await fetch(server.url + path, { headers: { origin: 'https://evil.example' } })
      expect(page.status).toBe(403)
    }
    const authorization = 'Bearer an-admin-key-of-tests'
    const make = await postJson(
      `${keyed.url}/admin/keys`,
      { account: 'ops', scopes: ['admin'] },
      { headers: { authorization } },
    )
    const { id, secret } = (await make.json()) as { id: string; secret: string }
    const watch = (key: string) =>
      fetch(`${keyed.url}/admin/activity/live`, { headers: { authorization: `Bearer ${key}` } })
    const revoked = await watch(secret)
    expect(
      (await fetch(`${keyed.url}/admin/keys/${id}`, { method: 'DELETE', headers: { authorization } })).status,
    ).toBe(200)
    // Strangers do not fill the list.
    await postJson(`${keyed.url}/v1/chat/completions`, question('Who am I?'))
    const seen = await fetch(`${keyed.url}/admin/activity`, { headers: { authorization } })
    const { finished, windows } = activitySnapshot.parse(await seen.json())
    expect([finished, windows[0]?.errors]).toEqual([[], { unauthorized: 1 }])
    // It ends by itself.
    expect(await revoked.text()).toMatch(/"code":"[^"]*key[^"]*"[^\n]*\n\n$/)
    const watching = await watch('an-admin-key-of-tests')
    const reading = watching.text()
    await keyed.close()
    expect(await reading).toMatch(/^data: /)
  })
})
