import { randomBytes } from 'node:crypto'
import type { Config } from '../config.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { Authentication, type Identity, mayUse, notForModel, unavailable } from './authentication.ts'
import { checkName, createKeys, type Keys, type Scope } from './keys.ts'
import { Ledger } from './ledger.ts'
import { Growth } from './limits/growth.ts'
import type { Estimate } from './limits/kinds.ts'
import { RateLimits, type Rates } from './limits/limits.ts'
import { costOf, type ModelPrices, priceList } from './prices.ts'
import { Reach } from './reach.ts'
import { createResources, type Resources } from './resources.ts'
import { Spending, type Spent, spentIn } from './spending.ts'
import { openStore } from './store/store.ts'
import { Turns } from './turns.ts'
import { requestRow, type UsagePage, type UsageQuery, usageOf } from './usage.ts'

export { freshMs, type Identity, mayUse, notForModel, ownAccount, staleMs } from './authentication.ts'
export { type Account, type Key, type Keys, type NewKey, type Scope, scopes } from './keys.ts'
export type { Estimate, Kind } from './limits/kinds.ts'
export { RateLimitError, type Rates } from './limits/limits.ts'
export { amountOf, type Charged, costOf, type ModelPrices, micros } from './prices.ts'
export type { Spent } from './spending.ts'
export {
  csvOf,
  type UsageGroup,
  type UsagePage,
  type UsageQuery,
  type UsageRow,
  usageGroups,
  usageJson,
} from './usage.ts'

/** Keys, limits, usage and prices: who may ask what, how much of it, and what it costs. */
export interface Accounts {
  /** Whether requests need a key. @throws OrielError `overloaded` as `authenticate` does */
  required(): Promise<boolean>
  /**
   * @param presented what the client sent as its key
   * @param from whence: keys that were not seen before are looked up in turns
   * @throws OrielError `unauthorized`; `overloaded` when the key is not known here and the store is cut off; `rate_limited`
   * when too many keys from there wait
   */
  authenticate(presented: string | undefined, from?: string): Promise<Identity>
  /** @throws OrielError `forbidden` when the key does not have the scope */
  allow(identity: Identity, scope: Scope): void
  /**
   * Lets a request in. Every reservation must be settled, whatever becomes of the request.
   * @param model its id, not an alias
   * @param estimate what the request takes at most; it counts until the reservation is settled
   * @throws OrielError `forbidden` for the scope or the model, `payment_required` when a budget is spent; RateLimitError
   */
  admit(identity: Identity, model: string, estimate: Estimate): Promise<Reservation>
  pricesOf(model: string): ModelPrices
  /**
   * Sums of the ledger. What was settled less than two seconds ago may be missing.
   * @throws OrielError `overloaded` while the store is cut off, as everything below does
   */
  usage(query: UsageQuery): Promise<UsagePage>
  /** What was spent in this calendar month (UTC), by those who spent something. */
  spent(): Promise<Spent[]>
  readonly keys: Keys
  /** What other rooms keep here by name. */
  readonly resources: Resources
  /** Removes the usage of single requests before a time, in ms since 1970. @returns the number of requests */
  purge(before: number): Promise<number>
  /**
   * Removes an account: its keys, its usage, its limits, its deployments. A request in progress is written when it ends.
   * @returns the number of keys and requests
   * @throws OrielError `not_found`; `invalid` for a name that no account can have
   */
  erase(account: string): Promise<{ keys: number; requests: number }>
  /** Writes what is not written yet, and closes. Settle all reservations first. */
  close(): Promise<void>
}

/** A request that was let in. */
export interface Reservation {
  /** Of the row in the ledger. Not the id of the request, which a client may choose. */
  readonly id: string
  readonly rates: Rates
  /**
   * Replaces the estimate, when more is known of what the request takes.
   * @throws RateLimitError when it would not have been let in with it
   */
  expect(estimate: Estimate): Promise<void>
  /** Ends the reservation: counts what was taken and writes it. Later calls do nothing. @returns the cost in micro-units */
  settle(outcome: Outcome): number
}

