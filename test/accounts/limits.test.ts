import fc from 'fast-check'
import pino from 'pino'
import { createClient } from 'redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RateLimitError } from '../../src/accounts/index.ts'
import { kinds, nothing } from '../../src/accounts/limits/kinds.ts'
import { RedisWindows } from '../../src/accounts/limits/redis-windows.ts'
import { MemoryWindows } from '../../src/accounts/limits/windows.ts'
import { inputs } from '../support/long.ts'
import { missingServices, type Service, startRedis } from '../support/services.ts'
import { answered, houses, small } from './houses.ts'

const log = pino({ level: 'silent' })
const minute = 60_000

/** A request of a client: so long after the last one it asks, and for so much. It takes the `part` of it. */
interface Asked {
  pauseMs: number
  amounts: number[]
  part: number
}

const amount = fc.integer({ min: 0, max: 40 })
const asked: fc.Arbitrary<Asked> = fc.record({
  // Often close together, often around a minute.
  pauseMs: fc.oneof(
    fc.integer({ min: 0, max: 1500 }),
    fc.integer({ min: 0, max: 20_000 }),
    fc.integer({ min: 58_000, max: 62_000 }),
  ),
  amounts: fc.tuple(fc.constant(1), amount, amount, amount, amount, amount).map((amounts) => [...amounts]),
  part: fc.double({ min: 0, max: 1.5, noNaN: true }),
})
const limitsAndRequests = fc.record({
  limits: fc.array(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constant(Number.POSITIVE_INFINITY)), {
    minLength: kinds.length,
    maxLength: kinds.length,
  }),
  requests: fc.array(asked, { minLength: 5, maxLength: 60 }),
  start: fc.integer({ min: 1_000_000, max: 2_000_000 }),
})

/** What the requests of a test have taken, and when. */
type Taken = { at: number; amounts: readonly number[] }

/** The most of one kind in any minute, wherever it begins. */
const mostInAMinute = (taken: readonly Taken[], kind: number): number =>
  Math.max(
    0,
    ...taken.map(({ at: end }) =>
      taken
        .filter(({ at }) => at <= end && at > end - minute)
        .reduce((sum, { amounts }) => sum + (amounts[kind] ?? 0), 0),
    ),
  )

const split = (amounts: readonly number[], part: number) => {
  const actual = amounts.map((amount, kind) => (kind === 0 ? 1 : Math.round(amount * part)))
  return {
    actual,
    unused: amounts.map((amount, kind) => Math.max(0, amount - (actual[kind] ?? 0))),
    extra: amounts.map((amount, kind) => Math.max(0, (actual[kind] ?? 0) - amount)),
  }
}

