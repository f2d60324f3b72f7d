import { expect, it, vi } from 'vitest'
import { deferred } from '../../src/deferred.ts'
import { Cores } from '../../src/engine/cores.ts'
import type { AttachmentEncoder, OpenedEncoder } from '../../src/engine/encoder.ts'
import { EngineProcess } from '../../src/engine/engine-process.ts'
import type { EngineModel, HeaderRequest } from '../../src/engine/generation.ts'
import type { LoadedModel } from '../../src/engine/load-model.ts'
import { whileOpening } from '../../src/engine/opening-encoder.ts'
import type { FromEngine, LoadOptions } from '../../src/engine/protocol.ts'
import { OrielError } from '../../src/errors.ts'
import { answerAlone, architecture, KvModel, slowEncoder } from '../support/kv-model.ts'
import { engineSettings, requestOf } from '../support/pocket.ts'

const counted = vi.hoisted(() => vi.fn<(bytes: number) => void>())
vi.mock('../../src/native/index.ts', async (original) => ({ ...(await original<object>()), countOutlived: counted }))

const options: LoadOptions = { decoder: '', projector: null, name: 'model', settings: engineSettings }

const modelWith = (encoder: AttachmentEncoder): LoadedModel => ({
  decoder: new KvModel(500, 300, true).decoder,
  architectures: { images: architecture, audio: null },
  encoder,
  cores: new Cores(1),
  model: { name: 'model' } as Partial<EngineModel> as EngineModel,
  opening: null,
})

/** A process whose channel is a list, and whose model needs no files. */
async function start(load?: () => Promise<LoadedModel>) {
  const sent: FromEngine[] = []
  const loadFake = async (_: LoadOptions, onProgress: (share: number) => void): Promise<LoadedModel> => {
    for (const share of [0.001, 0.5, 0.505, 1]) onProgress(share)
    return modelWith(slowEncoder(2))
  }
  const engine = new EngineProcess((message) => sent.push(message), load ?? loadFake)
  const until = async (type: FromEngine['type'], id?: number) => {
    for (let tick = 0; tick < 10_000; tick++) {
      const found = sent.find(
        (message) => message.type === type && (id === undefined || ('id' in message && message.id === id)),
      )
      if (found !== undefined) return found
      await new Promise((resolve) => setImmediate(resolve))
    }
    throw new Error(`no message ${type}: ${JSON.stringify(sent)}`)
  }
  const eventsOf = (id: number) =>
    sent
      .flatMap((message) => (message.type === 'events' ? message.events.filter(([of]) => of === id) : []))
      .map(([, event]) => event)
  engine.receive({ type: 'load', options })
  return { engine, sent, until, eventsOf }
}

/** A process whose model can be asked while its image encoder is still being opened. */
async function startOpening() {
  const opening = deferred<OpenedEncoder>()
  const encoder = { ...slowEncoder(2), runtimes: { vision: 'onnx' }, uncalibrated: [], close() {} } as const
  const loadFake = async (): Promise<LoadedModel> => ({
    ...modelWith(whileOpening(opening.promise)),
    opening: opening.promise.then(({ runtimes }) => ({ runtimes, calibration: null })),
  })
  const started = await start(loadFake)
  await started.until('ready')
  const { engine, eventsOf } = started
  engine.receive({ type: 'generate', id: 1, request: request([image, text('?')]) })
  await started.until('want')
  engine.receive({ type: 'payload', id: 1, hash: '1', bytes: new Uint8Array(9) })
  engine.receive({ type: 'generate', id: 2, request: request([text('abc')]) })
  await expect.poll(() => eventsOf(2).at(-1)?.type).toBe('done')
  return { ...started, opening, encoder }
}

const text = (value: string) => ({ kind: 'text' as const, text: value, special: true })
const image = { kind: 'image' as const, width: 3, height: 1, hash: '1', detail: 'auto' as const }
const request = (prompt: HeaderRequest['prompt']): HeaderRequest => ({ ...requestOf([], { maxTokens: 5 }), prompt })

it('reports its progress in percent, then that it is ready', async () => {
  const { sent, until } = await start()
  await until('ready')
  expect(sent).toEqual([
    { type: 'loading', share: 0.5 },
    { type: 'loading', share: 1 },
    { type: 'ready', model: { name: 'model' } },
  ])
})

it('reports why a load failed', async () => {
  const { until } = await start(() => Promise.reject(new OrielError('invalid', 'Broken.', { code: 'bad_model' })))
  expect(await until('failed')).toMatchObject({ id: null, error: { kind: 'invalid', code: 'bad_model' } })
})

