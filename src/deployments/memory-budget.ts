import { setTimeout as sleep } from 'node:timers/promises'
import { orAborted } from '../abort.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { cancelled, OrielError } from '../errors.ts'
import { bytesText } from '../sizes.ts'

/** A model that takes memory. */
export interface Resident {
  readonly bytes: number
  /** Requests that run in it. */
  readonly users: number
  /** When it was used last, by `performance.now()`. */
  readonly usedAt: number
  /** A resident that is still loading cannot be evicted, nor one that is pinned. */
  readonly evictable: boolean
  /** Whether it keeps its memory though others need it. */
  readonly pinned: boolean
  /** Frees its memory. Called only while it has no users. */
  unload(): Promise<void>
  /** Its eviction is cancelled. */
  reopen(): void
}

/** Memory that work other than answers has taken. */
export interface Reserved {
  readonly bytes: number
  /** Gives back what is not needed. */
  shrink(bytes: number): void
  release(): void
}

/** How often memory is looked for that busy models have, in ms. */
const lookMs = 500

/** `draining`: it takes no new users and is unloaded when the last one leaves. */
type State = 'open' | 'draining' | 'unloading'

/**
 * Decides which models are in memory, within a bound. To admit one, it evicts others: idle ones before busy ones, the
 * least recently used first. A busy one drains first, so that running requests finish and no request waits forever.
 */
export class MemoryBudget {
  readonly bytes: number
  readonly #residents = new Map<Resident, State>()
  readonly #waiting = new Set<{ resident: Resident; admitted: Deferred<void>; isAdmitted: boolean }>()

  constructor(bytes: number) {
    this.bytes = bytes
  }

