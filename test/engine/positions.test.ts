import { describe, expect, it } from 'vitest'
import { Positions } from '../../src/engine/positions.ts'

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
