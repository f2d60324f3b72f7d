import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Quantized, quantizeRest, quantizeRows } from '../../src/encoders/graph/quantize.ts'

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
      // Where products of the whole type overflow, half of it is used.
      fc.constantFrom(127, 63),
      fc.gen(),
      (rows, columns, most, largest, gen) => {
        const matrix = Float32Array.from({ length: rows * columns }, () => gen(() => number))
        const { values, scales } = quantizeRows(tilesOf(matrix, columns, most + 1), rows, columns, largest)
        for (let row = 0; row < rows; row++) {
          const scale = scales[row] as number
          for (let column = 0; column < columns; column++) {
            const integer = values[column * rows + row] as number
            const wanted = (matrix[row * columns + column] as number) / scale
            expect(Math.abs(integer)).toBeLessThanOrEqual(largest)
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

it.each([127, 63])('leaves a rest in integers that is all but exact: up to %i', (largest) => {
  const [rows, columns] = [20, 64]
  const matrix = Float32Array.from({ length: rows * columns }, (_, at) => Math.sin(at * at) * (at % 7))
  const tiles = () => tilesOf(matrix, columns, 3)
  const rounded = quantizeRows(tiles(), rows, columns, largest)
  const rest = quantizeRest(tiles(), rounded, largest)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const at = column * rows + row
      const partOf = ({ values, scales }: Quantized) => (values[at] as number) * (scales[row] as number)
      const left = partOf(rounded) + partOf(rest) - (matrix[row * columns + column] as number)
      // Half a step of the rest.
      expect(Math.abs(left)).toBeLessThanOrEqual(((rounded.scales[row] as number) / largest / 2) * 0.501)
    }
})
