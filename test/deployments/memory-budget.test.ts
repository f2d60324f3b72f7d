import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryBudget, type Resident } from '../../src/deployments/memory-budget.ts'

/** A model without an engine, which takes a while to unload. */
class Guest implements Resident {
  users = 0
  usedAt = 0
  evictable = false
  pinned = false
  stays = 0
  wrongs: string[] = []
  #gone: (() => void) | undefined
  readonly bytes: number

  constructor(bytes: number) {
    this.bytes = bytes
  }

  get going(): boolean {
    return this.#gone !== undefined
  }

  unload(): Promise<void> {
    if (this.users > 0) this.wrongs.push('evicted while in use')
    if (!this.evictable) this.wrongs.push('evicted before it was loaded')
    return new Promise((resolve) => {
      this.#gone = () => {
        this.evictable = false
        this.#gone = undefined
        resolve()
      }
    })
  }

  reopen(): void {
    this.stays++
  }

  /** Its memory is free again. */
  vanish(): void {
    this.#gone?.()
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))
const never = new AbortController().signal

/** Admits a model for which there is memory. */
async function enter(budget: MemoryBudget, bytes: number, users = 0, usedAt = 0): Promise<Guest> {
  const guest = Object.assign(new Guest(bytes), { users, usedAt })
  await budget.admit(guest, never)
  guest.evictable = true
  budget.settle()
  return guest
}

/** Whether a model has been admitted by now. */
function asks(budget: MemoryBudget, guest: Guest, signal: AbortSignal = never) {
  const asked = { in: false, error: undefined as unknown }
  budget.admit(guest, signal).then(
    () => {
      asked.in = true
    },
    (error: unknown) => {
      asked.error = error
    },
  )
  return asked
}

