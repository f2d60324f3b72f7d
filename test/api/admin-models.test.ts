import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { networkInterfaces, tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { z } from 'zod'
import { imageTokenList, libraryList, removedModel } from '../../src/api/administration/library.ts'
import { pull, pullList } from '../../src/api/administration/pulls.ts'
import { postJson } from '../support/http.ts'
import { FakeHub } from '../support/hub.ts'
import { dataUrl, shape } from '../support/images.ts'
import { shortRun } from '../support/long.ts'
import { pocketFolder } from '../support/pocket.ts'
import { send } from '../support/raw.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

const decoder = await readFile(`${pocketFolder}pocket.gguf`)
const vision = await readFile(`${pocketFolder}mmproj-pocket.gguf`)
const files = {
  'SmolVLM-256M-Instruct-Q8_0.gguf': { content: decoder },
  'mmproj-SmolVLM-256M-Instruct-Q8_0.gguf': { content: vision },
}
const known = 'ggml-org/SmolVLM-256M-Instruct-GGUF'
const other = 'someone/Pocket-GGUF'

let home: string
let hub: FakeHub
let server: TestServer
beforeAll(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'oriel-library-'))
  const others = { ...files, 'SmolVLM-256M-Instruct-F16.gguf': { content: Buffer.concat([decoder, Buffer.alloc(8)]) } }
  hub = await FakeHub.start({ [known]: { files }, [other]: { files: others } })
  const models = { dirs: [path.join(home, 'own')], hub: { endpoint: hub.url, home } }
  server = await startServer({ models, prices: { input: 2, output: 10 } })
})
afterAll(async () => {
  await server.close()
  await hub.close()
  await rm(home, { recursive: true })
})
beforeEach(() => {
  hub.trouble.pace = 0
})

const at = (place: string): string => `${server.url}/admin/${place}`

async function as<T extends z.ZodType>(schema: T, asked: Promise<Response>): Promise<z.output<T>> {
  const response = await asked
  const body = await response.json()
  expect(response.status, JSON.stringify(body)).toBe(200)
  return schema.parse(body)
}

const refusal = async (asked: Promise<Response>): Promise<unknown[]> => {
  const response = await asked
  const { error } = (await response.json()) as { error: { message: string; code: string; param: string | null } }
  expect(error.message).not.toContain(home)
  return [response.status, error.code]
}

const library = () => as(libraryList, fetch(at('models')))
const modelOf = async (id: string) => (await library()).models.find((model) => model.id === id)
const pulls = async () => (await as(pullList, fetch(at('pulls')))).pulls
const pullOf = async (id: string) => (await pulls()).find((one) => one.id === id)
const start = (model: string) => as(pull, postJson(at('models/pull'), { model }))
const cancel = (id: string) => as(pull, fetch(at(`pulls/${id}`), { method: 'DELETE' }))
const unload = (id: string) =>
  fetch(at(`models/${id.split('/').map(encodeURIComponent).join('/')}`), { method: 'DELETE' })
const remove = (model: string, dryRun = false) =>
  as(removedModel, postJson(at('models/remove'), { model, dry_run: dryRun }))

async function* eventsOf(place: string): AsyncIterable<unknown> {
  const response = await fetch(at(place))
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  let text = ''
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const frames = (text + chunk).split('\n\n')
    text = frames.pop() ?? ''
    for (const frame of frames) if (frame.startsWith('data: ')) yield JSON.parse(frame.slice('data: '.length))
  }
}

