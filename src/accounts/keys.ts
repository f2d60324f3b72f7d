import { createHash, randomBytes } from 'node:crypto'
import type { Selectable } from 'kysely'
import { OrielError } from '../errors.ts'
import type { AccountRow, KeyRow, Store } from './store/schema.ts'

/**
 * What a key may be used for: to ask models, to read the usage of its account, to read the metrics of the server, to manage
 * keys. Metrics count what all accounts do, so those who ask models do not read them.
 */
export const scopes = ['inference', 'usage', 'metrics', 'admin'] as const
export type Scope = (typeof scopes)[number]

/** A key without its secret, which nobody can show again. */
export interface Key {
  readonly id: string
  readonly account: string
  /** The first characters of the secret. */
  readonly prefix: string
  readonly scopes: readonly Scope[]
  /** Null: all models. */
  readonly models: readonly string[] | null
  /** Micro-units for each calendar month (UTC). Null: no budget. */
  readonly budget: number | null
  readonly note: string
  /** Times in ms since 1970. */
  readonly created: number
  readonly expires: number | null
  readonly revoked: number | null
}

export interface NewKey {
  /** Made if it does not exist. */
  readonly account: string
  readonly scopes?: readonly Scope[] | undefined
  readonly models?: readonly string[] | null | undefined
  readonly budget?: number | null | undefined
  readonly note?: string | undefined
  readonly expires?: number | null | undefined
}

export interface Account {
  readonly id: string
  /** Null: the tier that the settings name. */
  readonly tier: string | null
  /** Micro-units for each calendar month (UTC), all keys together. Null: no budget. */
  readonly budget: number | null
  readonly created: number
}

/** Part of a list. Default: all of it. */
interface Page {
  readonly limit?: number | undefined
  readonly after?: string | undefined
}

/** The keys and accounts of the store. What they change holds in every server within `freshMs` (`authentication.ts`). */
export interface Keys {
  /** @returns the key, and its secret for the only time. @throws OrielError `invalid` for an account's name that is not allowed */
  create(key: NewKey): Promise<{ key: Key; secret: string }>
  /** The newest first. `after` is the id of a key. @throws OrielError `not_found` for it; `invalid` as `create` does */
  list(filter?: { account?: string | undefined } & Page): Promise<Key[]>
  /** @throws OrielError `not_found` */
  show(id: string): Promise<Key>
  /** @throws OrielError `not_found` */
  revoke(id: string): Promise<Key>
  /**
   * Gives a key a new secret.
   * @param graceMs how long the old one stays valid; default: not at all
   * @throws OrielError `not_found`, `invalid` for a key that is revoked or has expired
   */
  rotate(id: string, graceMs?: number): Promise<{ key: Key; secret: string }>
  /** By name. `after` is one. @throws OrielError `invalid` as `create` does */
  accounts(page?: Page): Promise<Account[]>
  /** Changes an account, and makes it if it does not exist. @throws OrielError `invalid` for a name or tier that does not exist */
  setAccount(id: string, change: { tier?: string | null; budget?: number | null }): Promise<Account>
}

/** Characters of a secret that are shown. The other 220 bits stay secret. */
const prefixLength = 10

