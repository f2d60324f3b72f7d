import { sql } from 'kysely'
import { LRUCache } from 'lru-cache'
import { OrielError } from '../errors.ts'
import type { Identity } from './authentication.ts'
import type { Reach } from './reach.ts'
import type { RequestRow, Store } from './store/schema.ts'

/** Accounts whose spending is remembered. */
const maxAccounts = 10_000
/** How often the spending of accounts in use is read, in ms: so soon one server knows what another one has written. */
const refreshMs = 2000
/** An account is in use until this long after its last request, in ms. */
const inUseMs = 60_000

/** What an account has spent in one month, in micro-units: by key, and all together under the empty name. */
interface Month {
  readonly month: number
  /** What the store had when it was last read. */
  read: Map<string, number>
  /** What was spent here and is not in `read`. */
  unread: Map<string, number>
  /** Of `unread`: what came after the rows that were last taken for writing. */
  late: Map<string, number>
  usedAt: number
}

/** What one key has cost its account. */
export interface Spent {
  readonly account: string
  /** Null: requests without a key. */
  readonly key: string | null
  /** Micro-units. */
  readonly cost: number
}

/**
 * What accounts and keys have spent this month, without a query for each request. It is read at first sight, counted on
 * here, and read again every `refreshMs` after the ledger has written what was counted.
 */
export class Spending {
  readonly #db: Store
  readonly #store: Reach
  readonly #months = new LRUCache<string, Month>({ max: maxAccounts })
  #readAt = performance.now()

  constructor(db: Store, store: Reach) {
    this.#db = db
    this.#store = store
  }

  /** @throws OrielError `payment_required` when a budget of this month is spent */
  async check({ account, key, keyBudget, accountBudget }: Identity): Promise<void> {
    if (keyBudget === null && accountBudget === null) return
    const known = this.#months.get(account)
    // What was not in use was not read: another server may have written since.
    const isRead = known?.month === monthOf(Date.now()) && performance.now() - known.usedAt < inUseMs
    const current = isRead ? known : await this.#readOne(account)
    current.usedAt = performance.now()
    if (accountBudget !== null && spent(current, '') >= accountBudget) throw noBudget('account')
    if (key !== null && keyBudget !== null && spent(current, key) >= keyBudget) throw noBudget('key')
  }

  add({ account, key, time, cost }: RequestRow): void {
    const month = this.#months.get(account)
    if (cost === 0 || month?.month !== monthOf(time)) return
    for (const name of ['', key ?? '-'])
      for (const map of [month.unread, month.late]) map.set(name, (map.get(name) ?? 0) + cost)
  }

  /** The ledger takes its rows for writing: what is added from now on is not among them. */
  taken(): void {
    for (const month of this.#months.values()) if (month.late.size > 0) month.late = new Map()
  }

  /** The ledger has written all rows before the last `taken`, and writes nothing until this is done. */
  async refresh(): Promise<void> {
    const now = performance.now()
    if (now - this.#readAt < refreshMs) return
    this.#readAt = now
    const month = monthOf(Date.now())
    const inUse = [...this.#months.entries()].filter(([, { usedAt }]) => now - usedAt < inUseMs)
    const accounts = inUse.map(([account]) => account)
    for (let from = 0; from < accounts.length; from += 500) {
      const read = await this.#read(accounts.slice(from, from + 500), month)
      for (const [account, current] of inUse.slice(from, from + 500)) {
        if (current.month !== month) continue
        current.read = read.get(account) ?? new Map()
        current.unread = new Map(current.late)
      }
    }
  }

  async #readOne(account: string): Promise<Month> {
    const month = monthOf(Date.now())
    const at = performance.now()
    // What the ledger has not written yet was spent before this account had a budget: the next refresh counts it.
    const found = await this.#store.call(() => this.#read([account], month)).catch(() => undefined)
    const known = this.#months.get(account)
    const read = found?.get(account) ?? new Map<string, number>()
    if (known?.month !== month) {
      const entry = { month, read, unread: new Map(), late: new Map(), usedAt: at }
      this.#months.set(account, entry)
      return entry
    }
    // Another request may have read it meanwhile, and counted on.
    if (found !== undefined && known.usedAt < at) Object.assign(known, { read, unread: new Map(known.late) })
    return known
  }

  async #read(accounts: readonly string[], month: number): Promise<Map<string, Map<string, number>>> {
    const rows = await this.#db
      .selectFrom('spend')
      .select(['account', 'key', 'cost'])
      .where('month', '=', month)
      .where('account', 'in', accounts)
      .execute()
    const byAccount = new Map<string, Map<string, number>>()
    for (const { account, key, cost } of rows) {
      const sums = byAccount.get(account) ?? new Map<string, number>()
      sums.set('', (sums.get('') ?? 0) + cost)
      sums.set(key || '-', cost)
      byAccount.set(account, sums)
    }
    return byAccount
  }
}

/** Adds the costs of rows that were written just now to the sums of their months, in the same transaction. */
export async function addSpend(db: Store, rows: readonly RequestRow[]): Promise<void> {
  const sums = new Map<string, { account: string; key: string; month: number; cost: number }>()
  for (const { account, key, time, cost } of rows) {
    const sum = { account, key: key ?? '', month: monthOf(time), cost: 0 }
    const name = JSON.stringify([sum.account, sum.key, sum.month])
    sums.set(name, { ...sum, cost: (sums.get(name)?.cost ?? 0) + cost })
  }
  // In one order everywhere: transactions that lock the same rows in different orders can block each other.
  const sorted = [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, sum]) => sum)
  if (sorted.length === 0) return
  await db
    .insertInto('spend')
    .values(sorted)
    .onConflict((conflict) =>
      conflict
        .columns(['account', 'month', 'key'])
        .doUpdateSet((row) => ({ cost: sql`${row.ref('spend.cost')} + ${row.ref('excluded.cost')}` })),
    )
    .execute()
}

/** What was spent in the month of a time, in no order. */
export async function spentIn(db: Store, time: number): Promise<Spent[]> {
  const rows = await db
    .selectFrom('spend')
    .select(['account', 'key', 'cost'])
    .where('month', '=', monthOf(time))
    .where('cost', '>', 0)
    .execute()
  return rows.map(({ account, key, cost }) => ({ account, key: key || null, cost }))
}

/** 202611 for a time in November 2026, in UTC. */
function monthOf(time: number): number {
  const date = new Date(time)
  return date.getUTCFullYear() * 100 + date.getUTCMonth() + 1
}

const spent = ({ read, unread }: Month, name: string): number => (read.get(name) ?? 0) + (unread.get(name) ?? 0)

function noBudget(whose: 'account' | 'key'): OrielError {
  const now = new Date()
  const next = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1)
  const day = new Date(next).toISOString().slice(0, 10)
  return new OrielError(
    'payment_required',
    `The budget of this ${whose} for this month is spent. The next month begins on ${day} at 00:00 UTC.`,
    {
      code: whose === 'account' ? 'account_budget_spent' : 'key_budget_spent',
      retryAfter: Math.ceil((next - now.getTime()) / 1000),
    },
  )
}
