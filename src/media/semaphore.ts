import { onAbort } from '../abort.ts'
import { cancelled } from '../errors.ts'

/** Bounds how much of something is in use at one time. Requests for it are granted in the order in which they arrive. */
export class Semaphore {
  readonly #capacity: number
  readonly #waiting: { units: number; grant: () => void }[] = []
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
    const taken = Math.min(units, this.#capacity)
    if (this.#waiting.length > 0 || this.#used + taken > this.#capacity) await this.#wait(taken, signal)
    else this.#used += taken
    return () => {
      this.#used -= taken
      this.#grantNext()
    }
  }

  #wait(units: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const entry = {
        units,
        grant: (): void => {
          removeListener()
          resolve()
        },
      }
      this.#waiting.push(entry)
      const removeListener = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1)
        reject(cancelled())
        this.#grantNext()
      })
    })
  }

  #grantNext(): void {
    for (
      let next = this.#waiting[0];
      next !== undefined && this.#used + next.units <= this.#capacity;
      next = this.#waiting[0]
    ) {
      this.#waiting.shift()
      this.#used += next.units
      next.grant()
    }
  }
}
