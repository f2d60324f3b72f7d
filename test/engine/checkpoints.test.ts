import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Checkpoints } from '../../src/engine/checkpoints.ts'

const stateOf = (bytes: number, value = 0) => new Uint8Array(bytes).fill(value)

describe('the checkpoints of a hybrid decoder', () => {
  it('are found by the longest one that a path begins with, for its isolation key only', () => {
    const path = fc.array(fc.constantFrom(1, 2), { maxLength: 6 })
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('', 'other'), path), { maxLength: 12 }),
        path,
        fc.nat(6),
        (kept, asked, most) => {
          const checkpoints = new Checkpoints(1e6)
          for (const [key, cells] of kept)
            if (cells.length > 0 && !checkpoints.has(key, cells))
              checkpoints.put(key, Float64Array.from(cells), stateOf(1, cells.length))
          const fitting = kept.filter(
            ([key, cells]) => key === '' && cells.length <= most && cells.every((cell, at) => cell === asked[at]),
          )
          const length = Math.max(0, ...fitting.map(([, cells]) => cells.length))
          const expected = length === 0 ? undefined : { length, state: stateOf(1, length) }
          expect(checkpoints.longest('', asked, most)).toEqual(expected)
        },
      ),
    )
  })

  it('are dropped when they take too much memory, those that were not used first', () => {
    const checkpoints = new Checkpoints(3000)
    const path = (cell: number) => Float64Array.of(cell)
    for (const cell of [1, 2, 3]) {
      checkpoints.put('', path(cell), stateOf(1000))
      checkpoints.longest('', [1], 1)
    }
    expect(checkpoints.bytes).toBeLessThanOrEqual(3000)
    expect([1, 2, 3].map((cell) => checkpoints.has('', path(cell)))).toEqual([true, false, true])
    // One that takes more than all of it is not kept.
    checkpoints.put('', path(4), stateOf(4000))
    expect([1, 3, 4].map((cell) => checkpoints.has('', path(cell)))).toEqual([true, true, false])
  })
})
