import type { Sample } from './measures.ts'
import type { Row } from './rows.ts'

/** A row and its measurements. */
export interface RowReport extends Pick<Row, 'id' | 'what' | 'figure' | 'bar'> {
  samples: Sample[]
}

/** The median, or NaN without values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

/** The value below which this share of the values is, or NaN without values. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** Whether the median meets the bar. */
export function isMet({ bar, samples }: RowReport): boolean {
  const figure = median(samples.map((sample) => sample.figure))
  return 'most' in bar ? figure <= bar.most : figure >= bar.least
}