it('answers a request with its events in order', async () => {
  const { engine, until, eventsOf } = await start()
  await until('ready')
  engine.receive({ type: 'generate', id: 1, request: request([text('abc')]) })
  await expect.poll(() => eventsOf(1).at(-1)?.type).toBe('done')
  const events = eventsOf(1)
  const said = events.map((event) => (event.type === 'text' ? event.text : '')).join('')
  expect([events[0]?.type, said]).toEqual(['prompt', answerAlone([97, 98, 99], 0, 5)])
})

it('requests the pixels of an image, and reports when all of its tiles are encoded', async () => {
  const { engine, sent, until, eventsOf } = await start()
  await until('ready')
  engine.receive({ type: 'generate', id: 1, request: request([image, text('?')]) })
  expect(await until('want')).toEqual({ type: 'want', id: 1, hash: '1' })
  // The fake encoder keeps no image, so each of the two tiles needs the pixels.
  const wants = () => sent.filter(({ type }) => type === 'want').length
  for (const tile of [1, 2]) {
    await expect.poll(wants).toBe(tile)
    expect(sent.some(({ type }) => type === 'encoded')).toBe(false)
    engine.receive({ type: 'payload', id: 1, hash: '1', bytes: new Uint8Array(9) })
  }
  await expect.poll(() => eventsOf(1).at(-1)?.type).toBe('done')
  expect(sent).toContainEqual({ type: 'encoded', id: 1, hash: '1' })
})

it('counts what has come as garbage, once for all requests that let it go, and nothing for what is cached', async () => {
  const cache = new Map<string, Float32Array>()
  const slow = slowEncoder(2)
  const encoder: AttachmentEncoder = {
    ...slow,
    cached: (key) => cache.get(key),
    async encode(span, bytes) {
      const part = await slow.encode(span, bytes)
      if (part.embeddings !== null) cache.set(span.key, part.embeddings)
      return part
    },
  }
  const { engine, sent, until, eventsOf } = await start(async () => modelWith(encoder))
  await until('ready')
  counted.mockClear()
  for (const id of [1, 2]) engine.receive({ type: 'generate', id, request: request([image, text('?')]) })
  for (const tile of [1, 2]) {
    await expect.poll(() => sent.filter(({ type }) => type === 'want').length).toBe(tile)
    engine.receive({ type: 'payload', id: 1, hash: '1', bytes: new Uint8Array(9) })
  }
  for (const id of [1, 2]) await expect.poll(() => eventsOf(id).at(-1)?.type).toBe('done')
  engine.receive({ type: 'generate', id: 3, request: request([image, text('?')]) })
  await expect.poll(() => eventsOf(3).at(-1)?.type).toBe('done')
  await until('encoded', 3)
  expect(counted.mock.calls).toEqual([[18]])
})

it('waits for pixels that have to be decoded, also if the news that they are comes at the same time', async () => {
  const { engine, sent, until, eventsOf } = await start()
  await until('ready')
  engine.receive({ type: 'generate', id: 1, request: request([image, text('?')]) })
  const wants = () => sent.filter(({ type }) => type === 'want').length
  await until('want')
  engine.receive({ type: 'payload', id: 1, hash: '1', bytes: null })
  engine.receive({ type: 'decoded', id: 1, hash: '1' })
  for (const tile of [2, 3]) {
    await expect.poll(wants).toBe(tile)
    engine.receive({ type: 'payload', id: 1, hash: '1', bytes: new Uint8Array(9) })
  }
  await expect.poll(() => eventsOf(1).at(-1)?.type).toBe('done')
})

