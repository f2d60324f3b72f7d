import { type Amounts, kinds, type Limits } from './kinds.ts'

/**
 * A window of 60 seconds is counted in slots of one second. A slot counts wholly until its last moment is 60 seconds old:
 * the 61 slots that are counted cover every moment of the last minute, so no minute, wherever it begins, has more than the
 * limit. (A fixed window, or a bucket that is refilled, allows twice the limit in some minutes.)
 */
const slotMs = 1000
const slots = 61

/** An attempt to take amounts from windows. */
export interface Attempt {
  readonly granted: boolean
  /** The slot that the amounts are in. */
  readonly slot: number
  /** What is left of each limit, after a grant. */
  readonly remaining: readonly number[]
  /** The first limit that stands in the way; `concurrentRequests`: too many at the same time. */
  readonly blocked: number | 'concurrentRequests' | undefined
  /** Until what was asked for can be granted, in ms. */
  readonly retryMs: number
}

/** How long windows are kept that nobody asks for, in ms: until all their slots are empty. */
const idleMs = slots * slotMs

/** The windows of all accounts and models, in the memory of this process. */
export class MemoryWindows {
  readonly #now: () => number
  readonly #windows = new Map<string, Windows>()
  #sweptAt: number

  /** @param now the time in ms, which never goes back */
  constructor(now: () => number) {
    this.#now = now
    this.#sweptAt = now()
  }

  /** Takes all amounts, or nothing. */
  take(name: string, limits: Limits, concurrent: number, amounts: Amounts): Attempt {
    const now = this.#now()
    this.#sweep(now)
    const windows = this.#windows.get(name) ?? new Windows(now)
    this.#windows.set(name, windows)
    return windows.take(now, limits, concurrent, amounts)
  }

  /** Gives back `unused` of what was taken in a slot, and takes `extra` now, whatever the limits are. Ends the request. */
  settle(name: string, slot: number, unused: Amounts, extra: Amounts): void {
    this.#windows.get(name)?.settle(this.#now(), slot, unused, extra)
  }

  /** What is in use of each kind. */
  used(name: string): readonly number[] {
    return this.#windows.get(name)?.used(this.#now()) ?? kinds.map(() => 0)
  }

  #sweep(now: number): void {
    if (now - this.#sweptAt < idleMs) return
    this.#sweptAt = now
    for (const [name, windows] of this.#windows) if (windows.isIdle(now)) this.#windows.delete(name)
  }
}

/** The windows of one account and one model, one for each kind. */
class Windows {
  /** The amounts of each kind in each slot: `kind * slots + slot % slots`. */
  readonly #amounts = new Float64Array(kinds.length * slots)
  readonly #totals = new Float64Array(kinds.length)
  #newest: number
  #running = 0

  constructor(now: number) {
    this.#newest = Math.floor(now / slotMs)
  }

  take(now: number, limits: Limits, concurrent: number, amounts: Amounts): Attempt {
    this.#advance(now)
    const blocked = this.#blocked(limits, amounts)
    const waits = blocked.map((kind) => this.#wait(kind, now, limits[kind] ?? 0, amounts[kind] ?? 0))
    const granted = blocked.length === 0 && this.#running < concurrent
    if (granted) {
      this.#running++
      for (const kind of kinds.keys()) this.#add(kind, amounts[kind] ?? 0)
    }
    return {
      granted,
      slot: this.#newest,
      remaining: kinds.map((_, kind) => Math.max(0, (limits[kind] ?? 0) - (this.#totals[kind] ?? 0))),
      blocked: granted ? undefined : (blocked[0] ?? 'concurrentRequests'),
      retryMs: granted ? 0 : Math.max(slotMs, ...waits),
    }
  }

  settle(now: number, slot: number, unused: Amounts, extra: Amounts): void {
    this.#advance(now)
    this.#running--
    for (const kind of kinds.keys()) {
      this.#add(kind, extra[kind] ?? 0)
      // What has left the window has been given back.
      if (slot > this.#newest - slots) this.#add(kind, -(unused[kind] ?? 0), slot)
    }
  }

  used(now: number): readonly number[] {
    this.#advance(now)
    return [...this.#totals]
  }

  isIdle(now: number): boolean {
    return this.#running === 0 && Math.floor(now / slotMs) - this.#newest >= slots
  }

  #blocked(limits: Limits, amounts: Amounts): number[] {
    return [...kinds.keys()].filter((kind) => {
      const amount = amounts[kind] ?? 0
      return amount > 0 && (this.#totals[kind] ?? 0) + amount > (limits[kind] ?? 0)
    })
  }

  /** Until enough slots have left the window. Infinity for an amount above the limit. */
  #wait(kind: number, now: number, limit: number, amount: number): number {
    let excess = (this.#totals[kind] ?? 0) + amount - limit
    for (let slot = this.#newest - slots + 1; slot <= this.#newest; slot++) {
      excess -= this.#amounts[kind * slots + (slot % slots)] ?? 0
      if (excess <= 0) return (slot + slots) * slotMs - now
    }
    return Number.POSITIVE_INFINITY
  }

  #add(kind: number, amount: number, slot = this.#newest): void {
    const at = kind * slots + (slot % slots)
    this.#amounts[at] = (this.#amounts[at] ?? 0) + amount
    this.#totals[kind] = (this.#totals[kind] ?? 0) + amount
  }

  /** Empties the slots that have left the window. */
  #advance(now: number): void {
    const slot = Math.floor(now / slotMs)
    if (slot - this.#newest >= slots) {
      this.#amounts.fill(0)
      this.#totals.fill(0)
      this.#newest = slot
    }
    while (this.#newest < slot) {
      this.#newest++
      for (const kind of kinds.keys()) {
        const at = kind * slots + (this.#newest % slots)
        this.#totals[kind] = (this.#totals[kind] ?? 0) - (this.#amounts[at] ?? 0)
        this.#amounts[at] = 0
      }
    }
  }
}
