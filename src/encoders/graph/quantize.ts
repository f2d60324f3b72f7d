import type { Rows } from './tensor-file.ts'

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
      let [least, most] = [0, 0]
      for (let at = row * columns; at < (row + 1) * columns; at++) {
        const value = tile[at] as number
        if (value > most) most = value
        else if (value < least) least = value
      }
      const scale = Math.fround(Math.max(most, -least, least32) / largest)
      scales[from + row] = scale
      inverses[row] = 1 / scale
    }
    for (let first = 0; first < count; first += together) {
      const end = Math.min(count, first + together)
      for (let column = 0; column < columns; column++)
        for (let row = first; row < end; row++)
          // Rounds to the nearest: what is truncated is positive.
          values[column * rows + from + row] =
            (((tile[row * columns + column] as number) * (inverses[row] as number) + 128.5) | 0) - 128
    }
  }
  return { values, scales }
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
