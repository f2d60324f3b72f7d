import fc from 'fast-check'
import { expect, it } from 'vitest'
import { quantizeRows } from '../../src/encoders/graph/quantize.ts'

function* tilesOf(matrix: Float32Array, columns: number, most: number) {
  const rows = matrix.length / columns
  for (let from = 0; from < rows; from += most) {
    const count = Math.min(most, rows - from)
    yield { from, count, values: matrix.slice(from * columns, (from + count) * columns) }
  }
}

it('stands within half a step of every weight, whatever the tiles, and the largest of a row is exact', () => {
  const number = fc.oneof(fc.float({ min: -100, max: 100, noNaN: true }), fc.constantFrom(0, -0.5, 0.5, 1e-20))
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 9 }),
      fc.nat(20),
      fc.gen(),
      (rows, columns, most, gen) => {
        const matrix = Float32Array.from({ length: rows * columns }, () => gen(() => number))
        const { values, scales } = quantizeRows(tilesOf(matrix, columns, most + 1), rows, columns)
        for (let row = 0; row < rows; row++) {
          const scale = scales[row] as number
          for (let column = 0; column < columns; column++) {
            const integer = values[column * rows + row] as number
            const wanted = (matrix[row * columns + column] as number) / scale
            expect(Math.abs(integer)).toBeLessThanOrEqual(127)
            expect(Math.abs(integer - wanted)).toBeLessThanOrEqual(0.5 + 1e-4)
          }
        }
      },
    ),
  )
})

it('rounds to the nearest on both sides of zero', () => {
  const row = Float32Array.of(127, -127, -1.6, -1.4, 1.4, 1.6, 0)
  const { values, scales } = quantizeRows([{ from: 0, count: 1, values: row }], 1, row.length)
  expect([...values]).toEqual([127, -127, -2, -1, 1, 2, 0])
  expect([...scales]).toEqual([1])
})
