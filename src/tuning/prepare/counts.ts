import type { ProgressLine } from '../contract.ts'

/** What the examples of a job are. All but `evaluation` count those that are trained on. */
export type Counts = Omit<Extract<ProgressLine, { type: 'examples' }>, 'type' | 'steps' | 'memoryBytes'>

export const noCounts: Counts = {
  examples: 0,
  evaluation: 0,
  tokens: 0,
  learnedTokens: 0,
  images: 0,
  imageTokens: 0,
  truncated: 0,
  dropped: 0,
}
