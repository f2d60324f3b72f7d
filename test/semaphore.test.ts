import { describe, expect, it, vi } from 'vitest'
import { OrielError } from '../src/errors.ts'
import { Costs } from '../src/fairness.ts'
import { Semaphore } from '../src/semaphore.ts'

const forever = new AbortController().signal

/** Acquires in the given order and notes the names in the order in which they are granted. */
function acquireAll(
  semaphore: Semaphore,
  wanted: readonly [name: string, units: number, signal?: AbortSignal, client?: string][],
) {
  const granted: string[] = []
  const releases = wanted.map(async ([name, units, signal = forever, client = 'one']) => {
    const release = await semaphore.acquire(client, units, signal)
    granted.push(name)
    return release
  })
  return { granted, releases }
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('a semaphore', () => {
  it('grants in the order of arrival, also when a later request would fit', async () => {
    const semaphore = new Semaphore({ capacity: 10 }, new Costs())
    const { granted, releases } = acquireAll(semaphore, [
      ['a', 6],
      ['b', 6],
      ['c', 2],
    ])
    await settle()
    expect(granted).toEqual(['a'])
    expect(semaphore.waiting).toBe(2)
    const release = await releases[0]
    release?.()
    await settle()
    expect(granted).toEqual(['a', 'b', 'c'])
    expect(semaphore.waiting).toBe(0)
  })

  it('grants all units to a request for more than the capacity', async () => {
    const semaphore = new Semaphore({ capacity: 10 }, new Costs())
    const { granted, releases } = acquireAll(semaphore, [
      ['a', 1],
      ['b', 99],
      ['c', 1],
    ])
    await settle()
    expect(granted).toEqual(['a'])
    for (const [index, expected] of [
      ['a', 'b'],
      ['a', 'b', 'c'],
    ].entries()) {
      const release = await releases[index]
      release?.()
      await settle()
      expect(granted).toEqual(expected)
    }
  })

  it('removes a cancelled request from the queue and grants the next', async () => {
    const semaphore = new Semaphore({ capacity: 10 }, new Costs())
    const stop = new AbortController()
    const { granted, releases } = acquireAll(semaphore, [
      ['a', 6],
      ['b', 6, stop.signal],
      ['c', 4],
    ])
    await settle()
    expect(granted).toEqual(['a'])
    stop.abort()
    await expect(releases[1]).rejects.toMatchObject({ kind: 'cancelled' })
    await settle()
    expect(granted).toEqual(['a', 'c'])
    await expect(semaphore.acquire('one', 1, AbortSignal.abort())).rejects.toMatchObject({ kind: 'cancelled' })
  })

  it('grants to the client that has cost least, and each client its requests in order', async () => {
    const costs = new Costs()
    const semaphore = new Semaphore({ capacity: 1 }, costs)
    costs.charge('costly', 1000)
    const { granted, releases } = acquireAll(semaphore, [
      ['first', 1],
      ['c1', 1, forever, 'costly'],
      ['c2', 1, forever, 'costly'],
      ['a1', 1, forever, 'cheap'],
      ['a2', 1, forever, 'cheap'],
    ])
    for (const name of ['first', 'a1', 'a2', 'c1', 'c2']) {
      await settle()
      expect(granted.at(-1)).toBe(name)
      const at = ['first', 'c1', 'c2', 'a1', 'a2'].indexOf(name)
      ;(await releases[at])?.()
    }
  })

  it('keeps the rest for others when one client holds its share', async () => {
    const semaphore = new Semaphore({ capacity: 10, mostOfOne: 5 }, new Costs())
    const { granted } = acquireAll(semaphore, [
      ['a', 5],
      ['b', 1],
      ['c', 5, forever, 'other'],
    ])
    await settle()
    expect(granted).toEqual(['a', 'c'])
    expect(semaphore.tryAcquire('third', 1)).toBeUndefined()
  })

  it('gives spare units to impatient clients that hold none', async () => {
    const semaphore = new Semaphore({ capacity: 1, spare: { units: 1, patienceMs: 1 } }, new Costs())
    const { granted } = acquireAll(semaphore, [
      ['a', 1],
      ['b', 1],
      ['c', 1, forever, 'other'],
      ['d', 1, forever, 'third'],
    ])
    await vi.waitFor(() => expect(granted).toEqual(['a', 'c']))
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(granted).toEqual(['a', 'c'])
  })

  it('refuses the newest request of the client that fills the queue', async () => {
    const full = () => new OrielError('overloaded', 'full')
    const semaphore = new Semaphore({ capacity: 1, waiting: { most: 3, full } }, new Costs())
    const { granted, releases } = acquireAll(semaphore, [
      ['a', 1],
      ['b', 1],
      ['c', 1],
      ['d', 1],
      ['e', 1],
      ['other', 1, forever, 'other'],
    ])
    const ends = Promise.allSettled(releases.slice(3, 5))
    await settle()
    expect(granted).toEqual(['a'])
    expect(await ends).toMatchObject([{ reason: { message: 'full' } }, { reason: { message: 'full' } }])
    expect(semaphore.waiting).toBe(3)
  })
})
