import { orAborted } from '../abort.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { cancelled } from '../errors.ts'

/** Bounds how much of something is in use at one time. Requests for it are granted in the order in which they arrive. */
export class Semaphore {
  readonly #capacity: number
  readonly #waiting: { units: number; granted: Deferred<void> }[] = []
  #used = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting.length
  }

  /**
   * Waits until `units` are free, and takes them. A request for more than the capacity takes all of it.
   * @returns a function that gives the units back, to be called once
   * @throws OrielError `cancelled` when the signal aborts first
   */
  async acquire(units: number, signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) throw cancelled()
    const request = { units: Math.min(units, this.#capacity), granted: deferred<void>() }
    this.#waiting.push(request)
    this.#grant()
    const release = (): void => {
      this.#used -= request.units
      this.#grant()
    }
    try {
      await orAborted(request.granted.promise, signal)
      return release
    } catch (error) {
      const at = this.#waiting.indexOf(request)
      // It may have been granted at the moment of the abort.
      if (at < 0) release()
      else this.#waiting.splice(at, 1)
      this.#grant()
      throw error
    }
  }

  #grant(): void {
    for (let [next] = this.#waiting; next && this.#used + next.units <= this.#capacity; [next] = this.#waiting) {
      this.#waiting.shift()
      this.#used += next.units
      next.granted.resolve()
    }
  }
}
