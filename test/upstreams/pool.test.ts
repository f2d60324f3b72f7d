import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { deferred } from '../../src/deferred.ts'
import { cancelled, OrielError } from '../../src/errors.ts'
import { AttemptFailed, type FailureDetails } from '../../src/upstreams/attempt-failed.ts'
import { createPool, type Pool } from '../../src/upstreams/pool.ts'
import type { Target } from '../../src/upstreams/target.ts'
import { silent, targetsOf } from './targets.ts'

const pools: Pool[] = []
beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  for (const pool of pools.splice(0)) pool.close()
  vi.useRealTimers()
})

const poolOf = (probe: (target: Target['upstream']) => Promise<void> = async () => {}): Pool => {
  const pool = createPool({ probe, log: silent })
  pools.push(pool)
  return pool
}

const never = new AbortController().signal
const failure = (details: Partial<FailureDetails> = {}): AttemptFailed => {
  const kind = details.retryAfterMs == null ? 'engine_failed' : 'overloaded'
  return new AttemptFailed(new OrielError(kind, 'It fails.', { code: 'fails' }), {
    ...{ elsewhere: true, isFault: true },
    ...details,
  })
}
const refused = failure()
const busy = (retryAfterMs: number) => failure({ isFault: false, retryAfterMs })

/** Answers at once with the name of the target, unless it fails. */
const answering =
  (failures: ReadonlyMap<Target, Error> = new Map(), asked: Target[] = []) =>
  async (target: Target) => {
    asked.push(target)
    const error = failures.get(target)
    if (error !== undefined) throw error
    return { value: target, ended: Promise.resolve() }
  }

/** Where a request for `name` goes first. */
const placeOf = async (pool: Pool, targets: readonly Target[], name = 'cat'): Promise<Target> =>
  pool.run(targets, [name], never, answering())

const others = (targets: readonly Target[], one: Target): Target[] => targets.filter((target) => target !== one)

