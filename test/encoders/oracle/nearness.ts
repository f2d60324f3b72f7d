/** The distance to the results of libmtmd. */
export interface Nearness {
  /** The least of all rows. */
  cosine: number
  /** The largest of all numbers. */
  difference: number
}

export const nearest: Nearness = { cosine: 1, difference: 0 }

/** Some rows of embeddings, and the sum of all. Of wide embeddings it has the first numbers. */
interface Expected {
  rows?: readonly { row: number; values: number[] }[]
  sum?: readonly number[]
}

/**
 * The farthest of what was found so far and of these embeddings.
 * @param found `[rows, width]`
 */
export function farther(
  sofar: Nearness,
  found: Float32Array,
  width: number,
  { rows = [], sum = [] }: Expected,
): Nearness {
  const row = (at: number) => found.subarray(at * width, at * width + sum.length)
  const total = sum.map((_, at) => {
    let all = 0
    for (let from = at; from < found.length; from += width) all += found[from] as number
    return all
  })
  return {
    cosine: Math.min(sofar.cosine, cosine(sum, total), ...rows.map(({ row: at, values }) => cosine(values, row(at)))),
    difference: Math.max(sofar.difference, ...rows.map(({ row: at, values }) => largestDifference(values, row(at)))),
  }
}

const cosine = (a: ArrayLike<number>, b: ArrayLike<number>): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))

export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, value, i) => sum + value * (b[i] ?? Number.NaN), 0)

export const largestDifference = (a: readonly number[], b: ArrayLike<number>): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? Number.NaN))), 0)
