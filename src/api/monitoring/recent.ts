import type { ErrorKind } from '../../errors.ts'

/** Time is counted in slots, of which the last ones are kept. */
const slotMs = 10_000
const slotsKept = 360
const slotsOfMinute = 60_000 / slotMs

/** Bounds of times in ms: each is this much longer than the one before, so percentiles are exact to some percent. */
const bounds = { least: 0.05, most: 3_600_000, factor: 1.08 }
const buckets = Math.ceil(Math.log(bounds.most / bounds.least) / Math.log(bounds.factor)) + 1

/** How often times were about how long. */
class Spread {
  readonly #counts = new Uint32Array(buckets)
  #count = 0

  /** @param ms a time */
  add(ms: number): void {
    const bucket = Math.floor(Math.log(Math.max(ms, bounds.least) / bounds.least) / Math.log(bounds.factor))
    const index = Math.min(bucket, buckets - 1)
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    this.#count++
  }

  get isEmpty(): boolean {
    return this.#count === 0
  }

  merge(other: Spread): void {
    if (other.#count === 0) return
    const counts = other.#counts
    // Snapshots merge hundreds of these: a loop over iterators takes ten times as long.
    for (let index = 0; index < buckets; index++)
      this.#counts[index] = (this.#counts[index] ?? 0) + (counts[index] ?? 0)
    this.#count += other.#count
  }

  /** @param share 0 to 1 @returns ms; null if there are no times */
  percentile(share: number): number | null {
    if (this.#count === 0) return null
    const rank = Math.max(1, Math.ceil(share * this.#count))
    let below = 0
    const index = this.#counts.findIndex((count) => {
      below += count
      return below >= rank
    })
    return bounds.least * bounds.factor ** (index + 0.5)
  }
}

/** What happened in a stretch of time. */
export class Tallies {
  requests = 0
  text = 0
  image = 0
  video = 0
  audio = 0
  cached = 0
  output = 0
  /** In micro-units of the currency. */
  cost = 0
  /** Images of answers, and those of them that needed no encoding. */
  images = 0
  cachedImages = 0
  readonly errors = new Map<ErrorKind, number>()
  readonly firstToken = new Spread()
  readonly perToken = new Spread()

  failed(kind: ErrorKind, times = 1): void {
    this.errors.set(kind, (this.errors.get(kind) ?? 0) + times)
  }

  get failures(): number {
    return [...this.errors.values()].reduce((sum, times) => sum + times, 0)
  }

  merge(other: Tallies): void {
    for (const key of summed) this[key] += other[key]
    for (const [kind, times] of other.errors) this.failed(kind, times)
    this.firstToken.merge(other.firstToken)
    this.perToken.merge(other.perToken)
  }
}

const summed = [
  ...(['requests', 'text', 'image', 'video', 'audio', 'cached', 'output'] as const),
  ...(['cost', 'images', 'cachedImages'] as const),
] as const

/** What happened in the last hour. Its memory does not grow with what happens. */
export class Recent {
  readonly #slots: ({ number: number; tallies: Tallies } | undefined)[] = []
  readonly #began = performance.now()

  /** Of this moment. */
  get now(): Tallies {
    const number = this.#number
    const found = this.#slots[number % slotsKept]
    if (found?.number === number) return found.tallies
    const tallies = new Tallies()
    this.#slots[number % slotsKept] = { number, tallies }
    return tallies
  }

  /** The last minutes, and how many seconds they have been counted for: less than that just after the start. */
  last(minutes: number): { tallies: Tallies; seconds: number } {
    const slots = minutes * slotsOfMinute
    const from = (this.#number - slots + 1) * slotMs
    const now = performance.now()
    return { tallies: this.#between(0, slots), seconds: (now - Math.max(from, this.#began)) / 1000 }
  }

  /** Each of the last minutes, the oldest first. */
  minutes(count: number): Tallies[] {
    return Array.from({ length: count }, (_, index) => {
      const ago = (count - 1 - index) * slotsOfMinute
      return this.#between(ago, ago + slotsOfMinute)
    })
  }

  get #number(): number {
    return Math.floor(performance.now() / slotMs)
  }

  /** @param from in slots before now, inclusive @param to exclusive */
  #between(from: number, to: number): Tallies {
    const newest = this.#number
    const sum = new Tallies()
    for (const slot of this.#slots) {
      if (slot === undefined) continue
      const ago = newest - slot.number
      if (ago >= from && ago < to) sum.merge(slot.tallies)
    }
    return sum
  }
}
