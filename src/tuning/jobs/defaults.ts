import type { Hyperparameters } from '../contract.ts'

/**
 * How a job trains if nobody wants it otherwise. With these the built-in model learns a new shape and a new way to answer from 60
 * pictures, and forgets less than a point of what it knew (`test/tuning/demonstration`). At 1e-4 it forgets two points, at 2e-4
 * seven, the names of other shapes first; at 6e-5 it does not learn it.
 */
export const usual = {
  learningRate: 8e-5,
  warmupSteps: 10,
  rank: 16,
  batchExamples: 8,
  earlyStop: false,
  trainProjector: false,
} as const satisfies Partial<Hyperparameters>

/** Examples that a model sees at least, each of them counted as often as it is seen: 150 steps. */
const leastSeen = 1200

/** Few examples are seen often: with too few steps nothing is learned. */
export const usualEpochs = (examples: number): number =>
  Math.min(24, Math.max(3, Math.ceil(leastSeen / Math.max(1, examples))))

/** `alpha / rank` scales what the adapter adds. */
export const usualAlpha = (rank: number): number => 2 * rank

/** Tokens of an example, at most: attention takes memory that grows with their square. */
export const mostTokens = 4096
