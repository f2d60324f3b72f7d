import { expect, it } from 'vitest'
import { PrefixShelf } from '../../src/engine/prefix-shelf.ts'

const path = (...cells: number[]) => Float64Array.from(cells)
const put = (shelf: PrefixShelf, ...cells: number[]) =>
  shelf.put('', path(...cells), 10, () => Uint8Array.from({ length: 10 }, () => cells[0] ?? 0))

it('drops the least recently used prefix when it is full', () => {
  const shelf = new PrefixShelf(20)
  put(shelf, 1, 1)
  put(shelf, 2, 2)
  // A look-up is not a use.
  expect(shelf.match('', path(1, 1, 5))).toMatchObject({ cells: 2, length: 2 })
  put(shelf, 3, 3)
  expect([1, 2, 3].map((cell) => shelf.match('', path(cell, cell))?.length)).toEqual([undefined, 2, 2])
  shelf.touch(shelf.match('', path(2, 2))?.id ?? Number.NaN)
  put(shelf, 4, 4)
  expect([2, 3, 4].map((cell) => shelf.match('', path(cell, cell))?.length)).toEqual([2, undefined, 2])
  expect(shelf.bytes).toBe(20)
})

it('copies no prefix that it holds or that exceeds its size', () => {
  const shelf = new PrefixShelf(20)
  put(shelf, 1, 2, 3)
  const unexpected = () => {
    throw new Error('copied')
  }
  shelf.put('', path(1, 2), 10, unexpected)
  shelf.put('', path(7), 21, unexpected)
  expect(shelf.bytes).toBe(10)
})