describe('the library', () => {
  it('lists the models of this machine and of the catalogue, with what they take and can', async () => {
    const { models, memory, machine } = await library()
    const pocket = models.find(({ id }) => id === 'pocket')
    expect(pocket).toMatchObject({
      ...{ title: 'Pocket', state: 'loaded', progress: null, error: null, repo: null },
      ...{ context_tokens: 4096, inputs: ['image'], architecture: 'llama', removable: false, fits: true },
      ...{ vision: { supported: true }, bytes: decoder.length + vision.length, pull: null, running: 0 },
      prices: { input: 2, cached_input: 1, output: 10, image: 0 },
    })
    expect(pocket?.memory_bytes).toBe(memory.taken_bytes)
    expect(pocket?.image_ms === null || Number(pocket?.image_ms) > 0).toBe(true)
    expect(pocket?.idle_ms).toBeGreaterThanOrEqual(0)
    expect(machine.image).toEqual({ width: 1280, height: 720 })
    const smol = models.find(({ id }) => id === 'smolvlm-256m')
    expect(smol).toMatchObject({
      ...{ state: 'not_pulled', repo: known, licence: 'apache-2.0', fits: true, image_ms: null, removable: false },
      ...{ vision: { family: 'idefics3', supported: true }, tools: null, quantization: 'Q8_0' },
    })
    expect(models.find(({ id }) => id === 'qwen2.5-vl-72b')?.memory_bytes).toBeGreaterThan(30e9)
    // More than its files take: the context and the caches, too.
    expect(Number(smol?.memory_bytes)).toBeGreaterThan(Number(smol?.bytes))
    expect(new Set(models.map(({ id }) => id)).size).toBe(models.length)
  })

  it('counts the tokens of an image of any size without loading a model', async () => {
    const counted = await as(imageTokenList, fetch(at('models/image-tokens?width=192&height=192')))
    const [pocket] = counted.models
    const asked = await postJson(`${server.url}/v1/chat/completions`, {
      messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: dataUrl(await shape('red')) } }] }],
      ...{ model: 'pocket', max_tokens: 1 },
    })
    const { usage } = (await asked.json()) as { usage: { prompt_tokens_details: { image_tokens: number } } }
    expect(pocket).toMatchObject({ id: 'pocket', auto: { tokens: usage.prompt_tokens_details.image_tokens, tiles: 1 } })
    for (const query of [
      '',
      '?width=10',
      '?width=0&height=1',
      '?width=70000&height=1',
      '?width=a&height=1',
      '?width=1.5&height=2',
    ])
      expect(await refusal(fetch(at(`models/image-tokens${query}`))), query).toEqual([400, 'invalid_value'])
  })

  it('loads a model that nobody asks, and unloads it', async () => {
    expect((await unload('pocket')).status).toBe(200)
    await vi.waitFor(async () => expect(await modelOf('pocket')).toMatchObject({ state: 'available' }), patient)
    expect(await (await postJson(at('models/load'), { model: 'oriel/pocket' })).json()).toMatchObject({ id: 'pocket' })
    await vi.waitFor(
      async () => expect(await modelOf('pocket')).toMatchObject({ state: 'loaded', running: 0 }),
      patient,
    )
    expect(await (await postJson(at('models/load'), { model: 'pocket' })).json()).toEqual({
      id: 'pocket',
      state: 'loaded',
    })
    for (const [model, status] of [
      ['nothing', 404],
      ['smolvlm-256m', 404],
      [5, 400],
      ['', 400],
    ] as const)
      expect((await postJson(at('models/load'), { model })).status, String(model)).toBe(status)
    expect(await refusal(unload('nothing'))).toEqual([404, 'model_not_loaded'])
  })

  it.skipIf(shortRun)('ends a load that is no longer wanted', async () => {
    await unload('pocket')
    await vi.waitFor(async () => expect(await modelOf('pocket')).toMatchObject({ state: 'available' }), patient)
    await postJson(at('models/load'), { model: 'pocket' })
    expect((await unload('pocket')).status).toBe(200)
    await vi.waitFor(async () => expect(await modelOf('pocket')).toMatchObject({ state: 'available' }), patient)
  })
})

