/** A running answer's next token may come this much later for each sequence that reads its prompt meanwhile, in steps. */
const patience = 2
/** Rows that even a slow machine takes, or a prompt would never be read. */
const least = 4
/** Weight of the newest measurement in the running mean. */
const newest = 0.25

/**
 * How many rows of prefill a step may have. Nobody streams: as many as there may be, since large batches cost least for
 * each row. Somebody does: so many that a step takes about three times as long as one without, by what steps took of
 * late; more when many prompts wait for few answers.
 */
export class ChunkSize {
  readonly #most: number
  /** A step of running answers alone, in ms. */
  #answering = Number.NaN
  /** What one row of prefill adds to a step, in ms. */
  #row = Number.NaN

  constructor(most: number) {
    this.#most = most
  }

  /** @param answering sequences whose next token is due. @param prefilling sequences that read their prompts */
  next(answering: number, prefilling: number): number {
    if (answering === 0 || Number.isNaN(this.#answering) || Number.isNaN(this.#row)) return this.#most
    const allowed = patience * this.#answering * Math.max(1, prefilling / answering)
    return Math.max(least, Math.min(this.#most, Math.floor(allowed / this.#row)))
  }

  /** Tells what a step took, in ms. */
  learn(answering: number, prefilled: number, ms: number): void {
    if (prefilled === 0) this.#answering = mean(this.#answering, ms)
    else {
      const without = answering === 0 || Number.isNaN(this.#answering) ? 0 : Math.min(this.#answering, ms / 2)
      this.#row = mean(this.#row, (ms - without) / prefilled)
    }
  }
}

const mean = (known: number, value: number): number => (Number.isNaN(known) ? value : known + newest * (value - known))
