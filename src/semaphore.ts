import { orAborted } from './abort.ts'
import { type Deferred, deferred } from './deferred.ts'
import { cancelled, type OrielError } from './errors.ts'
import { type Costs, crowdedOut } from './fairness.ts'

export interface SemaphoreLimits {
  readonly capacity: number
  /** Units that one client may hold; a single request for more is granted all the same. Default: the capacity. */
  readonly mostOfOne?: number
  /** Requests that may wait, and the error of one that may not. Default: any number. */
  readonly waiting?: { readonly most: number; full(): OrielError }
  /** Units beyond the capacity, for clients that hold none and have waited for this time, in ms. */
  readonly spare?: { readonly units: number; readonly patienceMs: number }
}

interface Request {
  readonly client: string
  readonly units: number
  readonly granted: Deferred<void>
  /** Whether it has waited long enough for a spare unit. */
  impatient: boolean
  holds: boolean
}

/** Bounds how much of something is in use at one time. Clients take turns; the requests of one are granted in their order. */
export class Semaphore {
  readonly #limits: SemaphoreLimits
  readonly #costs: Costs
  readonly #waiting = new Set<Request>()
  readonly #held = new Map<string, number>()
  #used = 0

  constructor(limits: SemaphoreLimits, costs: Costs) {
    this.#limits = limits
    this.#costs = costs
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * Waits until `units` are free, and takes them. A request for more than the capacity takes all of it.
   * @returns a function that gives the units back, to be called once
   * @throws OrielError `cancelled` when the signal aborts first; the error of a full queue
   */
  async acquire(client: string, units: number, signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) throw cancelled()
    this.#makePlace(client)
    const { capacity, spare } = this.#limits
    const request = requestFor(client, Math.min(units, capacity))
    this.#waiting.add(request)
    this.#grant()
    const timer =
      spare && this.#waiting.has(request)
        ? setTimeout(() => {
            request.impatient = true
            this.#grant()
          }, spare.patienceMs)
        : undefined
    try {
      await orAborted(request.granted.promise, signal)
      return () => this.#giveBack(request)
    } catch (error) {
      // It may have been granted at the moment of the abort.
      if (this.#waiting.delete(request)) this.#grant()
      else if (request.holds) this.#giveBack(request)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Takes units if nobody has to wait for them. @returns a function that gives them back, or undefined */
  tryAcquire(client: string, units: number): (() => void) | undefined {
    const request = requestFor(client, units)
    if (this.#waiting.size > 0 || !this.#hasShare(request) || this.#used + units > this.#limits.capacity)
      return undefined
    this.#take(request)
    return () => this.#giveBack(request)
  }

  #makePlace(client: string): void {
    const { waiting } = this.#limits
    if (waiting === undefined || this.#waiting.size < waiting.most) return
    const leaving = crowdedOut(client, this.#waiting, (request) => request.client)
    if (leaving === undefined) throw waiting.full()
    this.#waiting.delete(leaving)
    leaving.granted.reject(waiting.full())
  }

  #grant(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      this.#waiting.delete(next)
      this.#take(next)
      next.granted.resolve()
    }
  }

  #next(): Request | undefined {
    const { capacity, spare } = this.#limits
    // What does not fit keeps its turn: others must not pass it without end.
    let isFull = false
    for (const [first] of this.#costs.inTurn(this.#waiting, ({ client }) => client)) {
      if (first === undefined || !this.#hasShare(first)) continue
      isFull ||= this.#used + first.units > capacity
      if (!isFull) return first
      const canSpare = first.impatient && !this.#held.has(first.client)
      if (canSpare && this.#used + first.units <= capacity + (spare?.units ?? 0)) return first
    }
    return undefined
  }

  #hasShare({ client, units }: Request): boolean {
    const held = this.#held.get(client) ?? 0
    return held === 0 || held + units <= (this.#limits.mostOfOne ?? this.#limits.capacity)
  }

  #take(request: Request): void {
    const { client, units } = request
    request.holds = true
    this.#used += units
    this.#held.set(client, (this.#held.get(client) ?? 0) + units)
  }

  #giveBack({ client, units }: Request): void {
    this.#used -= units
    const held = (this.#held.get(client) ?? 0) - units
    if (held > 0) this.#held.set(client, held)
    else this.#held.delete(client)
    this.#grant()
  }
}

const requestFor = (client: string, units: number): Request => ({
  client,
  units,
  granted: deferred<void>(),
  impatient: false,
  holds: false,
})
