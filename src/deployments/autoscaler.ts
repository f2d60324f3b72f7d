import { between, type Wanted } from './record.ts'

/** What a deployment looks like at a moment. Times are in ms, of one clock. */
export interface Moment {
  now: number
  /** Replicas that it should have. */
  desired: number
  /** Requests that it answers, or that wait for it. */
  load: number
  /** When the last request came or ended. */
  usedAt: number
  /** Requests for each replica at which another one starts. */
  target: number
}

/** Decides how many replicas a deployment should have by its load: more when it was higher for a while, fewer when it was lower. */
export class Autoscaler {
  /** Since when more replicas are wanted than there should be. */
  #higherSince: number | undefined
  /** Since when fewer are, and the most that were wanted since then. */
  #lower: { since: number; most: number } | undefined

  /** @returns replicas that it should have from now on */
  next({ now, desired, load, usedAt, target }: Moment, wanted: Wanted): number {
    const bound = between(desired, wanted)
    // A deployment without replicas waits for a request, and the last one stops by the window to zero.
    if (bound === 0) return this.#settled(0)
    const least = Math.max(1, wanted.minReplicas)
    const needed = between(Math.max(least, Math.ceil(load / target)), wanted)
    if (needed > bound) {
      this.#lower = undefined
      this.#higherSince ??= now
      return now - this.#higherSince >= wanted.scaleUpMs ? this.#settled(needed) : bound
    }
    this.#higherSince = undefined
    if (wanted.minReplicas === 0 && load === 0 && now - usedAt >= wanted.scaleToZeroMs) return this.#settled(0)
    if (needed === bound) return this.#settled(bound)
    this.#lower ??= { since: now, most: needed }
    this.#lower.most = Math.max(this.#lower.most, needed)
    return now - this.#lower.since >= wanted.scaleDownMs ? this.#settled(this.#lower.most) : bound
  }

  #settled(replicas: number): number {
    this.#higherSince = undefined
    this.#lower = undefined
    return replicas
  }
}
