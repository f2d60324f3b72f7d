/** Faults in a row that take a target out. */
const mostFaults = 5
/** How long it is out, in ms: twice as long each time, until it answers. */
const pauses = { first: 1000, last: 30_000 }

/**
 * Leaves a target out that fails again and again, and lets one request try whether it works again. It is our own, since those
 * of libraries know neither a stream, whose success is known at its end, nor when they close again, nor a request that is
 * cancelled, which says nothing about the target.
 */
export class Breaker {
  #faults = 0
  #openings = 0
  /** Rests without an answer between them. */
  #rests = 0
  /** When it may be asked again; it may always be unless this is later than now. */
  #until = 0
  #isTrying = false

  /** Time until a request may be given to it, in ms. Infinity: until the request that tries it has begun or failed. */
  get waitMs(): number {
    if (this.#isTrying) return Number.POSITIVE_INFINITY
    return Math.max(0, this.#until - performance.now())
  }

  get isOpen(): boolean {
    return this.#faults >= mostFaults
  }

  /** A request is given to it. */
  ask(): void {
    this.#isTrying = this.isOpen
  }

  /** It has begun to answer: others may ask it too. One more fault takes it out again. */
  begin(): void {
    this.#rests = 0
    if (!this.#isTrying) return
    this.#isTrying = false
    this.#faults = mostFaults - 1
  }

  /** It has answered to the end, or refused a request that was wrong. */
  succeed(): void {
    this.#isTrying = false
    this.#faults = 0
    this.#openings = 0
    this.#rests = 0
  }

  /** @returns whether it is out from now on */
  fail(): boolean {
    this.#isTrying = false
    this.#faults++
    // Those that fail together with others are no reason to leave it out longer.
    if (!this.isOpen || this.waitMs > 0) return false
    this.rest(Math.min(pauses.last, pauses.first * 2 ** this.#openings++))
    return true
  }

  /** The request was cancelled. */
  giveUp(): void {
    this.#isTrying = false
  }

  /** It wants to be left alone. */
  rest(ms: number): void {
    this.#until = Math.max(this.#until, performance.now() + ms)
  }

  /** It is busy, and does not say for how long. @param ms for the first time; then twice as long each time */
  restLonger(ms: number): void {
    // Those that it turns away together with others are no reason to leave it alone longer.
    if (this.#until <= performance.now()) this.rest(Math.min(pauses.last, ms * 2 ** this.#rests++))
  }
}
