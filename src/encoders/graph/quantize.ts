import type { Rows } from '../../low-rank.ts'

/** A matrix in 8-bit integers, with a scale for each of its rows. */
export interface Quantized {
  /** `[columns, rows]`: integer products take the weights turned. */
  values: Int8Array
  scales: Float32Array
}

/** The smallest number that has a scale of 32 bits: rows of less are zeros. */
const least32 = 2 ** -118

/** Rows that are written together: neighbours in the result. */
const together = 16

/**
 * @param tiles the rows of the matrix, in order
 * @param largest the largest integer
 */
export function quantizeRows(tiles: Iterable<Rows>, rows: number, columns: number, largest = 127): Quantized {
  const values = new Int8Array(rows * columns)
  const scales = new Float32Array(rows)
  for (const { from, count, values: tile } of tiles) {
    const inverses = new Float64Array(count)
    for (let row = 0; row < count; row++) {
      const scale = Math.fround(Math.max(largestIn(tile, row * columns, columns), least32) / largest)
      scales[from + row] = scale
      inverses[row] = 1 / scale
    }
    const isAligned = rows % 4 === 0 && from % 4 === 0
    for (let first = 0; first < count; first += together) {
      const end = Math.min(count, first + together)
      let row = first
      if (isAligned) for (; row + 4 <= end; row += 4) writeFour(values, rows, from + row, tile, row, inverses, columns)
      for (; row < end; row++)
        for (let column = 0; column < columns; column++)
          values[column * rows + from + row] =
            (((tile[row * columns + column] as number) * (inverses[row] as number) + 128.5) | 0) - 128
    }
  }
  return { values, scales }
}

/** The largest magnitude. Those of 32-bit floats have the order of their bits. */
function largestIn({ buffer, byteOffset }: Float32Array, from: number, count: number): number {
  const bits = new Int32Array(buffer, byteOffset + from * Int32Array.BYTES_PER_ELEMENT, count)
  let most = 0
  for (let at = 0; at < count; at++) {
    const magnitude = (bits[at] as number) & 0x7fffffff
    if (magnitude > most) most = magnitude
  }
  return new Float32Array(Int32Array.of(most).buffer)[0] as number
}

/**
 * Writes four rows at once, which are one word of each column in the result. It rounds to the nearest: what is truncated is
 * positive, and a sum with -128 is a change of the highest bit.
 */
function writeFour(
  values: Int8Array,
  rows: number,
  to: number,
  tile: Float32Array,
  row: number,
  inverses: Float64Array,
  columns: number,
): void {
  const words = new Int32Array(values.buffer)
  const [a, b, c, d] = inverses.subarray(row, row + 4) as unknown as [number, number, number, number]
  const [second, third, fourth] = [columns, 2 * columns, 3 * columns]
  const step = rows / 4
  let word = to / 4
  const start = row * columns
  for (let at = start; at < start + columns; at++) {
    words[word] =
      ((((tile[at] as number) * a + 128.5) | 0) ^ 128) |
      (((((tile[at + second] as number) * b + 128.5) | 0) ^ 128) << 8) |
      (((((tile[at + third] as number) * c + 128.5) | 0) ^ 128) << 16) |
      (((((tile[at + fourth] as number) * d + 128.5) | 0) ^ 128) << 24)
    word += step
  }
}

/**
 * What rounding left of a matrix, which is half a step at most, in integers of smaller steps.
 * @param tiles the rows of the matrix, in order
 * @param largest the largest integer
 */
export function quantizeRest(tiles: Iterable<Rows>, { values, scales }: Quantized, largest = 127): Quantized {
  const rows = scales.length
  const columns = values.length / rows
  const rest = new Int8Array(values.length)
  const steps = 2 * largest
  for (const { from, count, values: tile } of tiles)
    for (let first = 0; first < count; first += together) {
      const end = Math.min(count, first + together)
      for (let column = 0; column < columns; column++)
        for (let row = first; row < end; row++) {
          const at = column * rows + from + row
          const left =
            (tile[row * columns + column] as number) / (scales[from + row] as number) - (values[at] as number)
          rest[at] = ((left * steps + 128.5) | 0) - 128
        }
    }
  return { values: rest, scales: scales.map((scale) => scale / steps) }
}