describe('the windows in memory', () => {
  it('never let more than the limit into a minute, wherever it begins', () => {
    fc.assert(
      fc.property(limitsAndRequests, ({ limits, requests, start }) => {
        let now = start
        const windows = new MemoryWindows(() => now)
        const taken: Taken[] = []
        for (const { pauseMs, amounts } of requests) {
          now += pauseMs
          const { granted, remaining } = windows.take('a', limits, Number.POSITIVE_INFINITY, amounts)
          if (granted) taken.push({ at: now, amounts })
          for (const [kind, limit] of limits.entries()) {
            const most = mostInAMinute(taken, kind)
            expect(most).toBeLessThanOrEqual(limit)
            if (Number.isFinite(limit)) expect(limit - (remaining[kind] ?? 0)).toBeGreaterThanOrEqual(0)
          }
        }
      }),
      { numRuns: inputs(60, 1000) },
    )
  })

  it('let a request in after the wait that a refusal names, and not a second before', () => {
    fc.assert(
      fc.property(limitsAndRequests, ({ limits, requests, start }) => {
        let now = start
        const windows = new MemoryWindows(() => now)
        for (const { pauseMs, amounts } of requests) {
          now += pauseMs
          const { granted, retryMs } = windows.take('a', limits, Number.POSITIVE_INFINITY, amounts)
          if (granted) continue
          if (!Number.isFinite(retryMs)) {
            expect(amounts.some((amount, kind) => amount > (limits[kind] ?? 0))).toBe(true)
            continue
          }
          expect(retryMs).toBeLessThanOrEqual(61_000)
          if (retryMs > 2000) {
            now += retryMs - 1001
            expect(windows.take('a', limits, Number.POSITIVE_INFINITY, amounts).granted).toBe(false)
            now += 1001
          } else now += retryMs
          expect(windows.take('a', limits, Number.POSITIVE_INFINITY, amounts).granted).toBe(true)
        }
      }),
      { numRuns: inputs(60, 1000) },
    )
  })

  it('lose nothing when requests are settled: what counts is what was taken in the last minute', () => {
    fc.assert(
      fc.property(limitsAndRequests, fc.integer({ min: 0, max: 90_000 }), ({ requests, start }, durationMs) => {
        let now = start
        const windows = new MemoryWindows(() => now)
        const unlimited = kinds.map(() => Number.POSITIVE_INFINITY)
        const open: { end: number; settle(): void }[] = []
        /** What counts, and from when. */
        const counted: Taken[] = []
        const settleUntil = (time: number): void => {
          for (const request of open.splice(0, open.findLastIndex(({ end }) => end <= time) + 1)) {
            now = request.end
            request.settle()
          }
          now = time
        }
        for (const { pauseMs, amounts, part } of requests) {
          const at = now + pauseMs
          settleUntil(at)
          const { slot } = windows.take('a', unlimited, Number.POSITIVE_INFINITY, amounts)
          const { unused, extra } = split(amounts, part)
          const entry = { at, amounts }
          counted.push(entry)
          const end = at + durationMs
          open.push({
            end,
            settle() {
              windows.settle('a', slot, unused, extra)
              entry.amounts = entry.amounts.map((amount, kind) => amount - (unused[kind] ?? 0))
              counted.push({ at: end, amounts: extra })
            },
          })
          const used = windows.used('a')
          for (const kind of kinds.keys()) {
            const sum = (since: number): number =>
              counted.reduce((total, { at, amounts }) => total + (at > now - since ? (amounts[kind] ?? 0) : 0), 0)
            // Not less than was taken in the last 60 seconds, and not more than in the last 61.
            expect(used[kind]).toBeGreaterThanOrEqual(sum(minute))
            expect(used[kind]).toBeLessThanOrEqual(sum(minute + 1000))
          }
        }
        settleUntil(now + 10 * minute)
        expect(windows.used('a')).toEqual(nothing)
      }),
      { numRuns: inputs(60, 1000) },
    )
  })

  it('allow so many requests at the same time', () => {
    const windows = new MemoryWindows(() => 0)
    const take = () =>
      windows.take(
        'a',
        kinds.map(() => 100),
        2,
        [1, 0, 0, 0, 0, 0],
      )
    expect([take(), take(), take()].map(({ granted }) => granted)).toEqual([true, true, false])
    expect(take().blocked).toBe('concurrentRequests')
    windows.settle('a', 0, nothing, nothing)
    expect(take().granted).toBe(true)
  })
})

const skip = missingServices()
describe.skipIf(skip !== undefined)(`the windows in Redis${skip === undefined ? '' : ` (skipped: ${skip})`}`, () => {
  let redis: Service
  let now = 0
  let windows: RedisWindows
  beforeAll(async () => {
    redis = await startRedis()
    windows = await RedisWindows.open(redis.url, log, () => now)
  })
  afterAll(async () => {
    await windows.close()
    await redis.stop()
  })

  it('decide as those in memory do', async () => {
    let names = 0
    await fc.assert(
      fc.asyncProperty(limitsAndRequests, async ({ limits, requests, start }) => {
        now = start
        const name = `same ${names++}`
        const memory = new MemoryWindows(() => now)
        for (const { pauseMs, amounts, part } of requests) {
          now += pauseMs
          const expected = memory.take(name, limits, 3, amounts)
          expect(await windows.take(name, limits, 3, amounts, 'lease')).toEqual(expected)
          if (!expected.granted) continue
          const { unused, extra } = split(amounts, part)
          now += Math.round(part * 30_000)
          memory.settle(name, expected.slot, unused, extra)
          await windows.settle(name, expected.slot, unused, extra, 'lease')
        }
      }),
      { numRuns: inputs(10, 200) },
    )
  })

  it('free the places of a server that died', async () => {
    now = 5_000_000
    const take = (lease: string) =>
      windows.take(
        'dead',
        kinds.map(() => 100),
        1,
        [1, 0, 0, 0, 0, 0],
        lease,
      )
    expect((await take('first')).granted).toBe(true)
    now += 25_000
    expect(await take('second')).toMatchObject({ granted: false, blocked: 'concurrentRequests' })
    now += 6_000
    expect((await take('third')).granted).toBe(true)
  })

  it('are gone from Redis some time after the last request', async () => {
    const client = await createClient({ url: redis.url }).connect()
    await windows.take(
      'gone',
      kinds.map(() => 100),
      1,
      [1, 0, 0, 0, 0, 0],
      'lease',
    )
    const keys = await client.keys('oriel:{gone}*')
    expect(keys.sort()).toEqual(['oriel:{gone}:running', 'oriel:{gone}:window'])
    for (const key of keys) expect(await client.ttl(key)).toBeGreaterThan(0)
    await client.close()
  })
})

