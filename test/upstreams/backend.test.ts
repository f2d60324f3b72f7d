import { expect, test, vi } from 'vitest'
import { type Ask, Collected, type PromptUsage } from '../../src/deployments/index.ts'
import { OrielError } from '../../src/errors.ts'
import { loadConfig } from '../../src/load-config.ts'
import { createMedia } from '../../src/media/index.ts'
import { AttemptFailed } from '../../src/upstreams/attempt-failed.ts'
import { upstreamBackend } from '../../src/upstreams/backend.ts'
import { createPool } from '../../src/upstreams/pool.ts'
import type { Call, Received } from '../../src/upstreams/target.ts'
import { patient } from '../support/wait.ts'
import { settingsFor, silent } from './targets.ts'
import { type Api, about, askOf } from './wire/asks.ts'
import { openaiStream } from './wire/streams.ts'

const media = createMedia(loadConfig({}, {}).media)

const info = {
  ...{ id: 'a', aliases: [], title: 'A', description: '', created: 0, contextTokens: 0, inputs: [] },
  ...{ tools: true, thoughts: false, boxes: false },
}

/** A target whose upstream sends these bytes, and then ends or breaks off. */
function target(api: Api, stream: string, breaksOff = false) {
  const calls: Call[] = []
  let cancelled = 0
  const bytes = async function* () {
    yield Buffer.from(stream)
    if (breaksOff)
      throw new AttemptFailed(new OrielError('engine_failed', 'It broke off.', { code: 'upstream_broke_off' }), {
        ...{ elsewhere: false, isFault: true },
      })
  }
  const send = async (call: Call): Promise<Received> => {
    calls.push(call)
    return { status: 200, headers: {}, body: Object.assign(bytes(), { cancel: () => void cancelled++ }) }
  }
  const settings = settingsFor(`http://${api}.example`, { api, name: `${api}-there` })
  const upstream = { settings, connection: { send, close: async () => {}, retire: async () => {} } }
  return { upstream, model: 'a', weight: 1, calls, cancelled: () => cancelled }
}

function backendOf(...targets: ReturnType<typeof target>[]) {
  const pool = createPool({ probe: async () => {}, log: silent })
  return { pool, backend: upstreamBackend({ info, targets }, { pool, media }) }
}

async function answer(asked: Ask, ...targets: ReturnType<typeof target>[]) {
  const { backend } = backendOf(...targets)
  const { events, upstream } = await backend.answer(asked, new AbortController().signal)
  const collected = new Collected(1)
  for await (const event of events) collected.take(event)
  return { text: collected.choices[0]?.text, upstream }
}

test('a request goes to a target whose API has words for all of it', async () => {
  const [openai, vllm] = [target('openai', openaiStream), target('vllm', openaiStream)]
  for (let at = 0; at < 5; at++) {
    const settings = { sampling: { topK: 5 }, affinity: `chat ${at}` }
    expect(await answer(askOf({ settings }), openai, vllm)).toMatchObject({ upstream: 'vllm-there' })
  }
  expect(openai.calls).toEqual([])
})

test('a request that no API has words for is refused before anybody is asked', async () => {
  const targets = [target('openai', openaiStream), target('anthropic', openaiStream)]
  const asked = askOf({ settings: { sampling: { minP: 0.5 } } })
  await expect(answer(asked, ...targets)).rejects.toMatchObject({ kind: 'invalid', param: 'minP' })
  expect(targets.flatMap(({ calls }) => calls)).toEqual([])
})

test('attachments that one target cannot take go to another one', async () => {
  const base64 = Buffer.alloc(11e6)
  const files = async (sources: readonly unknown[]) =>
    sources.map(() => ({
      ...{ kind: 'video' as const, files: [{ format: 'mp4', type: 'video/mp4', base64 }] },
      ...{ asFrames: false, fetchMs: 0, decodeMs: 0 },
    }))
  const targets = [target('fireworks', openaiStream), target('vllm', openaiStream)]
  const pool = createPool({ probe: async () => {}, log: silent })
  const backend = upstreamBackend({ info, targets }, { pool, media: { ...media, check: () => {}, files } })
  for (let at = 0; at < 5; at++) {
    const asked = { ...askOf(about('video')), settings: { ...askOf().settings, affinity: `chat ${at}` } }
    expect(await backend.answer(asked, new AbortController().signal)).toMatchObject({ upstream: 'vllm-there' })
  }
})

