import type { Hyperparameters } from './record.ts'

/** How a job trains if nobody wants it otherwise. */
export const usual = {
  epochs: 3,
  learningRate: 5e-4,
  warmupSteps: 10,
  rank: 16,
  batchExamples: 8,
  earlyStop: false,
} as const satisfies Partial<Hyperparameters>

/** `alpha / rank` scales what the adapter adds. */
export const usualAlpha = (rank: number): number => 2 * rank

/** Tokens of an example, at most: attention takes memory that grows with their square. */
export const mostTokens = 4096
