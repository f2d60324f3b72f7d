import { compared, median, reachOf } from './step-times.ts'

/** A step with prefill may take this many times as long as a step of the running answers alone. */
const slowdown = 2
/**
 * Minimum number of rows, so that prefill proceeds on any machine. Where the kernels for several rows are slow, as ggml's for
 * Q8_0 on a CPU, already two beside an answer take more than twice as long, and five more than three times.
 */
const least = 2
/** Weight of the newest measurement in the running means. */
const newest = 0.25

/** How much prefill a step may have. */
export interface Allowance {
  readonly rows: number
  /** Whether prefill runs in a pass of its own, after the answers. */
  readonly apart: boolean
}

/**
 * Chooses the number of prefill rows of a step. While no answer runs it is the maximum, since large batches cost least
 * for each row. Otherwise it is the number that makes a step take about twice as long as one without prefill, by recent
 * measurements; more when many prompts wait for few answers. Where so few rows are too many, it is the minimum, which all
 * cores compute; or, while the encoder needs half of them, a single row apart, which takes no longer than an answer's.
 */
export class ChunkSize {
  readonly #most: number
  /** Recent durations of steps without prefill, in ms, by `reachOf` the number of answers. */
  readonly #answering: number[][] = []
  /** Mean durations of all steps, by `reachOf` their rows. */
  readonly #steps: ({ rows: number; ms: number } | undefined)[] = []

  constructor(most: number) {
    this.#most = most
  }

  /**
   * @param answering sequences whose next token is due
   * @param promptsEach prompts that wait for each of them
   * @param contended whether the encoder is using cores
   */
  next(answering: number, promptsEach: number, contended: boolean): Allowance {
    const alone = this.#alone(answering)
    if (alone === undefined) return { rows: this.#most, apart: false }
    const allowed = slowdown * alone * Math.max(1, promptsEach)
    const rows = Math.min(this.#most, Math.floor(this.#rowsWithin(allowed)) - answering)
    if (rows < least && contended) return { rows: 1, apart: true }
    return { rows: Math.max(least, rows), apart: false }
  }

  /**
   * Records the duration of a step whose rows were computed together, in ms.
   * @param contended whether the encoder had cores meanwhile: such a step is no measure of a step without prefill
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

  /** @returns the duration of a step of this many answers, or of the next smaller number that is known; undefined if none is */
  #alone(answering: number): number | undefined {
    if (answering === 0) return undefined
    const known = this.#answering.slice(0, reachOf(answering) + 1).findLast((times) => times !== undefined)
    return known && median(known)
  }

  /** Interpolates between the known steps, and extrapolates from the largest. */
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