/** What became of a request. Times are in ms. */
export interface Outcome {
  readonly endpoint: string
  readonly dialect: string
  /** That answered. Default: the one that the request was let in to. */
  readonly model?: string | undefined
  readonly adapter?: string | null | undefined
  /** Of the answer. 499: the client left. */
  readonly status: number
  /** Whether the client had something of the answer when it failed. */
  readonly begun?: boolean
  /** Tokens of the prompt by their kind, cached ones included. */
  readonly textTokens?: number | undefined
  readonly imageTokens?: number | undefined
  readonly audioTokens?: number | undefined
  readonly videoTokens?: number | undefined
  readonly images?: number | undefined
  readonly cachedTokens?: number | undefined
  /** Tokens of all choices, thoughts included. */
  readonly completionTokens?: number | undefined
  readonly reasoningTokens?: number | undefined
  readonly queueMs?: number | undefined
  readonly mediaMs?: number | undefined
  readonly encodeMs?: number | undefined
  readonly prefillMs?: number | undefined
  readonly generationMs?: number | undefined
}

/** A key must be found in this time, in ms. */
const storeTimeoutMs = 3000
/** Reports of usage may take seconds, and keys and rows need connections to the database, too. */
const reportsAtOnce = { running: 2, runningOfOne: 1, waitingOfOne: 20 }
const dayMs = 86_400_000
const hourMs = 3_600_000
const minuteMs = 60_000

/**
 * Opens the store and brings it to the present schema. Servers with the same database agree on keys within `freshMs`, and on
 * budgets within 3 seconds; with the same Redis, on limits at once.
 * @throws OrielError `invalid` when the store cannot be used: codes `data_folder`, `database_unreachable`
 */
