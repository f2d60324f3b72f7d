/** Steps are told apart by the power of two that their rows reach: a row costs less the more there are. */
export const reachOf = (rows: number): number => Math.floor(Math.log2(rows))

/** Runs of late that are looked at together. */
export const compared = 5

/** The time in the middle, whatever else the machine did during the others. */
export const median = (times: readonly number[]): number =>
  times.toSorted((a, b) => a - b)[times.length >> 1] ?? Number.NaN
