import { describe, expect, it } from 'vitest'
import { Semaphore } from '../../src/media/semaphore.ts'

const forever = new AbortController().signal

/** Acquires in the given order and notes the names in the order in which they are granted. */
function acquireAll(semaphore: Semaphore, wanted: readonly [name: string, units: number, signal?: AbortSignal][]) {
  const granted: string[] = []
  const releases = wanted.map(async ([name, units, signal = forever]) => {
    const release = await semaphore.acquire(units, signal)
    granted.push(name)
    return release
  })
  return { granted, releases }
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('a semaphore', () => {
  it('grants in the order of arrival, also when a later request would fit', async () => {
    const semaphore = new Semaphore(10)
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
    const semaphore = new Semaphore(10)
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
    const semaphore = new Semaphore(10)
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
    await expect(semaphore.acquire(1, AbortSignal.abort())).rejects.toMatchObject({ kind: 'cancelled' })
  })
})
