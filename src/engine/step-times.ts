/** The class of a step by its rows, a power of two: a row costs less in a larger batch. */
export const reachOf = (rows: number): number => Math.floor(Math.log2(rows))

/** Number of recent measurements that are compared. */
export const compared = 5

/** The median ignores runs that something else on the machine has delayed. */
export const median = (times: readonly number[]): number =>
  times.toSorted((a, b) => a - b)[times.length >> 1] ?? Number.NaN
