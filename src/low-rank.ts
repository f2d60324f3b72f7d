/** The two factors of what an adapter (LoRA) adds to a matrix: `[rank, columns]`, and `[rows, rank]` times the scale. */
export interface Factors {
  readonly a: Float32Array
  readonly b: Float32Array
  readonly rank: number
}

/** Some rows of a matrix. */
export interface Rows {
  /** The index of the first. */
  from: number
  count: number
  /** `[count, columns]` */
  values: Float32Array
}

/**
 * Of the products of an adapter. As in llama.cpp, where one without alpha is not scaled.
 * @param alpha as the file of the adapter has it
 */
export const scaleOf = (alpha: unknown, rank: number): number =>
  typeof alpha === 'number' && alpha !== 0 ? alpha / rank : 1

/** Adds `b` times `a` to some rows. Four ranks at a time: a row is read and written as rarely. */
export function addProduct({ a, b, rank }: Factors, { from, count, values }: Rows): void {
  const columns = a.length / rank
  const at = (row: number, term: number): number => (term < rank ? (b[(from + row) * rank + term] as number) : 0)
  for (let row = 0; row < count; row++)
    for (let term = 0; term < rank; term += 4) {
      const [one, two, three, four] = [at(row, term), at(row, term + 1), at(row, term + 2), at(row, term + 3)]
      const first = term * columns
      // What is beyond the last rank is multiplied by 0, and may be any of the numbers.
      const second = term + 1 < rank ? first + columns : first
      const third = term + 2 < rank ? second + columns : first
      const fourth = term + 3 < rank ? third + columns : first
      const start = row * columns
      for (let column = 0; column < columns; column++)
        values[start + column] =
          (values[start + column] as number) +
          one * (a[first + column] as number) +
          two * (a[second + column] as number) +
          three * (a[third + column] as number) +
          four * (a[fourth + column] as number)
    }
}