test('a prompt is counted by a target that can count', async () => {
  const body = async function* () {
    yield Buffer.from('{"count": 5}')
  }
  const [none, counts] = [target('openai', openaiStream), target('vllm', openaiStream)]
  const send = async () => ({ status: 200, headers: {}, body: Object.assign(body(), { cancel: () => {} }) })
  const can = { ...counts, upstream: { ...counts.upstream, connection: { ...counts.upstream.connection, send } } }
  const { backend } = backendOf(none, can)
  for (let at = 0; at < 5; at++) {
    const asked = askOf({ settings: { affinity: `chat ${at}` } })
    expect(await backend.count(asked, new AbortController().signal)).toMatchObject({ promptTokens: 5 })
  }
  await expect(backendOf(none).backend.count(askOf(), new AbortController().signal)).rejects.toMatchObject({
    ...{ kind: 'not_implemented', code: 'count_not_supported' },
  })
})

test('another target answers if the first one breaks off before its first word', async () => {
  const nothing = 'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
  const targets = [target('vllm', nothing, true), target('sglang', openaiStream)]
  for (let at = 0; at < 4; at++)
    expect(await answer(askOf({ settings: { affinity: `chat ${at}` } }), ...targets)).toEqual({
      ...{ text: 'Grüße, 世界 🌍!', upstream: 'sglang-there' },
    })
})

test('a target is busy until its answer is read, or left', async () => {
  const only = target('vllm', openaiStream)
  const { pool, backend } = backendOf(only)
  const { events } = await backend.answer(askOf(), new AbortController().signal)
  expect(pool.state(only.upstream).inFlight).toBe(1)
  for await (const _ of events) break
  expect(only.cancelled()).toBe(1)
  const isFree = () => expect(pool.state(only.upstream)).toMatchObject({ inFlight: 0, failures: 0 })
  await vi.waitFor(isFree, patient)
  const leaving = new AbortController()
  await backend.answer(askOf(), leaving.signal)
  leaving.abort()
  await vi.waitFor(isFree, patient)
})

test('a client that leaves before the end proves nothing: a target whose answers break off is left out all the same', async () => {
  const only = target('vllm', openaiStream.slice(0, openaiStream.indexOf('世界')), true)
  const { pool, backend } = backendOf(only)
  const isFree = () => expect(pool.state(only.upstream).inFlight).toBe(0)
  for (let time = 0; time < 5; time++) {
    const leaving = new AbortController()
    await backend.answer(askOf(), leaving.signal)
    leaving.abort()
    await vi.waitFor(isFree, patient)
    const { events } = await backend.answer(askOf(), new AbortController().signal)
    for await (const _ of events) break
    await vi.waitFor(isFree, patient)
    const { events: broken } = await backend.answer(askOf(), new AbortController().signal)
    const read = async () => {
      for await (const _ of broken);
    }
    await expect(read()).rejects.toMatchObject({ code: 'upstream_broke_off' })
    await vi.waitFor(isFree, patient)
  }
  expect(pool.state(only.upstream)).toMatchObject({ failures: 5, isUp: false })
})

test('an answer that breaks off after its first word is a fault of the target, and an error of ours', async () => {
  const only = target('vllm', openaiStream.slice(0, openaiStream.indexOf('世界')), true)
  const { pool, backend } = backendOf(only)
  const { events } = await backend.answer(askOf(), new AbortController().signal)
  const read = async () => {
    for await (const _ of events);
  }
  await expect(read()).rejects.toMatchObject({ kind: 'engine_failed', code: 'upstream_broke_off' })
  await vi.waitFor(() => expect(pool.state(only.upstream)).toMatchObject({ inFlight: 0, failures: 1 }), patient)
})

test('what a prompt takes is told when it is sent: a client that leaves before the answer has used it', async () => {
  const { backend } = backendOf(target('openai', openaiStream))
  const told: (number | undefined)[] = []
  const onSent = (usage: PromptUsage | null) => told.push(usage?.promptTokens)
  await backend.answer(askOf(), new AbortController().signal, undefined, onSent)
  expect(told).toEqual([2])
  // Nobody has used what no server took.
  const { backend: none } = backendOf(target('openai', '', true))
  await expect(none.answer(askOf(), new AbortController().signal, undefined, onSent)).rejects.toThrow()
  expect(told.at(-1)).toBe(undefined)
})

test('the usage of a prompt is estimated until the upstream tells it', async () => {
  const { backend } = backendOf(target('openai', openaiStream))
  const { usage, events } = await backend.answer(askOf(), new AbortController().signal)
  expect(usage.promptTokens).toBe(2)
  for await (const _ of events);
  expect(usage).toMatchObject({ promptTokens: 20, cachedTokens: 16 })
})
