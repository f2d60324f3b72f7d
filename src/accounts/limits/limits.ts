import { randomUUID } from 'node:crypto'
import type { AccountsConfig } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Growth } from './growth.ts'
import {
  type Amounts,
  amountsOf,
  type Estimate,
  type Kind,
  kinds,
  limitsOf,
  type ModelLimits,
  nothing,
  type Taken,
} from './kinds.ts'
import type { RedisWindows } from './redis-windows.ts'
import { type Attempt, MemoryWindows } from './windows.ts'

/** The limits of an account for a model, and what is left of them. */
export interface Rates {
  /** Only what is limited. */
  readonly limits: Partial<Record<Kind, { readonly limit: number; readonly remaining: number }>>
  /** Whether a limit was reached: the request was refused, or the next one may be. */
  readonly isOver: boolean
}

/** A request was refused because of a limit. */
export class RateLimitError extends OrielError {
  readonly rates: Rates

  constructor(message: string, rates: Rates, retryAfter: number | undefined) {
    const code = retryAfter === undefined ? 'request_exceeds_limit' : 'rate_limit_exceeded'
    super('rate_limited', message, { code, retryAfter })
    this.rates = rates
  }
}

/** A request that was let in. */
export interface Pass {
  readonly rates: Rates
  /** Replaces the estimate by what the request took, when it is over. Later calls do nothing. */
  settle(taken: Taken): void
  /** Gives everything back, as if the request had never come. It cannot be settled afterwards. */
  withdraw(): void
}

interface Who {
  readonly account: string
  readonly tier: string | null
}

/**
 * Lets requests in as the limits of their account for their model allow. A request takes its estimate in advance. Every server
 * counts in its memory; with Redis, servers also count together. Redis never allows more than a server's own count, so what
 * the memory refuses needs no question; and while Redis is cut off, the memory goes on where it was.
 */
export class RateLimits {
  readonly #config: AccountsConfig
  readonly #growth: Growth | undefined
  readonly #memory: MemoryWindows
  readonly #redis: RedisWindows | undefined
  readonly #settling = new Set<Promise<void>>()

  static async open(config: AccountsConfig, growth: Growth | undefined, log: Logger): Promise<RateLimits> {
    const redis = config.redisUrl === null ? undefined : await openRedis(config.redisUrl, log)
    return new RateLimits(config, growth, redis)
  }

  private constructor(config: AccountsConfig, growth: Growth | undefined, redis: RedisWindows | undefined) {
    this.#config = config
    this.#growth = growth
    this.#memory = new MemoryWindows(() => performance.now())
    this.#redis = redis
  }

