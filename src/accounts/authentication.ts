import { timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { OrielError } from '../errors.ts'
import { hashOf, type Key, keyOf, type Scope, scopes } from './keys.ts'
import type { Reach } from './reach.ts'
import type { Store } from './store/schema.ts'
import { Turns } from './turns.ts'

/** Who sends a request, and what they may do. */
export interface Identity {
  readonly account: string
  /** Null where no key is required, and for the key of `ORIEL_ADMIN_KEY`. */
  readonly key: string | null
  readonly scopes: readonly Scope[]
  /** Null: all models. */
  readonly models: readonly string[] | null
  /** The tier of the account. Null: the one that the settings name. */
  readonly tier: string | null
  /** Micro-units for each month. */
  readonly keyBudget: number | null
  readonly accountBudget: number | null
}

/** How long a key is taken to be what it was when it was last read, in ms. A revoked key stops within this time. */
export const freshMs = 5000
/** How long a key that was read keeps working while the store is cut off, in ms. */
export const staleMs = 600_000
/** Keys that are remembered. */
const maxSeen = 100_000
/**
 * Look-ups of keys that were not seen before. Each costs the store a query, and anybody can make up keys: a flood of them
 * must not stand before the keys of others, nor make the store look cut off.
 */
const lookUps = { running: 4, runningOfOne: 4, waitingOfOne: 1000 }

/** The account of requests where no key is required, and of the key of `ORIEL_ADMIN_KEY`. */
export const ownAccount = 'local'

interface Seen {
  readonly identity: Identity
  readonly expires: number | null
  readonly revoked: number | null
  /** Until when this secret is valid, if it was rotated away. */
  readonly until: number | null
  readonly readAt: number
}

/** Tells who a presented key belongs to. Known keys are read from the store at most every `freshMs`. */
export class Authentication {
  readonly #db: Store
  readonly #store: Reach
  readonly #adminHash: string | undefined
  /** By hash: no secret stays in memory. Unknown keys are not remembered, so nobody can fill it with them. */
  readonly #seen = new LRUCache<string, Seen>({ max: maxSeen })
  readonly #reading = new Map<string, { at: number; seen: Promise<Seen | undefined> }>()
  readonly #lookUps = new Turns(lookUps, 'Too many API keys from your address are looked up. Try again later.')
  #freshFrom = Number.NEGATIVE_INFINITY
  #required: boolean
  #requiredReadAt = Number.NEGATIVE_INFINITY

  constructor(db: Store, store: Reach, adminKey: string | null) {
    this.#db = db
    this.#store = store
    this.#adminHash = adminKey === null ? undefined : hashOf(adminKey)
    this.#required = adminKey !== null
  }

  /**
   * Whether requests need a key: one exists, or has existed since the start, or `ORIEL_ADMIN_KEY` is set.
   * @throws OrielError `overloaded` when that was not read for long
   */
  async required(): Promise<boolean> {
    if (this.#required || this.#requiredReadAt > Math.max(this.#freshFrom, performance.now() - freshMs))
      return this.#required
    const readAt = performance.now()
    try {
      const any = await this.#store.call(() => this.#db.selectFrom('keys').select('id').limit(1).executeTakeFirst())
      this.#required ||= any !== undefined
      this.#requiredReadAt = readAt
    } catch (error) {
      if (performance.now() - this.#requiredReadAt > staleMs) return unavailable(error)
    }
    return this.#required
  }

  /**
   * @param presented what the client sent as its key
   * @param from whence
   * @throws OrielError `unauthorized`; `overloaded` for a key that is not known here while the store is cut off: the key may
   * be good, and a client that is told it is not would stop trying; `rate_limited` when too many keys from there wait
   */
  async authenticate(presented: string | undefined, from = ''): Promise<Identity> {
    if (!(await this.required())) return everyone
    if (presented === undefined || presented === '')
      throw new OrielError('unauthorized', 'This server needs an API key: `Authorization: Bearer <key>`.', {
        code: 'missing_api_key',
      })
    const hash = hashOf(presented)
    if (this.#adminHash !== undefined && timingSafeEqual(Buffer.from(hash), Buffer.from(this.#adminHash)))
      return administrator
    // The look-up compares hashes, not secrets: its time tells nothing about a secret.
    const seen = isSecret(presented) ? await this.#find(hash, from) : undefined
    return valid(seen)
  }

  /** This process has changed keys: what was read before is read again when it is used. */
  changed(): void {
    this.#freshFrom = performance.now()
  }

  /** This process has ended keys: what is remembered of them lets nobody in, even while the store is cut off. */
  ended(which: (identity: Identity) => boolean): void {
    this.changed()
    for (const [hash, { identity }] of this.#seen.entries()) if (which(identity)) this.#seen.delete(hash)
  }

  async #find(hash: string, from: string): Promise<Seen | undefined> {
    const seen = this.#seen.get(hash)
    if (seen !== undefined && seen.readAt > Math.max(this.#freshFrom, performance.now() - freshMs)) return seen
    try {
      return await this.#read(hash, seen === undefined ? from : undefined)
    } catch (error) {
      if (error instanceof OrielError) throw error
      if (seen !== undefined && performance.now() - seen.readAt < staleMs) return seen
      return unavailable(error)
    }
  }

  /** Many requests with one key read it once. @param from undefined: it needs no turn */
  #read(hash: string, from: string | undefined): Promise<Seen | undefined> {
    const reading = this.#reading.get(hash)
    if (reading !== undefined && reading.at > this.#freshFrom) return reading.seen
    const read = () => this.#readNow(hash)
    const begun = { at: performance.now(), seen: from === undefined ? read() : this.#lookUps.take(from, read) }
    this.#reading.set(hash, begun)
    return begun.seen.finally(() => {
      if (this.#reading.get(hash) === begun) this.#reading.delete(hash)
    })
  }

  async #readNow(hash: string): Promise<Seen | undefined> {
    const readAt = performance.now()
    const row = await this.#store.call(() =>
      this.#db
        .selectFrom('keys')
        .innerJoin('accounts', 'accounts.id', 'keys.account')
        .selectAll('keys')
        .select(['accounts.tier as tier', 'accounts.budget as account_budget'])
        .where((where) => where.or([where('hash', '=', hash), where('old_hash', '=', hash)]))
        .executeTakeFirst(),
    )
    if (row === undefined) {
      this.#seen.delete(hash)
      return undefined
    }
    const { expires, revoked } = row
    const identity = identityOf(keyOf(row), row.tier, row.account_budget)
    const seen = { identity, expires, revoked, until: row.hash === hash ? null : row.old_until, readAt }
    this.#seen.set(hash, seen)
    return seen
  }
}

const everyone: Identity = {
  account: ownAccount,
  key: null,
  // Not `admin`: whoever can reach the port could lock its owner out.
  scopes: ['inference', 'usage', 'metrics'],
  models: null,
  tier: null,
  keyBudget: null,
  accountBudget: null,
}

const administrator: Identity = { ...everyone, scopes }

const identityOf = (key: Key, tier: string | null, accountBudget: number | null): Identity => ({
  account: key.account,
  key: key.id,
  scopes: key.scopes,
  models: key.models,
  tier,
  keyBudget: key.budget,
  accountBudget,
})

/** Whether a key is for a model, by its id. */
export const mayUse = ({ models }: Pick<Identity, 'models'>, model: string): boolean =>
  models === null || models.includes(model)

/** @param name of the model, as the request has it: its id would tell that the name is an alias of a model that exists */
export const notForModel = (name: string): OrielError =>
  new OrielError('forbidden', `This API key may not use the model ${JSON.stringify(name.slice(0, 200))}.`, {
    param: 'model',
    code: 'model_not_allowed',
  })

const isSecret = (presented: string): boolean => /^ork_[\w-]{43}$/.test(presented)

function valid(seen: Seen | undefined): Identity {
  const now = Date.now()
  if (seen === undefined || (seen.until !== null && seen.until <= now)) throw refused('unknown', 'invalid_api_key')
  if (seen.revoked !== null) throw refused('revoked', 'revoked_api_key')
  if (seen.expires !== null && seen.expires <= now) throw refused('expired', 'expired_api_key')
  return seen.identity
}

const refused = (what: string, code: string): OrielError =>
  new OrielError('unauthorized', `The API key is ${what}.`, { code })

/** The store is cut off. */
export function unavailable(cause: unknown): never {
  throw new OrielError('overloaded', 'Keys and usage cannot be read at the moment. Try again later.', {
    code: 'accounts_unavailable',
    retryAfter: 2,
    cause,
  })
}
