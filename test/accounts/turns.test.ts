import { expect, it } from 'vitest'
import { Turns } from '../../src/accounts/turns.ts'

it('work of one client is done one after the other, and that of others between', async () => {
  const turns = new Turns({ running: 2, runningOfOne: 1, waitingOfOne: 10 }, 'Too much.')
  const running = new Set<string>()
  const ended: string[] = []
  const work = (client: string, number: number): Promise<void> =>
    turns.take(client, async () => {
      expect(running.has(client)).toBe(false)
      running.add(client)
      expect(running.size).toBeLessThanOrEqual(2)
      await new Promise(setImmediate)
      running.delete(client)
      ended.push(`${client}${number}`)
      if (number === 0) throw new Error('cut off')
    })
  const all = ['a', 'b', 'c'].flatMap((client) => [0, 1, 2, 3].map((number) => work(client, number)))
  const results = await Promise.allSettled(all)
  expect(results.map(({ status }) => status === 'rejected')).toEqual(
    [...'100010001000'].map((failed) => failed === '1'),
  )
  // Who asks last waits for two turns of each of the others, and not for all.
  expect(ended.slice(0, 6)).toContain('c0')
  for (const client of ['a', 'b', 'c'])
    expect(ended.filter((one) => one.startsWith(client))).toEqual([0, 1, 2, 3].map((number) => `${client}${number}`))
})

it('a client of which too much waits is told to come back, and others are not', async () => {
  const turns = new Turns({ running: 4, runningOfOne: 4, waitingOfOne: 3 }, 'Too much.')
  const ended: string[] = []
  const work = (client: string): Promise<void> =>
    turns.take(client, async () => {
      await new Promise(setImmediate)
      ended.push(client)
    })
  const flood = Promise.allSettled(Array.from({ length: 50 }, () => work('a')))
  await work('b')
  // Four of the flood were there before; the turn after them was not for its fifth.
  expect(ended.filter((client) => client === 'a').length).toBeLessThanOrEqual(7)
  const results = await flood
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(7)
  expect(results.at(-1)).toMatchObject({ reason: { kind: 'rate_limited', message: 'Too much.', retryAfter: 1 } })
  await work('a')
})