it('asks for the pixels of another request, if the one that was asked has all embeddings before they come', async () => {
  const named = {
    ...architecture,
    plan: (...[size, detail, ...others]: Parameters<typeof architecture.plan>) => ({
      ...architecture.plan(size, detail, ...others),
      name: detail,
    }),
  }
  const { engine, sent, until, eventsOf } = await start(async () => ({
    ...modelWith(slowEncoder(2)),
    architectures: { images: named, audio: null },
  }))
  await until('ready')
  engine.receive({ type: 'generate', id: 1, request: request([{ ...image, detail: 'low' }, text('?')]) })
  engine.receive({ type: 'generate', id: 2, request: request([{ ...image, detail: 'high' }, text('?')]) })
  const wanted = () => sent.flatMap((message) => (message.type === 'want' ? message.id : []))
  await until('want')
  engine.receive({ type: 'payload', id: 1, hash: '1', bytes: null })
  engine.receive({ type: 'decoded', id: 1, hash: '1' })
  for (const so of [
    [1, 1],
    [1, 1, 1],
  ]) {
    await expect.poll(wanted).toEqual(so)
    engine.receive({ type: 'payload', id: 1, hash: '1', bytes: new Uint8Array(9) })
  }
  // The first one was decoded for both. Its pixels are freed on the way, and its answer goes on for long.
  engine.receive({ type: 'pause', id: 1, paused: true })
  for (const so of [
    [1, 1, 1, 1, 2],
    [1, 1, 1, 1, 2, 2],
  ]) {
    await expect.poll(wanted).toEqual(so)
    engine.receive({ type: 'payload', id: 2, hash: '1', bytes: new Uint8Array(9) })
  }
  await expect.poll(() => eventsOf(2).at(-1)?.type).toBe('done')
})

it('answers texts while the image encoder is being opened, and then images', async () => {
  const { engine, sent, eventsOf, until, opening, encoder } = await startOpening()
  expect(eventsOf(1).map(({ type }) => type)).toEqual(['prompt'])
  expect(sent.some(({ type }) => type === 'opened')).toBe(false)
  opening.resolve(encoder)
  expect(await until('opened')).toEqual({ type: 'opened', runtimes: { vision: 'onnx' } })
  await expect.poll(() => sent.filter(({ type }) => type === 'want').length).toBe(2)
  engine.receive({ type: 'payload', id: 1, hash: '1', bytes: new Uint8Array(9) })
  await expect.poll(() => eventsOf(1).at(-1)?.type).toBe('done')
})

it('fails requests with images if the encoder cannot be opened, and answers texts', async () => {
  const { engine, eventsOf, until, opening } = await startOpening()
  opening.reject(new OrielError('invalid', 'The vision file is damaged.', { code: 'bad_model' }))
  expect(await until('unopened')).toMatchObject({ error: { code: 'bad_model' } })
  const error = { kind: 'internal', code: 'bad_model', message: expect.stringContaining('The vision file is damaged.') }
  expect(await until('failed', 1)).toMatchObject({ error })
  engine.receive({ type: 'generate', id: 3, request: request([text('abc')]) })
  await expect.poll(() => eventsOf(3).at(-1)?.type).toBe('done')
})

it('fails a cancelled request and forgets its pixels', async () => {
  const { engine, until } = await start()
  await until('ready')
  engine.receive({ type: 'generate', id: 1, request: request([image]) })
  await until('want')
  engine.receive({ type: 'cancel', id: 1 })
  expect(await until('failed', 1)).toMatchObject({ error: { kind: 'cancelled' } })
  engine.receive({ type: 'state', id: 2 })
  expect(await until('answer', 2)).toMatchObject({ answer: { running: 0, waiting: 0 } })
})

it('counts a prompt, and refuses one that it cannot count', async () => {
  const { engine, until } = await start()
  await until('ready')
  engine.receive({ type: 'count', id: 1, client: 'one', prompt: [text('ab'), image] })
  expect(await until('answer', 1)).toMatchObject({ answer: { promptTokens: 8, attachmentTokens: [6] } })
  expect(await until('answer', 1)).toMatchObject({ answer: { tokens: { places: { length: 8 } } } })
  engine.receive({ type: 'measure', id: 3, client: 'one', prompts: [[text('ab'), image], [text('ab')], []] })
  expect(await until('answer', 3)).toMatchObject({ answer: [8, 2, 0] })
  engine.receive({ type: 'count', id: 2, client: 'one', prompt: [text('a'.repeat(5000))] })
  expect(await until('failed', 2)).toMatchObject({ error: { param: 'prompt', code: 'context_length_exceeded' } })
})

it('answers the question of one client while another has asked about thousands of prompts', async () => {
  const { engine, sent, until } = await start()
  await until('ready')
  const prompts = Array.from({ length: 100_000 }, () => [text('ab')])
  engine.receive({ type: 'measure', id: 1, client: 'many', prompts })
  engine.receive({ type: 'count', id: 2, client: 'one', prompt: [text('ab')] })
  expect(await until('answer', 1)).toMatchObject({ answer: { length: prompts.length } })
  expect(sent.flatMap((message) => (message.type === 'answer' ? message.id : []))).toEqual([2, 1])
})
