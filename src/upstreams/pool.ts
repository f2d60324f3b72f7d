import type { Affinity } from './affinity.ts'
import type { Target } from './target.ts'

/** A request that a target has begun to answer. */
export interface Begun<T> {
  readonly value: T
  /** Settles when the target has no work of it any more. An AttemptFailed that it rejects with counts against the target. */
  readonly ended: Promise<void>
}

/** Chooses targets for requests, and leaves out those that do not work. */
export interface Pool {
  /**
   * Runs `attempt` at the best target, and at another one if it throws an AttemptFailed that allows it. Other errors are
   * the request's. A target is busy from then until `ended` settles.
   * @param targets at least one
   * @throws OrielError that of the last attempt; `overloaded` or `engine_failed`, with the time to wait, if no target may be asked
   */
  run<T>(
    targets: readonly Target[],
    affinity: Affinity,
    signal: AbortSignal,
    attempt: (target: Target, signal: AbortSignal) => Promise<Begun<T>>,
  ): Promise<T>
  close(): Promise<void>
}