describe('a request', () => {
  it('is tried at the next target if nothing of an answer came, and goes on there', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1, 1])]
    const own = await placeOf(pool, targets)
    const asked: Target[] = []
    const there = await pool.run(targets, ['cat', 'chat'], never, answering(new Map([[own, refused]]), asked))
    expect(asked).toEqual([own, there])
    expect(pool.state(own.upstream)).toMatchObject({ requests: 2, failures: 1, retries: 1, inFlight: 0 })
    // What the engine there has seen of the chat is there.
    expect(await pool.run(targets, ['cat', 'chat', 'next'], never, answering())).toBe(there)
  })

  it('is not tried again if it is wrong itself, or if part of the answer has come', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1, 1])]
    for (const error of [failure({ elsewhere: false }), failure({ elsewhere: false, isFault: false }), cancelled()]) {
      const asked: Target[] = []
      const all = new Map(targets.map((target) => [target, error]))
      const shown = error instanceof AttemptFailed ? error.error : error
      await expect(pool.run(targets, ['cat'], never, answering(all, asked))).rejects.toBe(shown)
      expect(asked.length).toBe(1)
    }
  })

  it('is never tried again after it has begun', async () => {
    const steps = fc.array(fc.constantFrom('refuses', 'is busy', 'breaks off', 'answers'), {
      minLength: 4,
      maxLength: 40,
    })
    await fc.assert(
      fc.asyncProperty(steps, async (steps) => {
        const [pool, targets] = [poolOf(), targetsOf([1, 1, 1])]
        for (let at = 0; at < steps.length; ) {
          let begun = 0
          let tries = 0
          const work = pool.run(targets, [String(at)], never, async (target) => {
            tries++
            expect(begun).toBe(0)
            const step = steps[at++] ?? 'answers'
            if (step === 'refuses') throw refused
            if (step === 'is busy') throw busy(100)
            begun++
            const ended = step === 'answers' ? Promise.resolve() : Promise.reject(failure({ elsewhere: true }))
            return { value: target, ended }
          })
          await work.catch((error) => expect(error).toBeInstanceOf(OrielError))
          expect(begun).toBeLessThanOrEqual(1)
          expect(tries).toBeLessThanOrEqual(3)
          if (tries === 0) at++
          await vi.advanceTimersByTimeAsync(50)
        }
      }),
      { numRuns: 50 },
    )
  })

  it('that is cancelled between two attempts makes no second one', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1])]
    const leaving = new AbortController()
    const attempt = vi.fn(async () => {
      leaving.abort()
      throw refused
    })
    await expect(pool.run(targets, ['cat'], leaving.signal, attempt)).rejects.toMatchObject({ kind: 'cancelled' })
    expect(attempt).toHaveBeenCalledTimes(1)
  })

  describe('that a target cannot answer', () => {
    const unable = (name: string) => new OrielError('unsupported_media', name, { elsewhere: true })
    /** Fails for all but the last target. */
    const refusing = (targets: readonly Target[]) => {
      const refusals = new Map(targets.slice(0, -1).map((target, at) => [target, unable(String(at))]))
      const prepare = async (target: Target) => {
        const refusal = refusals.get(target)
        if (refusal !== undefined) throw refusal
      }
      return { refusals, prepare }
    }

    it('goes to another one that can, however many cannot, and that is no retry', async () => {
      const [pool, targets] = [poolOf(), targetsOf([1, 1, 1, 1, 1])]
      const { refusals, prepare } = refusing(targets)
      const last = targets.at(-1)
      for (let time = 0; time < 50; time++) {
        expect(await pool.run(targets, [String(time)], never, answering(), prepare)).toBe(last)
        expect(await pool.run(targets, [String(time)], never, answering(refusals))).toBe(last)
      }
      for (const { upstream } of targets)
        expect(pool.state(upstream)).toMatchObject({ failures: 0, retries: 0, inFlight: 0, isUp: true })
    })

    it('is refused in the words of the first one if none can', async () => {
      const [pool, targets] = [poolOf(), targetsOf([1, 1])]
      const own = await placeOf(pool, targets)
      const refusals = new Map(targets.map((target) => [target, unable(target.upstream.settings.name)]))
      await expect(pool.run(targets, ['cat'], never, answering(refusals))).rejects.toBe(refusals.get(own))
    })

    it('waits for the one that can, if that is busy or fails', async () => {
      const [pool, targets] = [poolOf(), targetsOf([1, 1])]
      const { prepare } = refusing(targets)
      const can = targets.at(-1) as Target
      const full = answering(new Map([[can, busy(5000)]]))
      for (const attempt of [full, answering()])
        await expect(pool.run(targets, ['cat'], never, attempt, prepare)).rejects.toMatchObject({
          ...{ kind: 'overloaded', retryAfter: 5 },
        })
      await vi.advanceTimersByTimeAsync(5000)
      await expect(pool.run(targets, ['cat'], never, answering(new Map([[can, refused]])), prepare)).rejects.toBe(
        refused.error,
      )
    })

    it('proves nothing of a target: faults before and after it are in a row', async () => {
      const [pool, targets] = [poolOf(), targetsOf([1])]
      const failing = async (error: Error) => {
        const all = new Map(targets.map((target) => [target, error]))
        await pool.run(targets, ['cat'], never, answering(all)).catch(() => {})
      }
      for (let time = 0; time < 5; time++) {
        await failing(refused)
        await failing(unable('a'))
      }
      expect(pool.state((targets[0] as Target).upstream).isUp).toBe(false)
    })

    it('is tried at no other one if it is at fault itself', async () => {
      const [pool, targets] = [poolOf(), targetsOf([1, 1])]
      const damaged = new OrielError('unreadable_media', 'The image is damaged.')
      const prepare = vi.fn(() => Promise.reject(damaged))
      await expect(pool.run(targets, ['cat'], never, answering(), prepare)).rejects.toBe(damaged)
      expect(prepare).toHaveBeenCalledTimes(1)
    })
  })

  it('may fail three targets at most, since it may be the reason', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1, 1, 1, 1])]
    const asked: Target[] = []
    const all = new Map(targets.map((target) => [target, refused]))
    await expect(pool.run(targets, ['cat'], never, answering(all, asked))).rejects.toBe(refused.error)
    expect(new Set(asked).size).toBe(3)
  })
})