describe('a budget of memory', () => {
  it('evicts the least recently used model, and no more than needed', async () => {
    const budget = new MemoryBudget(10)
    const [old, young] = [await enter(budget, 5, 0, 1), await enter(budget, 5, 0, 2)]
    const asked = asks(budget, new Guest(4))
    await settled()
    expect([old.going, young.going, asked.in]).toEqual([true, false, false])
    old.vanish()
    await settled()
    expect([asked.in, budget.taken]).toEqual([true, 9])
  })

  it('keeps a small model when a large one must be evicted anyway', async () => {
    const budget = new MemoryBudget(10)
    const [small, large] = [await enter(budget, 1, 0, 1), await enter(budget, 9, 0, 2)]
    asks(budget, new Guest(9))
    await settled()
    expect([small.going, large.going]).toEqual([false, true])
  })

  it('refuses one that waits when what was pinned meanwhile leaves too little for it, and holds nobody up', async () => {
    const budget = new MemoryBudget(12)
    const busy = await enter(budget, 8, 1)
    const large = asks(budget, new Guest(8))
    await settled()
    expect(large).toEqual({ in: false, error: undefined })
    Object.assign(busy, { pinned: true, evictable: false })
    budget.settle()
    await settled()
    expect(large.error).toMatchObject({ kind: 'precondition_failed', code: 'memory_pinned' })
    const small = asks(budget, new Guest(3))
    await settled()
    expect([small.in, budget.taken]).toEqual([true, 11])
  })

  it('evicts idle models before busy ones, and drains busy ones first', async () => {
    const budget = new MemoryBudget(10)
    const [busy, idle] = [await enter(budget, 5, 1, 1), await enter(budget, 5, 0, 2)]
    asks(budget, new Guest(5))
    await settled()
    expect([busy.going, idle.going]).toEqual([false, true])
    idle.vanish()
    await settled()
    const next = asks(budget, new Guest(5))
    await settled()
    expect([busy.going, budget.isOpen(busy), next.in]).toEqual([false, false, false])
    busy.users = 0
    budget.settle()
    expect(busy.going).toBe(true)
    busy.vanish()
    await settled()
    expect(next.in).toBe(true)
  })

  it('reopens a draining model when the waiting one gives up', async () => {
    const budget = new MemoryBudget(10)
    const busy = await enter(budget, 8, 1)
    const gone = new AbortController()
    const asked = asks(budget, new Guest(8), gone.signal)
    await settled()
    expect(budget.isOpen(busy)).toBe(false)
    gone.abort()
    await settled()
    expect([budget.isOpen(busy), busy.stays, asked.error]).toMatchObject([true, 1, { kind: 'cancelled' }])
  })

  it('unloads idle models for one that grows, and no more than needed', async () => {
    const budget = new MemoryBudget(100)
    const [old, recent] = [await enter(budget, 20, 0, 1), await enter(budget, 20, 0, 2)]
    const busy = await enter(budget, 20, 1, 0)
    const growing = Object.assign(new Guest(30), { users: 1 })
    await budget.admit(growing, never)
    Object.assign(growing, { bytes: 50 })
    budget.grow(growing)
    expect([old, recent, busy, growing].map(({ going }) => going)).toEqual([true, false, false, false])
  })

  it('admits a small model while a large one waits for memory', async () => {
    const budget = new MemoryBudget(10)
    await enter(budget, 5, 1)
    const [large, small] = [asks(budget, new Guest(6)), asks(budget, new Guest(3))]
    await settled()
    expect([large.in, small.in]).toEqual([false, true])
  })

  it('reserves memory of idle models for other work, and waits for that of busy ones without a drain', async () => {
    const budget = new MemoryBudget(10)
    const [idle, busy] = [await enter(budget, 4, 0, 1), await enter(budget, 4, 1, 2)]
    const first = budget.reserve(5, never)
    await settled()
    idle.vanish()
    const reserved = await first
    expect([reserved.bytes, budget.taken, busy.going]).toEqual([5, 9, false])
    const stop = new AbortController()
    const second = budget.reserve(5, stop.signal)
    await settled()
    expect([budget.isOpen(busy), budget.taken]).toEqual([true, 9])
    stop.abort()
    await expect(second).rejects.toMatchObject({ kind: 'cancelled' })
    reserved.shrink(2)
    expect([reserved.bytes, budget.taken]).toEqual([2, 6])
    await expect(budget.reserve(9, never)).rejects.toMatchObject({ code: 'memory_pinned' })
    reserved.release()
    expect(budget.taken).toBe(4)
  })

  it('never exceeds its bytes, never evicts a model in use, and admits every model in the end', async () => {
    type Step = { kind: 'come'; bytes: number } | { kind: 'use' | 'end' | 'vanish' | 'give up'; which: number }
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.record({ kind: fc.constant('come' as const), bytes: fc.integer({ min: 1, max: 10 }) }),
      fc.record({ kind: fc.constantFrom('use' as const, 'end', 'vanish', 'give up'), which: fc.nat(20) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const budget = new MemoryBudget(10)
        const all: { guest: Guest; asked: ReturnType<typeof asks>; stop: AbortController; given: boolean }[] = []
        let time = 0
        const check = async (): Promise<void> => {
          await settled()
          for (const { guest, asked } of all)
            if (asked.in && !guest.evictable && !guest.going && budget.isOpen(guest)) {
              guest.evictable = true
              budget.settle()
              await settled()
            }
          expect(budget.taken).toBeLessThanOrEqual(10)
          expect(all.flatMap(({ guest }) => guest.wrongs)).toEqual([])
        }
        for (const one of steps) {
          if (one.kind === 'come') {
            const [guest, stop] = [new Guest(one.bytes), new AbortController()]
            all.push({ guest, asked: asks(budget, guest, stop.signal), stop, given: false })
          } else {
            const chosen = all[one.which % Math.max(1, all.length)]
            const guest = chosen?.guest
            if (chosen === undefined || guest === undefined) continue
            if (one.kind === 'use' && guest.evictable && budget.isOpen(guest)) {
              guest.users++
              guest.usedAt = ++time
            } else if (one.kind === 'end' && guest.users > 0) {
              guest.users--
              budget.settle()
            } else if (one.kind === 'vanish') guest.vanish()
            else if (one.kind === 'give up' && !chosen.asked.in) {
              chosen.given = true
              chosen.stop.abort()
            }
          }
          await check()
        }
        for (let round = 0; round < 3 * all.length + 3; round++) {
          for (const { guest } of all) guest.users = 0
          budget.settle()
          for (const { guest } of all) guest.vanish()
          await check()
        }
        expect(all.filter(({ asked, given }) => !asked.in && !given)).toEqual([])
      }),
      { numRuns: 300 },
    )
  })
})