describe.each(houses)('limits with $title', ({ skip, isShared, house }) => {
  const { open } = house()
  const tiers = {
    slow: { requests: 10, models: { busy: { requests: 3 } } },
    tokens: { promptTokens: 250, generatedTokens: 25, cacheAdjustedPromptTokens: 240, tokens: 10_000 },
    images: { images: 2 },
    one: { concurrentRequests: 1 },
  }

  const customer = async (name: string, tier: keyof typeof tiers) => {
    const accounts = await open(name, { tiers })
    await accounts.keys.setAccount('acme', { tier })
    const { secret } = await accounts.keys.create({ account: 'acme' })
    return { accounts, secret, who: await accounts.authenticate(secret) }
  }

  describe.skipIf(skip)('of an account', () => {
    it('do not exist without a tier', async () => {
      const accounts = await open('none', { tiers })
      const who = await accounts.authenticate(undefined)
      const passes = await Promise.all(Array.from({ length: 50 }, () => accounts.admit(who, 'pocket', small)))
      expect(passes[0]?.rates).toEqual({ limits: {}, isOver: false })
      const limited = await open('default tier', { tiers, tier: 'images' })
      const anyone = await limited.authenticate(undefined)
      expect((await limited.admit(anyone, 'pocket', small)).rates.limits).toEqual({
        images: { limit: 2, remaining: 1 },
      })
    })

    it('hold over two servers, for each model', async () => {
      const { accounts, secret, who } = await customer('two servers', 'slow')
      const other = await open('two servers', { tiers })
      // In memory, each server counts for itself.
      const servers = isShared ? [accounts, other] : [accounts]
      await other.authenticate(secret)
      const granted: string[] = []
      const refusals: unknown[] = []
      const attempts = Array.from({ length: 40 }, async (_, index) => {
        const server = servers[index % servers.length] ?? accounts
        const model = index % 4 < 2 ? 'pocket' : 'busy'
        await server.admit(who, model, small).then(
          () => granted.push(model),
          (error: unknown) => refusals.push(error),
        )
      })
      await Promise.all(attempts)
      expect(granted.filter((model) => model === 'pocket')).toHaveLength(10)
      expect(granted.filter((model) => model === 'busy')).toHaveLength(3)
      expect(refusals).toHaveLength(27)
      for (const refusal of refusals) {
        expect(refusal).toBeInstanceOf(RateLimitError)
        expect(refusal).toMatchObject({ kind: 'rate_limited', code: 'rate_limit_exceeded', rates: { isOver: true } })
      }
    })

    it('hold over two servers when clients ask for more tokens than Redis can add', async () => {
      const { accounts, who } = await customer('overflow', 'slow')
      const other = await open('overflow', { tiers })
      const servers = isShared ? [accounts, other] : [accounts]
      const greatest = { ...small, generatedTokens: 128 * Number.MAX_SAFE_INTEGER }
      let granted = 0
      for (let request = 0; request < 30; request++) {
        const server = servers[request % servers.length] ?? accounts
        await server.admit(who, 'pocket', greatest).then(
          () => granted++,
          () => {},
        )
      }
      expect(granted).toBe(10)
    })

    it('count what a request took, instead of what it might have taken', async () => {
      const { accounts, who } = await customer('settled', 'tokens')
      const first = await accounts.admit(who, 'pocket', { promptTokens: 100, generatedTokens: 1000, images: 0 })
      expect(first.rates.limits).toMatchObject({
        promptTokens: { limit: 250, remaining: 150 },
        cacheAdjustedPromptTokens: { limit: 240, remaining: 140 },
        generatedTokens: { limit: 25, remaining: 0 },
      })
      await expect(accounts.admit(who, 'pocket', small)).rejects.toThrow(
        /^The limit for pocket is 25 generated tokens a minute\. Try again in \d+ s\.$/,
      )
      first.settle(answered({ completionTokens: 5, cachedTokens: 60 }))
      const second = await accounts.admit(who, 'pocket', { promptTokens: 100, generatedTokens: 10, images: 0 })
      expect(second.rates.limits).toMatchObject({
        promptTokens: { remaining: 50 },
        cacheAdjustedPromptTokens: { remaining: 100 },
        generatedTokens: { remaining: 10 },
      })
    })

    it('count what a request will take as soon as it is known, or refuse it then', async () => {
      const { accounts, who } = await customer('expected', 'tokens')
      const first = await accounts.admit(who, 'pocket', { promptTokens: 10, generatedTokens: 1, images: 0 })
      await first.expect({ promptTokens: 200, generatedTokens: 1, images: 0 })
      expect(first.rates.limits).toMatchObject({ promptTokens: { remaining: 50 } })
      const second = await accounts.admit(who, 'pocket', { promptTokens: 10, generatedTokens: 1, images: 0 })
      await expect(second.expect({ promptTokens: 60, generatedTokens: 1, images: 0 })).rejects.toThrow(
        /^The limit for pocket is 240 uncached prompt tokens|^The limit for pocket is 250 prompt tokens/,
      )
      second.settle(answered({ status: 429 }))
      first.settle(answered({ completionTokens: 1 }))
      await first.expect({ promptTokens: 100, generatedTokens: 1, images: 0 })
      const third = await accounts.admit(who, 'pocket', { promptTokens: 10, generatedTokens: 1, images: 0 })
      expect(third.rates.limits).toMatchObject({ promptTokens: { remaining: 140 } })
    })

    it('tell a request that is too large alone that it is in vain', async () => {
      const { accounts, who } = await customer('too large', 'tokens')
      const refusal = await accounts
        .admit(who, 'pocket', { promptTokens: 251, generatedTokens: 1, images: 0 })
        .catch((error: unknown) => error)
      expect(refusal).toMatchObject({ kind: 'rate_limited', code: 'request_exceeds_limit', retryAfter: undefined })
      expect(String(refusal)).toContain('is 250 prompt tokens a minute, and this request alone has 251.')
    })

    it('of requests at the same time end with each request', async () => {
      const { accounts, who } = await customer('one', 'one')
      const first = await accounts.admit(who, 'pocket', small)
      await expect(accounts.admit(who, 'pocket', small)).rejects.toThrow(
        'The limit for pocket is 1 request at the same time',
      )
      await first.expect({ ...small, promptTokens: 200 })
      await expect(accounts.admit(who, 'pocket', small)).rejects.toThrow('at the same time')
      first.settle(answered({ status: 500 }))
      await accounts.admit(who, 'pocket', small)
    })

    it('are those of the default tier when the tier of the account is no longer in the settings', async () => {
      const { accounts, secret } = await customer('gone', 'slow')
      await accounts.close()
      const later = await open('gone', { tiers: { images: tiers.images }, tier: 'images' })
      const { rates } = await later.admit(await later.authenticate(secret), 'pocket', small)
      expect(Object.keys(rates.limits)).toEqual(['images'])
    })

    it('are of a tier that the settings have', async () => {
      const { accounts } = await customer('tiers', 'slow')
      await expect(accounts.keys.setAccount('acme', { tier: 'gold' })).rejects.toMatchObject({
        code: 'unknown_tier',
        message: 'There is no tier gold. The configuration file has slow, tokens, images, one.',
      })
    })
  })
})
