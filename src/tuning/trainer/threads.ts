/** Between two trials of another number, in ms, and compared with how long the last one took. */
const tryEvery = { least: 10_000, durations: 10 }

/**
 * How many threads compute. They wait for each other a thousand times in a graph, and each time for as long as others have
 * its core: beside a busy server one thread alone may be many times faster than two. Which it is, is tried now and then.
 * What is computed does not depend on it.
 */
export class ThreadCount {
  /** All, half of them, and so on to one. */
  readonly #counts: readonly number[]
  /** Of each count the last time for a unit of work, in ms. */
  readonly #times: number[] = []
  #best = 0
  #current = 0
  #nextTrial = 0
  /** Whether the next trial is with fewer threads. */
  #isNextFewer = true

  constructor(most: number) {
    const counts = [most]
    for (let count = most; count > 1; ) {
      count = Math.ceil(count / 2)
      counts.push(count)
    }
    this.#counts = counts
  }

  get count(): number {
    return this.#counts[this.#current] ?? 1
  }

  /**
   * @param duration of a run with `count` threads, in ms
   * @param work how much it computed, in any unit
   * @param now its end, in ms
   */
  took(duration: number, work: number, now: number): void {
    const before = this.#times[this.#best] ?? Number.POSITIVE_INFINITY
    this.#times[this.#current] = duration / work
    if (this.#current !== this.#best) {
      if (duration / work < before) {
        // What is better with more threads or fewer may be even better with more of the same.
        this.#isNextFewer = this.#current > this.#best
        this.#best = this.#current
        this.#nextTrial = now
      } else {
        this.#current = this.#best
        this.#isNextFewer = !this.#isNextFewer
        this.#nextTrial = now + Math.max(tryEvery.least, tryEvery.durations * duration)
      }
    }
    if (now < this.#nextTrial) return
    const way = this.#isNextFewer ? 1 : -1
    const next = [this.#best + way, this.#best - way].find((index) => index >= 0 && index < this.#counts.length)
    if (next !== undefined) this.#current = next
  }
}