export async function createAccounts(config: Pick<Config, 'accounts' | 'prices'>, log: Logger): Promise<Accounts> {
  const settings = config.accounts
  const { db, reports, waiting, scrub, close } = await openStore(settings)
  const store = new Reach('the database of accounts', storeTimeoutMs, log)
  const authentication = new Authentication(db, store, settings.adminKey)
  const spending = new Spending(db, store)
  const ledger = await Ledger.open(db, spending, waiting, log).catch(async (error: unknown) => {
    await close()
    throw error
  })
  const growth = settings.growth > 1 ? new Growth(db, settings.growth, log) : undefined
  const limits = await RateLimits.open(settings, growth, log)
  const pricesOf = priceList(config)

  const reading = new Turns(reportsAtOnce, 'Too many of your requests for usage wait. Send them one after the other.')

  const purgeOld = (): void => {
    ledger.purge(Date.now() - settings.usageDays * dayMs).catch((error: unknown) => {
      log.error({ error: String(error) }, 'old usage is not removed')
    })
  }
  // A server may never live for an hour, and a command not for a minute.
  const retention = [setTimeout(purgeOld, minuteMs).unref(), setInterval(purgeOld, hourMs).unref()]

  const allow = ({ scopes }: Identity, scope: Scope): void => {
    if (!scopes.includes(scope))
      throw new OrielError('forbidden', `This needs an API key with the scope ${scope}.`, { code: 'missing_scope' })
  }

  const keys = createKeys(db, Object.keys(settings.tiers))
  const resources = createResources(db)
  /** What an administrator asks the store for, which may be cut off. */
  const guarded =
    <Args extends unknown[], T>(act: (...args: Args) => Promise<T>) =>
    (...args: Args): Promise<T> =>
      act(...args).catch((error: unknown) => {
        if (error instanceof OrielError) throw error
        log.error({ error: String(error) }, 'the database of accounts fails')
        return unavailable(error)
      })
  /** What this server changes holds in it at once. */
  const changing = <Args extends unknown[], T>(act: (...args: Args) => Promise<T>) =>
    guarded(async (...args: Args) => {
      const result = await act(...args)
      authentication.changed()
      return result
    })

  /** As `changing`, for what ends a key. */
  const ending = <Args extends unknown[], T>(act: (id: string, ...args: Args) => Promise<T>) =>
    guarded(async (id: string, ...args: Args) => {
      const result = await act(id, ...args)
      authentication.ended(({ key }) => key === id)
      return result
    })

  return {
    required: () => authentication.required(),
    authenticate: (presented, from) => authentication.authenticate(presented, from),
    allow,

    async admit(identity, model, estimate) {
      allow(identity, 'inference')
      if (!mayUse(identity, model)) throw notForModel(model)
      await spending.check(identity)
      let pass = await limits.admit(identity, model, estimate)
      const time = Date.now()
      const id = rowId(time)
      let cost: number | undefined
      const isSettled = () => cost !== undefined
      return {
        id,
        get rates() {
          return pass.rates
        },
        async expect(better) {
          if (isSettled()) return
          pass.withdraw()
          pass = await limits.admit(identity, model, better)
          // The client has left meanwhile.
          if (isSettled()) pass.withdraw()
        },
        settle(outcome) {
          if (cost !== undefined) return cost
          const { account, key } = identity
          const answered = outcome.model ?? model
          const row = requestRow({ id, time, account, key, model: answered, cost: 0, ...columnsOf(outcome) })
          const { images, image_tokens: imageTokens, cached_tokens: cachedTokens } = row
          const completionTokens = row.completion_tokens
          const promptTokens = row.text_tokens + imageTokens + row.audio_tokens + row.video_tokens
          pass.settle({ promptTokens, cachedTokens, generatedTokens: completionTokens, images })
          const charged = { promptTokens, imageTokens, cachedTokens, completionTokens, images }
          cost = isCharged(outcome) ? costOf(charged, pricesOf(answered)) : 0
          ledger.add({ ...row, cost })
          return cost
        },
      }
    },

    pricesOf,
    usage: guarded((query) => reading.take(query.reader ?? '', () => usageOf(reports, query))),
    spent: guarded(() => spentIn(db, Date.now())),
    keys: {
      ...{ create: changing(keys.create), revoke: ending(keys.revoke), rotate: ending(keys.rotate) },
      ...{ list: guarded(keys.list), show: guarded(keys.show), accounts: guarded(keys.accounts) },
      setAccount: changing(keys.setAccount),
    },
    resources: {
      ...{ list: guarded(resources.list), insert: guarded(resources.insert) },
      ...{ replace: guarded(resources.replace), remove: guarded(resources.remove) },
    },
    purge: guarded((before) => ledger.purge(before)),

    erase: changing(async (account) => {
      checkName(account)
      // The keys first: nobody uses the account meanwhile.
      const { numDeletedRows } = await db.deleteFrom('keys').where('account', '=', account).executeTakeFirstOrThrow()
      authentication.ended((identity) => identity.key !== null && identity.account === account)
      await ledger.write()
      const requests = await ledger.erase(account)
      for (const table of ['spend', 'adaptive_limits', 'resources'] as const)
        await db.deleteFrom(table).where('account', '=', account).execute()
      const row = await db.deleteFrom('accounts').where('id', '=', account).executeTakeFirstOrThrow()
      await scrub()
      // The account of requests without a key has usage only.
      if (row.numDeletedRows === 0n && requests === 0)
        throw new OrielError('not_found', 'There is no account of this name.', { code: 'account_not_found' })
      return { keys: Number(numDeletedRows), requests }
    }),

    async close() {
      for (const timer of retention) clearInterval(timer)
      await Promise.all([ledger.close(), limits.close()])
      await close()
    },
  }
}

/**
 * Answers are charged, also those that the client did not wait for. Errors are free, but not those by which a client could end
 * every answer at its last word.
 */
const isCharged = ({ status, begun = false }: Outcome): boolean =>
  status < 300 || status === 499 || (begun && status < 500)

/** Ids in the order of time: the index of the ledger grows at its end. */
const rowId = (time: number): string =>
  `use_${time.toString(36).padStart(9, '0')}${randomBytes(9).toString('base64url')}`

const columnsOf = (outcome: Outcome) => ({
  adapter: outcome.adapter ?? null,
  endpoint: outcome.endpoint,
  dialect: outcome.dialect,
  text_tokens: outcome.textTokens ?? 0,
  image_tokens: outcome.imageTokens ?? 0,
  audio_tokens: outcome.audioTokens ?? 0,
  video_tokens: outcome.videoTokens ?? 0,
  images: outcome.images ?? 0,
  cached_tokens: outcome.cachedTokens ?? 0,
  completion_tokens: outcome.completionTokens ?? 0,
  reasoning_tokens: outcome.reasoningTokens ?? 0,
  queue_ms: outcome.queueMs ?? 0,
  media_ms: outcome.mediaMs ?? 0,
  encode_ms: outcome.encodeMs ?? 0,
  prefill_ms: outcome.prefillMs ?? 0,
  generation_ms: outcome.generationMs ?? 0,
  status: outcome.status,
})