describe('a target', () => {
  it('that is busy with its part of the requests gets no more, however long they take', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1, 1])]
    const ends = Array.from({ length: 30 }, () => deferred<void>())
    for (const end of ends) await pool.run(targets, ['cat'], never, async () => ({ value: 0, ended: end.promise }))
    const loads = targets.map(({ upstream }) => pool.state(upstream).inFlight)
    expect(Math.max(...loads)).toBe(Math.ceil((1.25 * 30) / 3))
    for (const end of ends) end.resolve()
    await vi.advanceTimersByTimeAsync(0)
    expect(targets.map(({ upstream }) => pool.state(upstream).inFlight)).toEqual([0, 0, 0])
  })

  it('has no more requests than its upstream may have', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1], { maxInFlight: 2 })]
    const end = deferred<void>()
    const hold = () => pool.run(targets, ['cat'], never, async () => ({ value: 0, ended: end.promise }))
    for (let time = 0; time < 4; time++) await hold()
    await expect(hold()).rejects.toMatchObject({ kind: 'overloaded', retryAfter: 1 })
    end.resolve()
    await vi.advanceTimersByTimeAsync(0)
    await hold()
  })

  it('has no place taken by a request whose files are fetched', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1], { maxInFlight: 1 })]
    const fetched = deferred<void>()
    const slow = pool.run(targets, ['cat'], never, answering(), () => fetched.promise)
    const end = deferred<void>()
    await pool.run(targets, ['cat'], never, async () => ({ value: 0, ended: end.promise }))
    fetched.resolve()
    // Somebody else has the place now.
    await expect(slow).rejects.toMatchObject({ kind: 'overloaded' })
    end.resolve()
  })

  it('that asks for it is left alone for that time', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1])]
    const own = await placeOf(pool, targets)
    const [other] = others(targets, own)
    const rests = new Map([[own, busy(5000)]])
    expect(await pool.run(targets, ['cat'], never, answering(rests))).toBe(other)
    const asked: Target[] = []
    expect(await pool.run(targets, ['cat'], never, answering(rests, asked))).toBe(other)
    expect(asked).toEqual([other])
    await vi.advanceTimersByTimeAsync(5000)
    await pool.run(targets, ['dog'], never, answering(rests, asked))
  })

  it('that does not say for how long it is busy is left alone twice as long each time, until it answers', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1])]
    const full = new Map(
      targets.map((target) => [target, failure({ isFault: false, retryAfterMs: 1000, isGuess: true })]),
    )
    for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
      const asked: Target[] = []
      // Those that are turned away together count once.
      const together = [1, 2, 3].map(() => pool.run(targets, ['cat'], never, answering(full, asked)))
      for (const one of together) await expect(one).rejects.toThrow('It fails.')
      await vi.advanceTimersByTimeAsync(seconds * 1000 - 1)
      await expect(pool.run(targets, ['cat'], never, answering(full, asked))).rejects.toThrow('busy')
      expect(asked.length).toBe(3)
      await vi.advanceTimersByTimeAsync(1)
    }
    await placeOf(pool, targets)
    await expect(pool.run(targets, ['cat'], never, answering(full))).rejects.toThrow('It fails.')
    await vi.advanceTimersByTimeAsync(1000)
    await placeOf(pool, targets)
  })

  it('that is always busy costs no request its answer, since another one has time', async () => {
    for (const always of [busy(1000), failure({ isFault: false, retryAfterMs: 1000, isGuess: true })]) {
      const [pool, targets] = [poolOf(), targetsOf([1, 1])]
      const [full, free] = targets as [Target, Target]
      for (let time = 0; time < 300; time++) {
        expect(await pool.run(targets, [String(time)], never, answering(new Map([[full, always]])))).toBe(free)
        await vi.advanceTimersByTimeAsync(1000)
      }
      // It was asked from time to time whether it still is, and gets its part again when it is not.
      expect(pool.state(full.upstream).retries).toBeGreaterThan(10)
      expect(pool.state(full.upstream).retries).toBeLessThan(25)
      const asked: Target[] = []
      for (let time = 0; time < 100; time++) {
        await pool.run(targets, [`new ${time}`], never, answering(new Map(), asked))
        await vi.advanceTimersByTimeAsync(1000)
      }
      expect(asked.filter((target) => target === full).length).toBeGreaterThan(20)
    }
  })

  it('that fails again and again is left out, and comes back when it has answered one request', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1])]
    const own = await placeOf(pool, targets)
    const [other] = others(targets, own)
    const failing = new Map([[own, refused]])
    for (let time = 0; time < 5; time++) await pool.run(targets, [String(time)], never, answering(failing, []))
    for (let time = 0; time < 20; time++) await pool.run(targets, [String(time)], never, answering(failing))
    const asked: Target[] = []
    for (let time = 0; time < 20; time++) await pool.run(targets, [String(time)], never, answering(failing, asked))
    expect(new Set(asked)).toEqual(new Set([other]))
    expect(pool.state(own.upstream).isUp).toBe(false)
    await vi.advanceTimersByTimeAsync(1000)
    // Chats that went elsewhere meanwhile stay there.
    for (let time = 0; time < 20; time++) expect(await placeOf(pool, targets, String(time))).toBe(other)
    expect(await placeOf(pool, targets, 'cat')).toBe(own)
    for (let time = 0; time < 20; time++) await pool.run(targets, [`new ${time}`], never, answering(new Map(), asked))
    expect(asked).toContain(own)
    expect(pool.state(own.upstream).isUp).toBe(true)
  })

  it('whose answers break off is left out too', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1])]
    const breaks = async () => ({ value: 0, ended: Promise.reject(failure({ elsewhere: false })) })
    for (let time = 0; time < 5; time++) {
      await pool.run(targets, ['cat'], never, breaks)
      await vi.advanceTimersByTimeAsync(0)
    }
    await expect(pool.run(targets, ['cat'], never, breaks)).rejects.toMatchObject({
      kind: 'engine_failed',
      code: 'upstream_unavailable',
      retryAfter: 1,
    })
  })

  it('that answers that a request is wrong works', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1])]
    const wrong = failure({ elsewhere: false, isFault: false })
    for (let time = 0; time < 20; time++) {
      const answers = answering(new Map(targets.map((target) => [target, time % 5 === 4 ? wrong : refused])))
      await pool.run(targets, ['cat'], never, answers).catch(() => {})
    }
    expect(pool.state(targets[0]?.upstream as Target['upstream']).isUp).toBe(true)
  })

  it('that is down by its probes is asked only if there is no other', async () => {
    const targets = targetsOf([1, 1])
    const [down, up] = targets as [Target, Target]
    const pool = poolOf(async (upstream) => {
      if (upstream === down.upstream) throw new Error('down')
    })
    pool.watch(targets.map(({ upstream }) => upstream))
    await vi.advanceTimersByTimeAsync(3000)
    expect(targets.map(({ upstream }) => pool.state(upstream).isUp)).toEqual([false, true])
    for (let name = 0; name < 20; name++) expect(await placeOf(pool, targets, String(name))).toBe(up)
    expect(await placeOf(pool, [down])).toBe(down)
    expect(pool.state(down.upstream).isUp).toBe(true)
  })

  it('that is watched no more is probed no more', async () => {
    const probe = vi.fn(async () => {})
    const [pool, targets] = [poolOf(probe), targetsOf([1, 1])]
    pool.watch(targets.map(({ upstream }) => upstream))
    await vi.advanceTimersByTimeAsync(1)
    pool.watch(targets.slice(1).map(({ upstream }) => upstream))
    await vi.advanceTimersByTimeAsync(100_000)
    expect(probe.mock.calls.filter(([upstream]: unknown[]) => upstream === targets[0]?.upstream).length).toBe(1)
    pool.close()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a fleet', () => {
  it('that is busy is told to the client with the time after which the first one is free', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1])]
    const rests = new Map(targets.map((target, at) => [target, busy((at + 2) * 5000)]))
    await expect(pool.run(targets, ['cat'], never, answering(rests))).rejects.toMatchObject({
      kind: 'overloaded',
      retryAfter: 10,
    })
    const asked: Target[] = []
    await vi.advanceTimersByTimeAsync(3000)
    await expect(pool.run(targets, ['cat'], never, answering(rests, asked))).rejects.toMatchObject({
      kind: 'overloaded',
      retryAfter: 7,
    })
    expect(asked).toEqual([])
  })

  it('that is sick gets hardly more requests than clients send', async () => {
    const [pool, targets] = [poolOf(), targetsOf([1, 1, 1])]
    // Each of its targets is tried again later, so that breakers stay out of it.
    const all = new Map(targets.map((target) => [target, failure({ isFault: false })]))
    const asked: Target[] = []
    for (let time = 0; time < 200; time++)
      await pool.run(targets, [String(time)], never, answering(all, asked)).catch(() => {})
    expect(asked.length).toBeLessThanOrEqual(200 + 3 * 10)
  })
})
