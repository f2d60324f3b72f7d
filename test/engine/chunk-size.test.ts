import { describe, expect, it } from 'vitest'
import { ChunkSize } from '../../src/engine/chunk-size.ts'

/** Duration of a step on a fictional machine, in ms: 6, plus 1 for each answer and 0.5 for each row of prefill. */
const takes = (answering: number, prefilled: number): number => 6 + answering + prefilled / 2

function learned(...steps: [answering: number, prefilled: number][]): ChunkSize {
  const size = new ChunkSize(256)
  for (const [answering, prefilled] of steps) size.learn(answering, prefilled, takes(answering, prefilled), false)
  return size
}

describe('the rows of prefill in a step', () => {
  it('are the maximum while no answer runs', () => {
    expect(learned([1, 0], [1, 32]).next(0, 3)).toBe(256)
  })

  it('make a step take about twice as long as one without prefill', () => {
    const size = learned([1, 0], [1, 7], [1, 15], [1, 31])
    const rows = size.next(1, 1)
    expect(takes(1, rows) / takes(1, 0)).toBeGreaterThan(1.7)
    expect(takes(1, rows) / takes(1, 0)).toBeLessThan(2.1)
  })

  it('depend on the duration of a step with the same number of answers', () => {
    const size = learned([1, 7], [1, 15], [1, 31], [8, 0], [8, 31])
    const before = size.next(8, 1)
    for (let step = 0; step < 20; step++) size.learn(1, 0, takes(1, 0), false)
    expect(size.next(1, 1)).toBeLessThan(before)
    expect(size.next(8, 1)).toBe(before)
  })

  it('do not grow after one delayed step, nor while the encoder uses cores', () => {
    const size = learned([1, 0], [1, 0], [1, 0], [1, 7], [1, 15], [1, 31])
    const before = size.next(1, 1)
    size.learn(1, 0, 80, false)
    for (let step = 0; step < 20; step++) size.learn(1, 0, 20, true)
    expect(size.next(1, 1)).toBeLessThanOrEqual(before)
  })

  it('have a minimum, and grow when many prompts wait for one answer', () => {
    const size = learned([1, 0], [1, 7], [1, 15], [1, 31])
    for (let step = 0; step < 20; step++) size.learn(1, 4, 500, false)
    expect(size.next(1, 1)).toBe(4)
    expect(learned([1, 0], [1, 15], [1, 63]).next(1, 4)).toBeGreaterThan(learned([1, 0], [1, 15], [1, 63]).next(1, 1))
  })
})
