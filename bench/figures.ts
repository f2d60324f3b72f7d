import type { Row, Sample } from './rows.ts'

/** One row with all that was measured of it. */
export interface RowReport extends Pick<Row, 'id' | 'what' | 'figure' | 'bar'> {
  samples: Sample[]
}

/** The middle one, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

/** Whether the median holds the bar. */
export function isMet({ bar, samples }: RowReport): boolean {
  const figure = median(samples.map((sample) => sample.figure))
  return 'most' in bar ? figure <= bar.most : figure >= bar.least
}