export const createKeys = (db: Store, tiers: readonly string[]): Keys => {
  const find = async (id: string): Promise<Key> => {
    if (!/^key_[\w-]+$/.test(id)) throw noKey(id)
    const row = await db.selectFrom('keys').selectAll().where('id', '=', id).executeTakeFirst()
    if (row === undefined) throw noKey(id)
    return keyOf(row)
  }

  return {
    async create({
      account,
      scopes = ['inference', 'usage'],
      models = null,
      budget = null,
      note = '',
      expires = null,
    }) {
      checkName(account)
      const created = Date.now()
      const { secret, hash, prefix } = newSecret()
      const id = `key_${randomBytes(9).toString('base64url')}`
      const [scopeList, modelList] = [JSON.stringify(scopes), models && JSON.stringify(models)]
      await db.transaction().execute(async (trx) => {
        await trx
          .insertInto('accounts')
          .values({ id: account, tier: null, budget: null, created })
          .onConflict((conflict) => conflict.column('id').doNothing())
          .execute()
        await trx
          .insertInto('keys')
          .values({
            ...{ id, account, hash, prefix, scopes: scopeList, models: modelList, budget, note, created, expires },
            ...{ old_hash: null, old_until: null, revoked: null },
          })
          .execute()
      })
      return { key: await find(id), secret }
    },

    async list({ account, limit, after } = {}) {
      let query = db.selectFrom('keys').selectAll().orderBy('created', 'desc').orderBy('id')
      if (account !== undefined) {
        checkName(account)
        query = query.where('account', '=', account)
      }
      if (after !== undefined) {
        const { created, id } = await find(after)
        query = query.where((key) =>
          key.or([key('created', '<', created), key.and([key('created', '=', created), key('id', '>', id)])]),
        )
      }
      if (limit !== undefined) query = query.limit(limit)
      return (await query.execute()).map(keyOf)
    },

    show: find,

    async revoke(id) {
      await find(id)
      await db
        .updateTable('keys')
        .set({ revoked: Date.now() })
        .where('id', '=', id)
        .where('revoked', 'is', null)
        .execute()
      return find(id)
    },

    async rotate(id, graceMs = 0) {
      const { revoked, expires } = await find(id)
      if (revoked !== null) throw useless(id, 'is revoked', 'key_revoked')
      if (expires !== null && expires <= Date.now()) throw useless(id, 'has expired', 'key_expired')
      const { secret, hash, prefix } = newSecret()
      const until = graceMs > 0 ? Date.now() + graceMs : null
      await db
        .updateTable('keys')
        .set((row) => ({ hash, prefix, old_hash: until === null ? null : row.ref('hash'), old_until: until }))
        .where('id', '=', id)
        .execute()
      return { key: await find(id), secret }
    },

    async accounts({ limit, after } = {}) {
      let query = db.selectFrom('accounts').selectAll().orderBy('id')
      if (after !== undefined) {
        checkName(after)
        query = query.where('id', '>', after)
      }
      if (limit !== undefined) query = query.limit(limit)
      return (await query.execute()).map(accountOf)
    },

    async setAccount(id, change) {
      checkName(id)
      if (typeof change.tier === 'string' && !tiers.includes(change.tier))
        throw new OrielError('invalid', `There is no tier ${change.tier}. ${tierList(tiers)}`, {
          param: 'tier',
          code: 'unknown_tier',
        })
      const row = await db
        .insertInto('accounts')
        .values({ tier: null, budget: null, ...change, id, created: Date.now() })
        .onConflict((conflict) => conflict.column('id').doUpdateSet({ ...change, id }))
        .returningAll()
        .executeTakeFirstOrThrow()
      return accountOf(row)
    },
  }
}

/** Secrets are 256 random bits: one round of SHA-256 is enough, for nobody can guess them. */
export const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex')

export function keyOf(row: Selectable<KeyRow>): Key {
  const { id, account, prefix, budget, note, created, expires, revoked } = row
  const models = row.models === null ? null : (JSON.parse(row.models) as string[])
  return { id, account, prefix, scopes: JSON.parse(row.scopes), models, budget, note, created, expires, revoked }
}

const accountOf = ({ id, tier, budget, created }: Selectable<AccountRow>): Account => ({ id, tier, budget, created })

function newSecret(): { secret: string; hash: string; prefix: string } {
  const secret = `ork_${randomBytes(32).toString('base64url')}`
  return { secret, hash: hashOf(secret), prefix: secret.slice(0, prefixLength) }
}

/** @throws OrielError `invalid` */
export function checkName(account: string): void {
  if (!/^[\w.@-]{1,128}$/.test(account))
    throw new OrielError(
      'invalid',
      "The name of an account has 1 to 128 letters, digits and the characters '.', '@', '_', '-'.",
      { param: 'account', code: 'bad_account' },
    )
}

const tierList = (tiers: readonly string[]): string =>
  tiers.length === 0 ? 'The configuration file has none.' : `The configuration file has ${tiers.join(', ')}.`

const useless = (id: string, why: string, code: string): OrielError =>
  new OrielError('invalid', `The key ${id} ${why}: a new key must take its place.`, { code })

const noKey = (id: string): OrielError =>
  new OrielError('not_found', `There is no key with the id ${JSON.stringify(id.slice(0, 64))}.`, {
    code: 'key_not_found',
  })
