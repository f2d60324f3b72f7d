import { expect, it } from 'vitest'
import { Reports } from '../../src/accounts/reports.ts'

it('reports of one reader are read one after the other, and those of others between them', async () => {
  const reports = new Reports()
  const running = new Set<string>()
  const ended: string[] = []
  const read = (reader: string, number: number): Promise<void> =>
    reports.read(reader, async () => {
      expect(running.has(reader)).toBe(false)
      running.add(reader)
      expect(running.size).toBeLessThanOrEqual(2)
      await new Promise(setImmediate)
      running.delete(reader)
      ended.push(`${reader}${number}`)
      if (number === 0) throw new Error('cut off')
    })
  const all = ['a', 'b', 'c'].flatMap((reader) => [0, 1, 2, 3].map((number) => read(reader, number)))
  const results = await Promise.allSettled(all)
  expect(results.map(({ status }) => status === 'rejected')).toEqual(
    [...'100010001000'].map((failed) => failed === '1'),
  )
  // Who asks last waits for two reports of each of the others, and not for all.
  expect(ended.slice(0, 6)).toContain('c0')
  for (const reader of ['a', 'b', 'c'])
    expect(ended.filter((one) => one.startsWith(reader))).toEqual([0, 1, 2, 3].map((number) => `${reader}${number}`))
})
