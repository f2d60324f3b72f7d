export type LoopQuestion = 'loop-start' | 'loop-end'

/** The answer to `loop-end`. */
export interface LoopDelay {
  /** In ms. */
  p99: number
}
