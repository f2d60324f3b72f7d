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
  #timer: NodeJS.Timeout | undefined
  #dueAt = 0
  #running: AbortController | undefined
  #isClosed = false
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
    if (this.#running === undefined) this.#count(0)
  }

  /** A request failed: probes it soon. */
  suspect(): void {
    this.#answeredAt = Number.NEGATIVE_INFINITY
    const soon = intervals.first / 2
    if (this.#running === undefined && this.#dueAt > performance.now() + soon) this.#schedule(soon)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#running?.abort()
  }

  /** Jitter, so that servers that were started together do not probe together. */
  #schedule(ms: number): void {
    clearTimeout(this.#timer)
    const delay = ms * (0.8 + 0.4 * Math.random())
    this.#dueAt = performance.now() + delay
    this.#timer = setTimeout(() => void this.#run(), delay).unref()
  }

  async #run(): Promise<void> {
    if (performance.now() - this.#answeredAt < intervals.usual) return this.#schedule(intervals.usual)
    const works = await this.#works()
    if (this.#isClosed) return
    this.#count(works ? 0 : this.#failures + 1)
    this.#schedule(works ? intervals.usual : Math.min(intervals.last, intervals.first * 2 ** (this.#failures - 1)))
  }

  async #works(): Promise<boolean> {
    const running = new AbortController()
    const timer = setTimeout(() => running.abort(), timeout)
    this.#running = running
    try {
      await orAborted(this.#probing.probe(running.signal), running.signal)
      return true
    } catch {
      return false
    } finally {
      clearTimeout(timer)
      this.#running = undefined
    }
  }

  #count(failures: number): void {
    const before = this.isUp
    this.#failures = failures
    if (this.isUp !== before) this.#probing.onChange(this.isUp)
  }
}