  /** @throws RateLimitError */
  async admit(who: Who, model: string, estimate: Estimate): Promise<Pass> {
    const name = `${who.account}|${model}`
    // An account whose tier has left the settings has the tier of those without one, not no limits.
    const { tiers } = this.#config
    const tier = tiers[who.tier ?? ''] ?? tiers[this.#config.tier ?? '']
    if (tier === undefined) return { rates: { limits: {}, isOver: false }, settle: () => {}, withdraw: () => {} }
    const allowed = await this.#allowed(limitsOf(tier, model), who.account, model)
    const amounts = capped(amountsOf(estimate), allowed)

    const own = this.#memory.take(name, allowed.limits, allowed.concurrent, amounts)
    if (!own.granted) throw refused(own, allowed, amounts, model)
    const redis = this.#redis
    const lease = randomUUID()
    const shared = await redis?.take(name, allowed.limits, allowed.concurrent, amounts, lease).catch(() => undefined)
    if (shared?.granted === false) {
      this.#memory.settle(name, own.slot, amounts, nothing)
      throw refused(shared, allowed, amounts, model)
    }
    let isOver = false
    const end = (actual: Amounts): void => {
      if (isOver) return
      isOver = true
      const unused = amounts.map((amount, kind) => Math.max(0, amount - (actual[kind] ?? 0)))
      const extra = amounts.map((amount, kind) => Math.max(0, (actual[kind] ?? 0) - amount))
      this.#memory.settle(name, own.slot, unused, extra)
      if (shared !== undefined && redis !== undefined) this.#keep(redis.settle(name, shared.slot, unused, extra, lease))
      if (actual !== nothing) this.#growth?.used(who.account, model, share(shared ?? own, allowed, unused, extra))
    }
    return {
      rates: ratesOf(shared ?? own, allowed),
      settle: (taken) => end(amountsOf(taken)),
      withdraw: () => end(nothing),
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#settling)
    await this.#redis?.close()
  }

  async #allowed({ limits, concurrent }: ModelLimits, account: string, model: string): Promise<ModelLimits> {
    if (this.#growth === undefined) return { limits, concurrent }
    const factor = await this.#growth.factor(account, model)
    return { limits: limits.map((limit) => Math.floor(limit * factor)), concurrent }
  }

  #keep(work: Promise<void>): void {
    // Cut off meanwhile: what was taken leaves the window by itself.
    const settled: Promise<void> = work.catch(() => {}).finally(() => this.#settling.delete(settled))
    this.#settling.add(settled)
  }
}

/**
 * An answer may end before its greatest length, and a prompt may be cached: an estimate that is above a limit only because
 * of that takes the whole limit, and is no reason to refuse a request for ever. Of what is not limited nothing is taken in
 * advance: a client may ask for more tokens than Redis can add.
 */
function capped(amounts: Amounts, { limits }: ModelLimits): Amounts {
  const certain: Partial<Record<Kind, number>> = {
    tokens: amounts[kinds.indexOf('promptTokens')] ?? 0,
    cacheAdjustedPromptTokens: 0,
    generatedTokens: 0,
  }
  return amounts.map((amount, kind) => {
    const limit = limits[kind] ?? 0
    return Number.isFinite(limit) ? Math.max(certain[kinds[kind] ?? 'requests'] ?? amount, Math.min(amount, limit)) : 0
  })
}

/**
 * The greatest share of a limit that was in use when a request was let in, of all servers that count together: 0 to 1. Of the
 * request itself it counts what it took in the end, of those that ran beside it what they might take.
 */
const share = ({ remaining }: Attempt, { limits }: ModelLimits, unused: Amounts, extra: Amounts): number =>
  Math.max(
    ...limits.map((limit, kind) => {
      const left = (remaining[kind] ?? 0) + (unused[kind] ?? 0) - (extra[kind] ?? 0)
      return Number.isFinite(limit) ? Math.min(1, Math.max(0, 1 - left / limit)) : 0
    }),
  )

const ratesOf = ({ granted, remaining }: Attempt, { limits }: ModelLimits): Rates => {
  const limited = [...kinds.entries()].filter(([kind]) => Number.isFinite(limits[kind]))
  const entries = limited.map(([kind, name]) => [name, { limit: limits[kind] ?? 0, remaining: remaining[kind] ?? 0 }])
  return {
    limits: Object.fromEntries(entries),
    isOver: !granted || limited.some(([kind]) => remaining[kind] === 0),
  }
}

/** Loaded when it is used: Redis's client takes as long as all the rest of a short command. */
const openRedis = async (url: string, log: Logger): Promise<RedisWindows> =>
  (await import('./redis-windows.ts')).RedisWindows.open(url, log)

const words: Record<Kind, string> = {
  requests: 'request',
  tokens: 'token',
  promptTokens: 'prompt token',
  cacheAdjustedPromptTokens: 'uncached prompt token',
  generatedTokens: 'generated token',
  images: 'image',
}

const counted = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`

function refused(attempt: Attempt, allowed: ModelLimits, amounts: Amounts, model: string): RateLimitError {
  const { blocked, retryMs } = attempt
  const rates = ratesOf(attempt, allowed)
  const retryAfter = Number.isFinite(retryMs) ? Math.ceil(retryMs / 1000) : undefined
  const again = retryAfter === undefined ? '' : ` Try again in ${retryAfter} s.`
  const limit = (typeof blocked === 'number' ? allowed.limits[blocked] : allowed.concurrent) ?? 0
  const kind = typeof blocked === 'number' ? kinds[blocked] : undefined
  if (kind === undefined || typeof blocked !== 'number')
    return new RateLimitError(
      `The limit for ${model} is ${counted(limit, 'request')} at the same time.${again}`,
      rates,
      1,
    )
  const alone = retryAfter === undefined ? `, and this request alone has ${amounts[blocked]}` : ''
  const rate = `${counted(limit, words[kind])} a minute`
  return new RateLimitError(`The limit for ${model} is ${rate}${alone}.${again}`, rates, retryAfter)
}