describe('a pull', () => {
  it.skipIf(shortRun)('goes on without its watcher, is one for all who ask, and makes the model answer', async () => {
    hub.trouble.pace = 20
    const first = await start('smolvlm-256m')
    expect(first).toMatchObject({ model: 'smolvlm-256m', state: 'running', ended_at: null, error: null })
    expect(await start('smolvlm-256m')).toMatchObject({ id: first.id })
    expect(await modelOf('smolvlm-256m')).toMatchObject({ state: 'not_pulled', pull: { id: first.id } })
    const seen: z.output<typeof pull>[] = []
    for await (const event of eventsOf('pulls/live')) {
      const [latest] = pullList.parse(event).pulls
      if (latest !== undefined) seen.push(latest)
      // A page that leaves stops nothing.
      if (Number(latest?.done_bytes) > 0 || latest?.state !== 'running') break
    }
    expect(seen.at(-1)).toMatchObject({ id: first.id, total_bytes: decoder.length + vision.length })
    await vi.waitFor(async () => expect(await pullOf(first.id)).toMatchObject({ state: 'done' }), patient)
    const total = decoder.length + vision.length
    expect(await pullOf(first.id)).toMatchObject({
      ...{ step: null, done_bytes: total, total_bytes: total, served_as: `${known}:Q8_0`, error: null, note: null },
    })
    const pulled = await modelOf(`${known}:Q8_0`)
    expect(pulled).toMatchObject({ state: 'available', aliases: expect.arrayContaining(['smolvlm-256m']), repo: known })
    expect(pulled).toMatchObject({ bytes: total, licence: 'mit', removable: true, pull: null })
    expect(pulled?.title).toBe('SmolVLM 256M Instruct')
    const answer = await postJson(`${server.url}/v1/chat/completions`, {
      ...{ model: 'smolvlm-256m', max_tokens: 2, messages: [{ role: 'user', content: 'Hello' }] },
    })
    expect(answer.status).toBe(200)
  })

  it('is reported to every page until it ends', async () => {
    hub.trouble.pace = 5
    const { id } = await start(other)
    const states = async (): Promise<string[]> => {
      const seen: string[] = []
      for await (const event of eventsOf('pulls/live')) {
        const one = pullList.parse(event).pulls.find((pull) => pull.id === id)
        if (one !== undefined) seen.push(one.state)
        if (one?.state !== 'running') return seen
      }
      return seen
    }
    for (const seen of await Promise.all([states(), states()])) expect(seen.at(-1)).toBe('done')
    await cancel(id)
    expect(await pullOf(id)).toBeUndefined()
    await remove(`${other}:Q8_0`)
  })

  it('is cancelled, and continued by another', async () => {
    hub.trouble.pace = 50
    const { id } = await start(other)
    await vi.waitFor(async () => expect((await pullOf(id))?.done_bytes).toBeGreaterThan(2e6), patient)
    expect(await cancel(id)).toMatchObject({ state: 'cancelled', step: null, error: null })
    hub.trouble.pace = 0
    const before = hub.sent
    const again = await start(other)
    expect(again.id).not.toBe(id)
    await vi.waitFor(async () => expect(await pullOf(again.id)).toMatchObject({ state: 'done' }), patient)
    expect(hub.sent - before).toBeLessThan(decoder.length + vision.length)
    await remove(other)
  })

  it('that fails says why', async () => {
    const { id } = await start('someone/Nothing')
    await vi.waitFor(async () => expect(await pullOf(id)).toMatchObject({ state: 'failed' }), patient)
    expect((await pullOf(id))?.error).toMatchObject({ message: expect.stringContaining('someone/Nothing') })
    expect(await refusal(postJson(at('models/pull'), { model: 'smolvlm-9b' }))).toEqual([404, 'not_in_catalogue'])
    expect(await refusal(fetch(at('pulls/pull_none'), { method: 'DELETE' }))).toEqual([404, 'pull_not_found'])
  })

  it('takes nothing from other servers and from the disk of this one', async () => {
    const model = `${pocketFolder}pocket.gguf`
    expect(
      await refusal(postJson(at('models/pull'), { model: `${hub.url.replace('127.0.0.1', 'localhost')}/x.gguf` })),
    ).toEqual([400, 'not_on_hub'])
    expect((await postJson(at('models/pull'), { model })).status).toBe(404)
    for (const body of [{}, { model: '' }, { model: 5 }, { model: 'a/b', anyway: 'yes' }, []])
      expect(await refusal(postJson(at('models/pull'), body))).toEqual([400, 'invalid_value'])
  })

  it('is refused while many are running', async () => {
    hub.trouble.pace = 200
    const quants = ['Q4_0', 'Q5_0', 'Q6_K', 'Q8_0'].map((quant) => `${other}:${quant}`)
    hub.trouble.busy = quants.map(() => ({ status: 503, retryAfter: '30' }))
    const running = await Promise.all(quants.map(start))
    expect(await refusal(postJson(at('models/pull'), { model: known }))).toEqual([503, 'too_many_pulls'])
    await vi.waitFor(async () => {
      for (const one of await pulls())
        if (one.state === 'running')
          expect(one).toMatchObject({ step: 'retrying', note: expect.stringMatching(/next attempt in \d+ s\.$/) })
    }, patient)
    for (const { id } of running) await cancel(id)
    hub.trouble.busy = []
  })
})