  get taken(): number {
    return sum(this.#residents.keys())
  }

  /** Whether a resident takes new users. */
  isOpen(resident: Resident): boolean {
    return this.#residents.get(resident) === 'open'
  }

  /** The residents whose memory the waiting ones need. */
  get leaving(): Resident[] {
    return this.#inState((state) => state !== 'open')
  }

  /** Whether there is memory for so many bytes now, without an eviction. */
  hasRoom(bytes: number): boolean {
    return this.#waiting.size === 0 && this.taken + bytes <= this.bytes
  }

  /**
   * Waits for memory and takes it.
   * @throws OrielError `cancelled` when the signal aborts first; `precondition_failed` if pinned ones leave too little
   */
  async admit(resident: Resident, signal: AbortSignal): Promise<void> {
    const refusal = this.#refusalOf(resident)
    if (refusal !== undefined) throw refusal
    const entry = { resident, admitted: deferred<void>(), isAdmitted: false }
    this.#waiting.add(entry)
    if (!signal.aborted) this.settle()
    try {
      await orAborted(entry.admitted.promise, signal)
    } catch (error) {
      this.#waiting.delete(entry)
      if (entry.isAdmitted) this.#residents.delete(resident)
      this.settle()
      throw error
    }
  }

  /**
   * Waits for memory for other work than answers, and takes it. Idle models make room for it, busy ones do not.
   * @throws OrielError as `admit` does
   */
  async reserve(bytes: number, signal: AbortSignal): Promise<Reserved> {
    const resident: Resident & { bytes: number } = {
      ...{ bytes, users: 1, usedAt: Number.POSITIVE_INFINITY, evictable: false, pinned: true },
      unload: async () => {},
      reopen: () => {},
    }
    while (!signal.aborted && this.#pinnedBytes + bytes <= this.bytes) {
      const staying = [...this.#residents.keys()].filter((one) => !one.evictable || one.users > 0)
      if (this.#waiting.size === 0 && sum(staying) + bytes <= this.bytes) break
      await sleep(lookMs, undefined, { signal }).catch(() => {})
    }
    if (signal.aborted) throw cancelled()
    await this.admit(resident, signal)
    return {
      get bytes() {
        return resident.bytes
      },
      shrink: (wanted) => {
        resident.bytes = Math.min(resident.bytes, wanted)
        this.settle()
      },
      release: () => this.release(resident),
    }
  }

  /** Frees the memory of a resident that has been unloaded. */
  release(resident: Resident): void {
    this.#residents.delete(resident)
    this.settle()
  }

  evict(resident: Resident): void {
    if (!this.isOpen(resident) || resident.users > 0) return
    this.#unload(resident)
  }

  /** To be called when a resident takes more than before: idle ones make room, as far as that is possible. */
  grow(resident: Resident): void {
    const idle = this.#inState((state) => state === 'open')
      .filter((one) => one !== resident && one.evictable && one.users === 0)
      .toSorted((a, b) => a.usedAt - b.usedAt)
    let missing = this.taken - this.bytes
    for (const one of idle) {
      if (missing <= 0) return
      missing -= one.bytes
      this.#unload(one)
    }
  }

  /** To be called when a resident has become idle, evictable or pinned. */
  settle(): void {
    this.#refuseWaiting()
    const evicted = this.#choose()
    for (const [resident, state] of this.#residents) {
      if (state === 'open' && evicted.has(resident)) this.#residents.set(resident, 'draining')
      if (state === 'draining' && !evicted.has(resident)) {
        this.#residents.set(resident, 'open')
        resident.reopen()
      }
    }
    for (const resident of evicted) if (resident.users === 0) this.#unload(resident)
    this.#admitWaiting()
  }

  #unload(resident: Resident): void {
    this.#residents.set(resident, 'unloading')
    void resident.unload().finally(() => this.release(resident))
  }

  /** Chooses the residents to evict, anew each time: when another becomes idle, a draining one may stay. */
  #choose(): Set<Resident> {
    const present = this.#inState((state) => state !== 'unloading')
    const candidates = present
      .filter(({ evictable }) => evictable)
      .toSorted((a, b) => Math.min(a.users, 1) - Math.min(b.users, 1) || a.usedAt - b.usedAt)
    const evicted = new Set<Resident>()
    let free = this.bytes - sum(present)
    for (const { resident } of this.#waiting) {
      free -= resident.bytes
      for (const candidate of candidates) {
        if (free >= 0) break
        if (evicted.has(candidate)) continue
        evicted.add(candidate)
        free += candidate.bytes
      }
      if (free < 0) break
    }
    // Small ones that were chosen first may turn out not to be needed.
    for (const resident of evicted)
      if (free >= resident.bytes) {
        evicted.delete(resident)
        free -= resident.bytes
      }
    return evicted
  }

  /** Admits in the order of arrival: memory for an earlier resident is not given to a later one. */
  #admitWaiting(): void {
    let free = this.bytes - sum(this.#inState((state) => state === 'open'))
    for (const entry of this.#waiting) {
      const { resident, admitted } = entry
      free -= resident.bytes
      if (free < 0) return
      if (this.#residents.has(resident) || this.taken + resident.bytes > this.bytes) continue
      this.#waiting.delete(entry)
      this.#residents.set(resident, 'open')
      entry.isAdmitted = true
      admitted.resolve()
    }
  }

  /** One that waits may never fit beside what was pinned meanwhile: it would hold up those behind it. */
  #refuseWaiting(): void {
    for (const entry of this.#waiting) {
      const refusal = this.#refusalOf(entry.resident)
      if (refusal === undefined) continue
      this.#waiting.delete(entry)
      entry.admitted.reject(refusal)
    }
  }

  #refusalOf(resident: Resident): OrielError | undefined {
    const pinned = this.#pinnedBytes - (this.#residents.has(resident) && resident.pinned ? resident.bytes : 0)
    return pinned + resident.bytes > this.bytes ? noRoomBeside(resident, pinned, this.bytes) : undefined
  }

  get #pinnedBytes(): number {
    return sum([...this.#residents.keys()].filter(({ pinned }) => pinned))
  }

  #inState(matches: (state: State) => boolean): Resident[] {
    return [...this.#residents].filter(([, state]) => matches(state)).map(([resident]) => resident)
  }
}

const noRoomBeside = ({ bytes }: Resident, pinned: number, budget: number): OrielError =>
  new OrielError(
    'precondition_failed',
    `It takes ${bytesText(bytes)} of memory. Deployments and training keep ${bytesText(pinned)} of the ${bytesText(budget)} that models may take.`,
    { code: 'memory_pinned' },
  )

const sum = (residents: Iterable<Resident>): number => [...residents].reduce((total, { bytes }) => total + bytes, 0)
