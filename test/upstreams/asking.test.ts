import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { Asking } from '../../src/upstreams/asking.ts'
import { AttemptFailed } from '../../src/upstreams/attempt-failed.ts'
import type { Received } from '../../src/upstreams/target.ts'
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
