import { expect, it } from 'vitest'
import { plannedSteps } from '../../../src/tuning/trainer/schedule.ts'

const lengths = Int32Array.from({ length: 10 }, () => 100)
/** Sequences of each step. */
const sizes = (batchExamples: number, batchTokens: number | null, of = lengths): number[] =>
  plannedSteps(of, { epochs: 1, batchExamples, batchTokens, seed: 1 }).map(({ sequences }) => sequences.length)

it('a step ends at its examples or at its tokens, whichever comes first', () => {
  expect(sizes(4, null)).toEqual([4, 4, 2])
  expect(sizes(4, 65_536)).toEqual([4, 4, 2])
  expect(sizes(4, 299)).toEqual([2, 2, 2, 2, 2])
  expect(sizes(4096, 500)).toEqual([5, 5])
})

it('a sequence that has more tokens than a step is a step by itself', () => {
  expect(sizes(4, 64, lengths.slice(0, 3))).toEqual([1, 1, 1])
})
