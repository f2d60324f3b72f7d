import type { Hyperparameters } from './record.ts'

/**
 * How a job trains if nobody wants it otherwise. With these Pocket learns a new shape and a new way to answer from 60 pictures,
 * and forgets nothing that is measured (`test/tuning/demonstration`). With twice the rate it answers other questions worse;
 * with two fifths of it, it needs two and a half times as many steps.
 */
export const usual = {
  learningRate: 5e-4,
  warmupSteps: 10,
  rank: 16,
  batchExamples: 8,
  earlyStop: false,
} as const satisfies Partial<Hyperparameters>

/** Of few examples each is seen more often, or there would be too few steps to learn anything. */
const leastSeen = 512

export const usualEpochs = (examples: number): number =>
  Math.min(12, Math.max(3, Math.ceil(leastSeen / Math.max(1, examples))))

/** `alpha / rank` scales what the adapter adds. */
export const usualAlpha = (rank: number): number => 2 * rank

/** Tokens of an example, at most: attention takes memory that grows with their square. */
export const mostTokens = 4096
