import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { orAborted } from '../../src/abort.ts'
import { OrielError } from '../../src/errors.ts'
import { Asking } from '../../src/upstreams/asking.ts'
import { AttemptFailed } from '../../src/upstreams/attempt-failed.ts'
import type { Call, Received } from '../../src/upstreams/target.ts'
import { settingsFor, silent } from './targets.ts'

let asking: Asking | undefined
beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  asking?.close()
  vi.useRealTimers()
})

/** An upstream whose list of models a test changes; null: it is down. */
function listing(first: string[] | null) {
  const upstream = { ids: first, asked: 0, changes: 0 }
  const send = async (): Promise<Received> => {
    upstream.asked++
    if (upstream.ids === null)
      throw new AttemptFailed(new OrielError('engine_failed', 'It is down.'), { elsewhere: true, isFault: true })
    const bytes = Buffer.from(JSON.stringify({ data: upstream.ids.map((id) => ({ id })) }))
    const body = async function* () {
      yield bytes
    }
    return { status: 200, headers: {}, body: Object.assign(body(), { cancel: () => {} }) }
  }
  const settings = settingsFor('http://there.example')
  const connection = { send, close: async () => {} }
  asking = new Asking({ settings, connection }, undefined, () => upstream.changes++, silent)
  return { upstream, asking, ids: () => asking?.found?.map(({ id }) => id) }
}

/** An Ollama that takes some time to show a model, whose models a test changes. */
function showing(models: { name: string; digest: string }[], showMs: number) {
  const asked: string[] = []
  const send = async ({ path, body }: Call): Promise<Received> => {
    let answer: object = { models }
    if (path === '/api/show') {
      const { model } = JSON.parse(String(body)) as { model: string }
      asked.push(model)
      await new Promise((resolve) => setTimeout(resolve, showMs))
      answer = { capabilities: ['completion', 'vision'] }
    }
    const bytes = async function* () {
      yield Buffer.from(JSON.stringify(answer))
    }
    return { status: 200, headers: {}, body: Object.assign(bytes(), { cancel: () => {} }) }
  }
  /** As a connection does. */
  const until = async (call: Call, signal: AbortSignal): Promise<Received> => orAborted(send(call), signal)
  const settings = settingsFor('http://there.example', { api: 'ollama' })
  asking = new Asking({ settings, connection: { send: until, close: async () => {} } }, undefined, () => {}, silent)
  return { asked, asking }
}

describe('an Ollama of many models', () => {
  const models = Array.from({ length: 80 }, (_, at) => ({ name: `model ${at}`, digest: 'a' }))

  it('is asked about several at the same time, and once about each until it changes', async () => {
    const here = structuredClone(models)
    const { asked, asking } = showing(here, 500)
    await vi.advanceTimersByTimeAsync(5000)
    expect(asking.found?.map(({ id, inputs }) => [id, inputs])).toEqual(models.map(({ name }) => [name, ['image']]))
    expect(asked.toSorted()).toEqual(models.map(({ name }) => name).toSorted())
    here.splice(0, 1, { name: 'model 0', digest: 'b' })
    await vi.advanceTimersByTimeAsync(31_000)
    expect(asked.slice(models.length)).toEqual(['model 0'])
    expect(asking.found?.length).toBe(80)
  })

  it('that shows few of them in the time is asked about the others the next time', async () => {
    // The clock of the test is not that of `AbortSignal.timeout`.
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => {
      const over = new AbortController()
      setTimeout(() => over.abort(), ms)
      return over.signal
    })
    const { asked, asking } = showing(models, 3000)
    await vi.advanceTimersByTimeAsync(10_000)
    expect([asked.length, asking.found]).toEqual([4 * 8, undefined])
    await vi.advanceTimersByTimeAsync(11_000)
    // Those that it was about to show are asked again.
    expect([asked.length, asking.found]).toEqual([8 * 8, undefined])
    await vi.advanceTimersByTimeAsync(30_000)
    expect([asked.length, asking.found?.length]).toEqual([80 + 3 * 8, 80])
    timeout.mockRestore()
  })
})

describe('an upstream', () => {
  it('is asked for its models at once and every 30 seconds, and what vanished is gone', async () => {
    const { upstream, asking, ids } = listing(['a', 'b'])
    await asking.asked
    expect(ids()).toEqual(['a', 'b'])
    upstream.ids = ['b', 'c']
    await vi.advanceTimersByTimeAsync(29_000)
    expect(ids()).toEqual(['a', 'b'])
    await vi.advanceTimersByTimeAsync(2000)
    expect(ids()).toEqual(['b', 'c'])
    await vi.advanceTimersByTimeAsync(120_000)
    expect(upstream).toMatchObject({ asked: 6, changes: 2 })
  })

  it('keeps its models while it is down, and is asked again soon, then less often', async () => {
    const { upstream, asking, ids } = listing(['a'])
    await asking.asked
    upstream.ids = null
    await vi.advanceTimersByTimeAsync(30_000)
    expect([upstream.asked, ids()]).toEqual([2, ['a']])
    await vi.advanceTimersByTimeAsync(1000 + 2000 + 4000)
    expect([upstream.asked, ids()]).toEqual([5, ['a']])
    upstream.ids = ['b']
    await vi.advanceTimersByTimeAsync(8000)
    expect(ids()).toEqual(['b'])
  })

  it('that is down at the start is known when it comes', async () => {
    const { upstream, asking, ids } = listing(null)
    await asking.asked
    expect(ids()).toBeUndefined()
    upstream.ids = ['a']
    await vi.advanceTimersByTimeAsync(1000)
    expect(ids()).toEqual(['a'])
  })

  it('is not asked any more when it is closed', async () => {
    const { upstream, asking } = listing(['a'])
    await asking.asked
    asking.close()
    await vi.advanceTimersByTimeAsync(120_000)
    expect(upstream.asked).toBe(1)
  })
})
