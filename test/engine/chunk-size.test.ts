import { describe, expect, it } from 'vitest'
import { ChunkSize } from '../../src/engine/chunk-size.ts'

/** Duration of a step on a fictional machine, in ms: 6, plus 1 for each answer and 0.5 for each row of prefill. */
const takes = (answering: number, prefilled: number): number => 6 + answering + prefilled / 2

const rowsOf = (size: ChunkSize, answering: number, promptsEach: number): number =>
  size.next(answering, promptsEach, false).rows

function learned(...steps: [answering: number, prefilled: number][]): ChunkSize {
  const size = new ChunkSize(256)
  for (const [answering, prefilled] of steps) size.learn(answering, prefilled, takes(answering, prefilled), false)
  return size
}

describe('the rows of prefill in a step', () => {
  it('are the maximum while no answer runs', () => {
    expect(rowsOf(learned([1, 0], [1, 32]), 0, 3)).toBe(256)
  })

  it('make a step take about twice as long as one without prefill', () => {
    const size = learned([1, 0], [1, 7], [1, 15], [1, 31])
    const rows = rowsOf(size, 1, 1)
    expect(takes(1, rows) / takes(1, 0)).toBeGreaterThan(1.7)
    expect(takes(1, rows) / takes(1, 0)).toBeLessThan(2.1)
  })

  it('depend on the duration of a step with the same number of answers', () => {
    const size = learned([1, 7], [1, 15], [1, 31], [8, 0], [8, 31])
    const before = rowsOf(size, 8, 1)
    for (let step = 0; step < 20; step++) size.learn(1, 0, takes(1, 0), false)
    expect(rowsOf(size, 1, 1)).toBeLessThan(before)
    expect(rowsOf(size, 8, 1)).toBe(before)
  })

  it('do not grow after one delayed step, nor while the encoder uses cores', () => {
    const size = learned([1, 0], [1, 0], [1, 0], [1, 7], [1, 15], [1, 31])
    const before = rowsOf(size, 1, 1)
    size.learn(1, 0, 80, false)
    for (let step = 0; step < 20; step++) size.learn(1, 0, 20, true)
    expect(rowsOf(size, 1, 1)).toBeLessThanOrEqual(before)
  })

  it('grow when many prompts wait for one answer', () => {
    const size = learned([1, 0], [1, 15], [1, 63])
    expect(rowsOf(size, 1, 4)).toBeGreaterThan(rowsOf(size, 1, 1))
  })

  it('are two where already these take more than twice as long, and one apart while the encoder uses cores', () => {
    const size = learned([1, 0], [1, 7], [1, 15], [1, 31])
    expect(size.next(1, 1, true)).toEqual(size.next(1, 1, false))
    for (let step = 0; step < 20; step++) size.learn(1, 2, 500, false)
    expect(size.next(1, 1, false)).toEqual({ rows: 2, apart: false })
    expect(size.next(1, 1, true)).toEqual({ rows: 1, apart: true })
    // For so many prompts the answer waits longer.
    expect(size.next(1, 80, true).apart).toBe(false)
  })
})
