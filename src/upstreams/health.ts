import { orAborted } from '../abort.ts'

/** How often an upstream is probed that nobody asks, and how soon after a failed probe, in ms. */
const intervals = { usual: 15_000, first: 1000, last: 30_000 }
/** How long a probe may take, in ms. */
const timeout = 5000
/** Probes in a row that fail until it counts as down: one may fail because it is busy. */
const mostFailures = 2

export interface Probing {
  /** Asks whether it works. @throws if it does not */
  probe(signal: AbortSignal): Promise<void>
  onChange(isUp: boolean): void
}

/** Finds out from time to time whether an upstream works. Its answers to requests say so too. */
export class Health {
  readonly #probing: Probing
  readonly #closed = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #dueAt = 0
  #isProbing = false
  #failures = 0
  #answeredAt = Number.NEGATIVE_INFINITY

  constructor(probing: Probing) {
    this.#probing = probing
    this.#schedule(0)
  }

  get isUp(): boolean {
    return this.#failures < mostFailures
  }

  /** A request was answered: a probe could not tell more. */
  answered(): void {
    this.#answeredAt = performance.now()
    if (!this.#isProbing) this.#count(0)
  }

  /** A request failed: probes it soon. */
  suspect(): void {
    this.#answeredAt = Number.NEGATIVE_INFINITY
    const soon = intervals.first / 2
    if (!this.#isProbing && this.#dueAt > performance.now() + soon) this.#schedule(soon)
  }

  close(): void {
    this.#closed.abort()
    clearTimeout(this.#timer)
  }

  /** Jitter, so that servers that were started together do not probe together. */
  #schedule(ms: number): void {
    if (this.#closed.signal.aborted) return
    clearTimeout(this.#timer)
    const delay = ms * (0.8 + 0.4 * Math.random())
    this.#dueAt = performance.now() + delay
    this.#timer = setTimeout(() => void this.#run(), delay).unref()
  }

  async #run(): Promise<void> {
    if (performance.now() - this.#answeredAt < intervals.usual) return this.#schedule(intervals.usual)
    this.#isProbing = true
    const works = await this.#works()
    this.#isProbing = false
    if (this.#closed.signal.aborted) return
    this.#count(works ? 0 : this.#failures + 1)
    this.#schedule(works ? intervals.usual : Math.min(intervals.last, intervals.first * 2 ** (this.#failures - 1)))
  }

  async #works(): Promise<boolean> {
    try {
      const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(timeout)])
      await orAborted(this.#probing.probe(signal), signal)
      return true
    } catch {
      return false
    }
  }

  #count(failures: number): void {
    const before = this.isUp
    this.#failures = failures
    if (this.isUp !== before) this.#probing.onChange(this.isUp)
  }
}
