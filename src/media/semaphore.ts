import { orAborted } from '../abort.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { cancelled } from '../errors.ts'

/** Bounds how much of something is in use at one time. Requests for it are granted in the order in which they arrive. */
export class Semaphore {
  readonly #capacity: number
  readonly #waiting = new Set<{ units: number; granted: Deferred<void> }>()
  #used = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * Waits until `units` are free, and takes them. A request for more than the capacity takes all of it.
   * @returns a function that gives the units back, to be called once
   * @throws OrielError `cancelled` when the signal aborts first
   */
  async acquire(units: number, signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) throw cancelled()
    const request = { units: Math.min(units, this.#capacity), granted: deferred<void>() }
    this.#waiting.add(request)
    this.#grant()
    const release = (): void => {
      this.#used -= request.units
      this.#grant()
    }
    try {
      await orAborted(request.granted.promise, signal)
      return release
    } catch (error) {
      // It may have been granted at the moment of the abort.
      if (this.#waiting.delete(request)) this.#grant()
      else release()
      throw error
    }
  }

  #grant(): void {
    for (const next of this.#waiting) {
      if (this.#used + next.units > this.#capacity) return
      this.#waiting.delete(next)
      this.#used += next.units
      next.granted.resolve()
    }
  }
}
