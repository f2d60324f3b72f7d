import { compared, median, reachOf } from './step-times.ts'

/** A step of running answers may take this much longer for those who read their prompts, in steps without. */
const patience = 2
/** Rows that even a slow machine takes, or a prompt would never be read. */
const least = 4
/** Weight of the newest measurement in the running means. */
const newest = 0.25

/**
 * How many rows of prefill a step may have. Nobody streams: as many as there may be, since large batches cost least for
 * each row. Somebody does: so many that a step takes about twice as long as one without, by what steps took of
 * late; more when many prompts wait for few answers.
 */
export class ChunkSize {
  readonly #most: number
  /** What the last steps of running answers alone took, in ms, by the power of two that their number reaches. */
  readonly #answering: number[][] = []
  /** What all steps took, by the power of two that their rows reach. */
  readonly #steps: ({ rows: number; ms: number } | undefined)[] = []

  constructor(most: number) {
    this.#most = most
  }

  /** @param answering sequences whose next token is due. @param prefilling sequences that read their prompts */
  next(answering: number, prefilling: number): number {
    const alone = this.#alone(answering)
    if (alone === undefined) return this.#most
    const allowed = patience * alone * Math.max(1, prefilling / answering)
    return Math.max(least, Math.min(this.#most, Math.floor(this.#rowsWithin(allowed)) - answering))
  }

  /**
   * Tells what a step took, in ms.
   * @param contended whether others had cores meanwhile: patience is for what a step takes without them
   */
  learn(answering: number, prefilled: number, ms: number, contended: boolean): void {
    if (prefilled === 0 && !contended) {
      const reach = reachOf(answering)
      this.#answering[reach] = [...(this.#answering[reach] ?? []), ms].slice(-compared)
    }
    const rows = answering + prefilled
    const reach = reachOf(rows)
    const known = this.#steps[reach]
    this.#steps[reach] = known ? { rows: mean(known.rows, rows), ms: mean(known.ms, ms) } : { rows, ms }
  }

  /** @returns what a step takes of so many answers, or of fewer where those are not known; undefined when nobody streams */
  #alone(answering: number): number | undefined {
    if (answering === 0) return undefined
    const known = this.#answering.slice(0, reachOf(answering) + 1).findLast((times) => times !== undefined)
    return known && median(known)
  }

  /** Between two steps that are known a row costs the same, and beyond the largest as much as in that one. */
  #rowsWithin(ms: number): number {
    let last = { rows: 0, ms: 0 }
    for (const step of this.#steps) {
      if (step === undefined || step.ms <= last.ms) continue
      if (step.ms > ms) return last.rows + ((ms - last.ms) / (step.ms - last.ms)) * (step.rows - last.rows)
      last = step
    }
    return (last.rows * ms) / last.ms
  }
}

const mean = (known: number, value: number): number => known + newest * (value - known)
