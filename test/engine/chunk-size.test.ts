import { describe, expect, it } from 'vitest'
import { ChunkSize } from '../../src/engine/chunk-size.ts'

/** What a step takes on a made-up machine, in ms: 6 of its own, 1 for each answer, and half of one for each row of prefill. */
const takes = (answering: number, prefilled: number): number => 6 + answering + prefilled / 2

function learned(...steps: [answering: number, prefilled: number][]): ChunkSize {
  const size = new ChunkSize(256)
  for (const [answering, prefilled] of steps) size.learn(answering, prefilled, takes(answering, prefilled), false)
  return size
}

describe('the rows of prefill in a step', () => {
  it('are as many as there may be while nobody streams', () => {
    expect(learned([1, 0], [1, 32]).next(0, 3)).toBe(256)
  })

  it('make a step about twice as long as one without', () => {
    const size = learned([1, 0], [1, 7], [1, 15], [1, 31])
    const rows = size.next(1, 1)
    expect(takes(1, rows) / takes(1, 0)).toBeGreaterThan(1.7)
    expect(takes(1, rows) / takes(1, 0)).toBeLessThan(2.1)
  })

  it('are chosen by what a step of as many answers takes: few answers have not the patience of many', () => {
    const size = learned([1, 7], [1, 15], [1, 31], [8, 0], [8, 31])
    const before = size.next(8, 1)
    for (let step = 0; step < 20; step++) size.learn(1, 0, takes(1, 0), false)
    expect(size.next(1, 1)).toBeLessThan(before)
    expect(size.next(8, 1)).toBe(before)
  })

  it('do not grow after one step that something else held up, nor while the encoder has cores', () => {
    const size = learned([1, 0], [1, 0], [1, 0], [1, 7], [1, 15], [1, 31])
    const before = size.next(1, 1)
    size.learn(1, 0, 80, false)
    for (let step = 0; step < 20; step++) size.learn(1, 0, 20, true)
    expect(size.next(1, 1)).toBeLessThanOrEqual(before)
  })

  it('are a few at the least, and more when many prompts wait for one answer', () => {
    const size = learned([1, 0], [1, 7], [1, 15], [1, 31])
    for (let step = 0; step < 20; step++) size.learn(1, 4, 500, false)
    expect(size.next(1, 1)).toBe(4)
    expect(learned([1, 0], [1, 15], [1, 63]).next(1, 4)).toBeGreaterThan(learned([1, 0], [1, 15], [1, 63]).next(1, 1))
  })
})