describe('the removal of a model', () => {
  it('says what it would remove, waits for nobody, and frees the disk', async () => {
    const id = `${known}:Q8_0`
    const { served_as } = await (async () => {
      const { id } = await start(known)
      await vi.waitFor(async () => expect(await pullOf(id)).toMatchObject({ state: 'done' }), patient)
      return (await pullOf(id)) ?? { served_as: null }
    })()
    expect(served_as).toBe(id)
    await postJson(at('models/load'), { model: id })
    expect(await refusal(postJson(at('models/remove'), { model: id }))).toEqual([412, 'model_in_memory'])
    await unload(id)
    await vi.waitFor(async () => expect(await modelOf(id)).toMatchObject({ removable: true }), patient)
    const would = { id, files: Object.keys(files), bytes: decoder.length + vision.length }
    expect(await remove('smolvlm-256m', true)).toEqual({ ...would, removed: false })
    expect(await modelOf(id)).toBeDefined()
    expect(await remove('smolvlm-256m')).toEqual({ ...would, removed: true })
    expect(await modelOf('smolvlm-256m')).toMatchObject({ state: 'not_pulled' })
    expect(await refusal(postJson(at('models/remove'), { model: id }))).toEqual([404, 'model_not_found'])
    expect((await postJson(at('models/remove'), { model: 'pocket' })).status).toBe(400)
  })
})

it('does not remove a model whose repository is being pulled, and removes it afterwards', async () => {
  const first = await start(other)
  await vi.waitFor(async () => expect(await pullOf(first.id)).toMatchObject({ state: 'done' }), patient)
  hub.trouble.pace = 20
  const second = await start(`${other}:F16`)
  await vi.waitFor(async () => expect((await pullOf(second.id))?.step).toBe('downloading'), patient)
  const asked = () => postJson(at('models/remove'), { model: other })
  await vi.waitFor(async () => expect(await refusal(asked())).toEqual([412, 'model_being_pulled']), patient)
  hub.trouble.pace = 0
  await vi.waitFor(async () => expect(await pullOf(second.id)).toMatchObject({ state: 'done' }), patient)
  for (const quant of ['Q8_0', 'F16']) expect((await remove(`${other}:${quant}`)).removed).toBe(true)
})

describe('a library that others can reach', () => {
  const admin = 'an-admin-key-of-tests'

  it('is closed to pages of other origins, and to keys that are not for administration', async () => {
    const headers = { origin: 'https://evil.example' }
    for (const [method, place] of routes)
      expect(await refusal(fetch(at(place), { method, headers })), place).toEqual([403, 'origin_not_allowed'])
    // An image or a script of another page: it says no origin.
    for (const [method, place] of routes)
      expect((await send(at(place), { method, headers: { 'sec-fetch-site': 'cross-site' } })).status, place).toBe(403)
    const keyed = await startServer({ accounts: { adminKey: admin } })
    for (const [method, place] of routes) {
      expect((await fetch(`${keyed.url}/admin/${place}`, { method })).status, place).toBe(401)
      const authorized = { method, headers: { authorization: `Bearer ${admin}` } }
      const response = await fetch(`${keyed.url}/admin/${place}`, authorized)
      expect([200, 400, 404], place).toContain(response.status)
      await response.body?.cancel()
    }
    await keyed.close()
  })

  it('changes nothing for whom a proxy on this machine speaks, if it has no keys', async () => {
    for (const header of ['x-forwarded-for', 'forwarded', 'via'])
      for (const place of ['models/pull', 'models/remove'])
        expect(await refusal(postJson(at(place), { model: 'a/b' }, { headers: { [header]: '10.0.0.9' } }))).toEqual([
          403,
          'key_needed',
        ])
  })

  const elsewhere = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ internal, family }) => !internal && family === 'IPv4')?.address

  it.skipIf(elsewhere === undefined)('changes its disk for its own machine only, if it has no keys', async () => {
    const open = await startServer({ server: { host: '0.0.0.0', insecure: true } })
    const there = `http://${elsewhere}:${new URL(open.url).port}/admin/`
    expect((await fetch(`${there}models`)).status).toBe(200)
    const model = 'pocket'
    for (const place of ['models/pull', 'models/remove'])
      expect(await refusal(postJson(there + place, { model })), place).toEqual([403, 'key_needed'])
    expect((await postJson(`${open.url}/admin/models/remove`, { model })).status).toBe(400)
    await open.close()
  })

  it('closes while pages watch it', async () => {
    const watched = await startServer()
    const response = await fetch(`${watched.url}/admin/pulls/live`)
    const reading = response.text()
    await watched.close()
    expect(await reading).toMatch(/^data: /)
  })
})

const routes = [
  ['GET', 'models'],
  ['GET', 'models/image-tokens?width=1&height=1'],
  ['POST', 'models/load'],
  ['POST', 'models/pull'],
  ['POST', 'models/remove'],
  ['DELETE', 'models/pocket'],
  ['GET', 'pulls'],
  ['GET', 'pulls/live'],
  ['DELETE', 'pulls/pull_1'],
] as const
