import type { Affinity } from './affinity.ts'
import type { Target, Upstream } from './target.ts'

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
  /** Asks these upstreams from time to time whether they work, and no others any more. */
  watch(upstreams: readonly Upstream[]): void
  state(upstream: Upstream): UpstreamState
  /** Probes nobody any more. Connections stay as they are. */
  close(): void
}

/** For metrics. Counts are since the start of this server. */
export interface UpstreamState {
  /** Attempts, and those that failed by the upstream's fault. */
  readonly requests: number
  readonly failures: number
  /** Attempts that were repeated at another target. */
  readonly retries: number
  readonly inFlight: number
  /** Whether requests are given to it: its probes succeed, and not all of its targets are left out. */
  readonly isUp: boolean
}
