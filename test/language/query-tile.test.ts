import { describe, expect, it } from 'vitest'
import { fastestRows } from '../../src/language/query-tile.ts'

/** A 135M model with 30 layers of 9 heads of 64 numbers. */
const small = { weights: 135e6, perCell: 2 * 30 * 9 * 64 }
/** A 3B model with 36 layers of 16 heads of 128 numbers. */
const large = { weights: 3.1e9, perCell: 2 * 36 * 16 * 128 }

describe('the number of rows that takes least time', () => {
  it('is a whole tile where attention over many cells takes longer than the weights', () => {
    expect(fastestRows(small, 40, 1200)).toBe(64)
    expect(fastestRows(small, 30, 4000)).toBe(64)
    expect(fastestRows(large, 60, 4000)).toBe(64)
  })

  it('is no more than asked for where the cells are few, or the weights take most', () => {
    expect(fastestRows(small, 40, 100)).toBe(40)
    expect(fastestRows(small, 8, 4000)).toBe(8)
    expect(fastestRows(large, 40, 1200)).toBe(40)
  })

  it('is never more than the cells that there are, and never less than asked for', () => {
    expect(fastestRows(small, 40, 50)).toBe(40)
    expect(fastestRows(small, 64, 4000)).toBe(64)
    expect(fastestRows(small, 200, 4000)).toBe(200)
  })
})
