import { LRUCache } from 'lru-cache'
import type { Logger } from '../../log.ts'
import { Reach } from '../reach.ts'
import type { AdaptiveRow, Store } from '../store/schema.ts'

const minute = 60_000
const hour = 60 * minute

/** How limits follow use. Fireworks documents these numbers for its own. */
const rule = {
  /** Limits grow when more of one is in use. */
  growAbove: 1 / 2,
  growBy: 1.25,
  growEvery: 15 * minute,
  /** Limits shrink when no more of any was in use for so long. */
  shrinkBelow: 1 / 3,
  shrinkBy: 0.8,
  shrinkAfter: 72 * hour,
  shrinkEvery: 24 * hour,
  /** Limits are those of the tier again after so long without a request. */
  resetAfter: 72 * hour,
} as const

/** How often what has changed is written, and what other servers have changed is read, in ms. */
const syncMs = 10_000
/** Accounts and models that are remembered. */
const maxRemembered = 10_000

type State = Omit<AdaptiveRow, 'account' | 'model'>

interface Entry extends State {
  syncedAt: number
}

/** How far the limits of accounts have grown: thousandths of the limits of their tier, never below them. */
export class Growth {
  readonly #db: Store
  readonly #store: Reach
  readonly #most: number
  readonly #now: () => number
  readonly #entries = new LRUCache<string, Entry>({ max: maxRemembered })

  /**
   * @param most how far limits may grow, as a multiple of the tier's
   * @param now the time in ms since 1970
   */
  constructor(db: Store, most: number, log: Logger, now: () => number = Date.now) {
    this.#db = db
    this.#store = new Reach('the database of limits', 3000, log)
    this.#most = Math.round(most * 1000)
    this.#now = now
  }

  /** By what the limits of the tier are multiplied. */
  async factor(account: string, model: string): Promise<number> {
    const name = nameOf(account, model)
    const known = this.#entries.get(name)
    // Another server may have used it while this one did not.
    const isOld = known === undefined || this.#now() - known.used > rule.resetAfter
    const entry = isOld ? await this.#read(account, model) : known
    if (this.#now() - entry.used > rule.resetAfter) Object.assign(entry, { factor: 1000, changed: this.#now() })
    return Math.min(entry.factor, this.#most) / 1000
  }

  /** A request is over. @param share the greatest share of a limit that was in use, this request included */
  used(account: string, model: string, share: number): void {
    const entry = this.#entries.get(nameOf(account, model))
    if (entry === undefined) return
    const now = this.#now()
    const next = step(entry, share, now, this.#most)
    const isChanged = next.factor !== entry.factor
    Object.assign(entry, next)
    if (!isChanged && now - entry.syncedAt < syncMs) return
    entry.syncedAt = now
    void this.#sync(account, model, entry).catch(() => {})
  }

  async #read(account: string, model: string): Promise<Entry> {
    const now = this.#now()
    const fresh = { factor: 1000, changed: now, busy: now, used: now }
    const row = await this.#store.call(() => this.#select(account, model)).catch(() => null)
    const entry = { ...(row ?? fresh), syncedAt: now }
    // What could not be read must not be written over: the next request tries again.
    if (row !== null) this.#entries.set(nameOf(account, model), entry)
    return entry
  }

  /** The last change wins, wherever it was made; so does the last use. */
  async #sync(account: string, model: string, entry: Entry): Promise<void> {
    await this.#store.call(async () => {
      const { factor, changed, busy, used } = entry
      const other = await this.#select(account, model)
      const merged = {
        factor: other !== undefined && other.changed > changed ? other.factor : factor,
        changed: Math.max(changed, other?.changed ?? 0),
        busy: Math.max(busy, other?.busy ?? 0),
        used: Math.max(used, other?.used ?? 0),
      }
      await this.#db
        .insertInto('adaptive_limits')
        .values({ account, model, ...merged })
        .onConflict((conflict) => conflict.columns(['account', 'model']).doUpdateSet(merged))
        .execute()
      if (merged.changed > entry.changed) Object.assign(entry, merged)
    })
  }

  #select(account: string, model: string): Promise<State | undefined> {
    return this.#db
      .selectFrom('adaptive_limits')
      .select(['factor', 'changed', 'busy', 'used'])
      .where('account', '=', account)
      .where('model', '=', model)
      .executeTakeFirst()
  }
}

/** What a request does to the limits. @param share of a limit that is in use: 0 to 1 */
function step({ factor, changed, busy }: State, share: number, now: number, most: number): State {
  if (share > rule.growAbove && now - changed >= rule.growEvery && factor < most)
    return { factor: Math.min(most, Math.round(factor * rule.growBy)), changed: now, busy: now, used: now }
  const isQuiet = share <= rule.shrinkBelow && now - busy >= rule.shrinkAfter && now - changed >= rule.shrinkEvery
  if (isQuiet && factor > 1000)
    return { factor: Math.max(1000, Math.round(factor * rule.shrinkBy)), changed: now, busy, used: now }
  return { factor, changed, busy: share > rule.shrinkBelow ? now : busy, used: now }
}

const nameOf = (account: string, model: string): string => `${account}|${model}`
