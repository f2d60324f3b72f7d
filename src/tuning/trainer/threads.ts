/** Between two trials of another number, in ms. */
const tryEvery = 10_000

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
  #triedAt: number
  /** Whether the next trial is with fewer threads. */
  #isNextFewer = true

  constructor(most: number, now: number) {
    const counts = [most]
    for (let count = most; count > 1; ) {
      count = Math.ceil(count / 2)
      counts.push(count)
    }
    this.#counts = counts
    this.#triedAt = now - tryEvery
  }

  get count(): number {
    return this.#counts[this.#current] ?? 1
  }

  /** @param time for a unit of work with `count` threads, in ms @param now in ms */
  took(time: number, now: number): void {
    this.#times[this.#current] = time
    const best = this.#times[this.#best] ?? Number.POSITIVE_INFINITY
    if (this.#current !== this.#best) {
      const isBetter = time < best
      // What is better by more threads or fewer may be even better by more of the same.
      if (isBetter) {
        this.#isNextFewer = this.#current > this.#best
        this.#best = this.#current
        this.#triedAt = now - tryEvery
      } else {
        this.#current = this.#best
        this.#isNextFewer = !this.#isNextFewer
      }
    }
    if (now - this.#triedAt < tryEvery) return
    const next = [this.#best + (this.#isNextFewer ? 1 : -1), this.#best + (this.#isNextFewer ? -1 : 1)].find(
      (index) => index >= 0 && index < this.#counts.length,
    )
    if (next === undefined) return
    this.#current = next
    this.#triedAt = now
  }
}
