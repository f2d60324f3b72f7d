import { expect, it } from 'vitest'
import { ThreadCount } from '../../../src/tuning/trainer/threads.ts'

/** Runs for some seconds. @param timeOf ms of a run with so many threads */
function countsOf(threads: ThreadCount, seconds: number, timeOf: (count: number) => number, from = 0): number[] {
  const counts: number[] = []
  for (let now = from; now < from + seconds * 1000; ) {
    const { count } = threads
    counts.push(count)
    now += timeOf(count)
    threads.took(timeOf(count), 1, now)
  }
  return counts
}

it('trains with all threads where they are faster', () => {
  const counts = countsOf(new ThreadCount(8), 60, (count) => 800 / count)
  expect(counts.filter((count) => count === 8).length / counts.length).toBeGreaterThan(0.9)
})

it('trains with one thread while others have the cores, and with all when they are free again', () => {
  const threads = new ThreadCount(2)
  const busy = countsOf(threads, 60, (count) => (count === 1 ? 200 : 3000))
  expect(busy.filter((count) => count === 1).length / busy.length).toBeGreaterThan(0.9)
  const free = countsOf(threads, 60, (count) => 200 / count, 60_000)
  expect(free.slice(-100).filter((count) => count === 2).length).toBeGreaterThan(90)
})

it('tries seldom what takes long', () => {
  const counts = countsOf(new ThreadCount(2), 3600, (count) => (count === 1 ? 5000 : 60_000))
  expect(counts.filter((count) => count === 2).length).toBeLessThan(8)
})
