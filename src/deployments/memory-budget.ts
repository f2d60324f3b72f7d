import { type Deferred, deferred } from '../deferred.ts'
import { cancelled } from '../errors.ts'

/** Somebody who takes a part of the memory: a model. */
export interface Tenant {
  readonly bytes: number
  /** Requests that run in it. */
  readonly users: number
  /** When it was used last, by `performance.now()`. */
  readonly usedAt: number
  /** Whether it may be sent away: one that is being loaded may not. */
  readonly settled: boolean
  /** Sends it away. Only called while nobody uses it. */
  leave(): Promise<void>
  /** It was to leave, and may stay after all. */
  stay(): void
}

/**
 * Who is in memory, within a bound. Whoever comes has those leave that it needs the room of: who is idle before who is
 * busy, and who was used longest ago first. A busy one takes no more users and leaves when its last has gone; so nobody
 * waits for ever, and nothing that runs is stopped.
 */
export class MemoryBudget {
  readonly bytes: number
  readonly #tenants = new Map<Tenant, 'stays' | 'leaves' | 'goes'>()
  #coming: { tenant: Tenant; granted: Deferred<void> }[] = []

  constructor(bytes: number) {
    this.bytes = bytes
  }

  /** Bytes that are given away. */
  get taken(): number {
    return sum(this.#tenants.keys())
  }

  /** Whether a tenant takes users: it is in, and not on its way out. */
  isOpen(tenant: Tenant): boolean {
    return this.#tenants.get(tenant) === 'stays'
  }

  /** Who stands in the way of those that wait. */
  get leaving(): Tenant[] {
    return [...this.#tenants].filter(([, state]) => state !== 'stays').map(([tenant]) => tenant)
  }

  /** Waits for room, and takes it. @throws OrielError `cancelled` when the signal aborts first */
  async admit(tenant: Tenant, signal: AbortSignal): Promise<void> {
    const granted = deferred<void>()
    const entry = { tenant, granted }
    const cancel = (): void => {
      if (!this.#coming.includes(entry)) return
      this.#coming = this.#coming.filter((one) => one !== entry)
      granted.reject(cancelled())
      this.settle()
    }
    this.#coming.push(entry)
    signal.addEventListener('abort', cancel, { once: true })
    if (signal.aborted) cancel()
    this.settle()
    return granted.promise.finally(() => signal.removeEventListener('abort', cancel))
  }

  /** Gives the room of one that is gone to others. */
  release(tenant: Tenant): void {
    this.#tenants.delete(tenant)
    this.settle()
  }

  /** Sends somebody away whom nobody uses. */
  dismiss(tenant: Tenant): void {
    if (this.#tenants.get(tenant) !== 'stays' || tenant.users > 0) return
    this.#tenants.set(tenant, 'goes')
    void tenant.leave().finally(() => this.release(tenant))
  }

  /** To be called when a tenant has become idle, or settled. */
  settle(): void {
    const leaving = this.#whoMustLeave()
    for (const [tenant, state] of this.#tenants) {
      if (state === 'stays' && leaving.has(tenant)) this.#tenants.set(tenant, 'leaves')
      if (state === 'leaves' && !leaving.has(tenant)) {
        this.#tenants.set(tenant, 'stays')
        tenant.stay()
      }
    }
    for (const tenant of leaving)
      if (tenant.users === 0) {
        this.#tenants.set(tenant, 'stays')
        this.dismiss(tenant)
      }
    this.#letIn()
  }

  /** Found anew each time, so that one who was to leave may stay when another has become idle. */
  #whoMustLeave(): Set<Tenant> {
    const staying = [...this.#tenants].filter(([, state]) => state !== 'goes').map(([tenant]) => tenant)
    const candidates = staying
      .filter(({ settled }) => settled)
      .toSorted((a, b) => Math.min(a.users, 1) - Math.min(b.users, 1) || a.usedAt - b.usedAt)
    const leaving = new Set<Tenant>()
    let room = this.bytes - sum(staying)
    for (const { tenant } of this.#coming) {
      room -= tenant.bytes
      for (const candidate of candidates) {
        if (room >= 0) break
        if (leaving.has(candidate)) continue
        leaving.add(candidate)
        room += candidate.bytes
      }
      if (room < 0) break
    }
    // Small ones that went first may turn out not to matter.
    for (const tenant of leaving)
      if (room >= tenant.bytes) {
        leaving.delete(tenant)
        room -= tenant.bytes
      }
    return leaving
  }

  #letIn(): void {
    // What those before it will have is not for one that comes later.
    let room = this.bytes - sum([...this.#tenants].filter(([, state]) => state === 'stays').map(([tenant]) => tenant))
    for (const entry of [...this.#coming]) {
      const { tenant, granted } = entry
      room -= tenant.bytes
      if (room < 0) return
      if (this.#tenants.has(tenant) || this.taken + tenant.bytes > this.bytes) continue
      this.#coming = this.#coming.filter((one) => one !== entry)
      this.#tenants.set(tenant, 'stays')
      granted.resolve()
    }
  }
}

const sum = (tenants: Iterable<Tenant>): number => [...tenants].reduce((total, { bytes }) => total + bytes, 0)
