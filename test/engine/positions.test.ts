import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type GridSpan, Positions } from '../../src/engine/positions.ts'

describe('positions of XD-RoPE', () => {
  // Two images of 2 x 2 places, with a cell before and after, in a prompt of 3 + 6 + 1 + 6 + 2 cells.
  const grid = { rows: 2, columns: 2 }
  const positions = new Positions([
    { start: 3, end: 9, grid, image: 0 },
    { start: 10, end: 16, grid, image: 1 },
  ])
  const axes = (cell: number) => {
    const { time, row, column, image } = positions.place(cell)
    return [time, row, column, image]
  }

  it('number the cells of text and of images alike', () => {
    expect(Array.from({ length: 18 }, (_, cell) => positions.time(cell))).toEqual(
      Array.from({ length: 18 }, (_, cell) => cell),
    )
  })

  it('count columns and rows of each image from 0, beside its number', () => {
    expect([11, 12, 13, 14].map(axes)).toEqual([
      [11, 0, 0, 1],
      [12, 1, 0, 1],
      [13, 0, 1, 1],
      [14, 1, 1, 1],
    ])
    expect(axes(4)).toEqual([4, 0, 0, 0])
  })

  it('give the first and the last cell of an image one number on all axes', () => {
    expect([3, 8, 10, 15].map(axes)).toEqual([3, 8, 10, 15].map((cell) => [cell, cell, cell, cell]))
  })

  it('let a prefix end anywhere, since the time advances with each cell', () => {
    expect(positions.whole(12)).toBe(12)
  })
})

describe('positions of M-RoPE', () => {
  const grid = { rows: 3, columns: 2 }
  /** A prompt of texts, by their number of cells, and of videos, by the times of their frames. A still image has one: null. */
  type Part = number | readonly (number | null)[]

  /** After `get_rope_index` of transformers 4: each part begins after the largest number of the part before it. */
  function expected(parts: readonly Part[]): number[][] {
    const axes: number[][] = []
    for (const part of parts) {
      const base = Math.max(-1, ...axes.flat()) + 1
      if (typeof part === 'number') for (let at = 0; at < part; at++) axes.push([base + at, base + at, base + at])
      else
        for (const later of part)
          for (let row = 0; row < grid.rows; row++)
            for (let column = 0; column < grid.columns; column++)
              axes.push([base + (later ?? 0), base + row, base + column])
    }
    return axes
  }

  function laidOut(parts: readonly Part[]): { positions: Positions; cells: number } {
    const spans: GridSpan[] = []
    let cells = 0
    for (const part of parts) {
      if (typeof part === 'number') cells += part
      else
        for (const later of part) {
          const start = cells
          cells += grid.rows * grid.columns
          spans.push({ start, end: cells, grid, ...(later !== null && { later }) })
        }
    }
    return { positions: new Positions(spans), cells }
  }

  const video = fc.uniqueArray(fc.nat(60), { minLength: 1, maxLength: 5 }).map((times) => {
    const [first = 0, ...others] = times.toSorted((a, b) => a - b)
    return [0, ...others.map((time) => time - first)]
  })
  const parts = fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant([null]), video), { maxLength: 6 })

  it('are those of the publication', () => {
    fc.assert(
      fc.property(parts, (prompt) => {
        const { positions, cells } = laidOut(prompt)
        const places = Array.from({ length: cells }, (_, cell) => {
          const { time, row, column } = positions.place(cell)
          return [time, row, column]
        })
        expect(places).toEqual(expected(prompt))
      }),
    )
  })

  it('never go back in time, and say where a prefix ends before they know what follows', () => {
    fc.assert(
      fc.property(parts, fc.nat(80), (prompt, cut) => {
        const { positions, cells } = laidOut(prompt)
        const length = positions.whole(Math.min(cut, cells))
        const times = Array.from({ length: cells + 3 }, (_, cell) => positions.time(cell))
        expect(times).toEqual(times.toSorted((a, b) => a - b))
        expect(times.filter((time) => time < positions.after(length))).toEqual(times.slice(0, length))
      }),
    )
  })
})
