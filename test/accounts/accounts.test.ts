import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { type Accounts, csvOf, type Identity, type Outcome, type UsageRow } from '../../src/accounts/index.ts'
import type { OrielError } from '../../src/errors.ts'
import { inputs, shortRun } from '../support/long.ts'
import { patient } from '../support/wait.ts'
import { answered, houses, openAccounts, small, temporaryFolder } from './houses.ts'

const hour = 3_600_000
const day = 24 * hour

/** Sums of everything that an account has used, when `requests` of them are written. */
async function used(accounts: Accounts, account: string, requests: number): Promise<UsageRow> {
  return vi.waitFor(async () => {
    const { rows } = await accounts.usage({ from: 0, to: Date.now() + day, accounts: [account] })
    const [row] = rows
    if (row?.requests !== requests) throw new Error(`${row?.requests ?? 0} of ${requests} requests are written`)
    return row
  }, patient)
}

async function ask(
  accounts: Accounts,
  who: Identity,
  outcome: Partial<Outcome> = {},
  model = 'pocket',
): Promise<number> {
  return (await accounts.admit(who, model, small)).settle(answered(outcome))
}

// The processes that share a database use PostgreSQL in each run.
describe.each(inputs(houses.slice(0, 1), houses))('accounts on $title', ({ skip, house }) => {
  const { open } = house()
  /** Accounts, and somebody with a key. */
  const withKey = async (name: string, more: Parameters<Accounts['keys']['create']>[0] = { account: 'acme' }) => {
    const accounts = await open(name)
    const { key, secret } = await accounts.keys.create(more)
    return { accounts, key, secret, who: await accounts.authenticate(secret) }
  }

  describe.skipIf(skip)('resources', () => {
    it('are made once, replaced by who has read the last change, and gone with their account', async () => {
      const { accounts } = await withKey('resources')
      const { resources } = accounts
      const named = (id: string, body: string) => ({ kind: 'thing', account: 'acme', id, body })
      expect([await resources.insert(named('b', '1')), await resources.insert(named('b', '2'))]).toEqual([true, false])
      await resources.insert({ ...named('a', '3'), account: 'other' })
      await resources.insert({ ...named('b', '4'), kind: 'other' })
      const [thing] = await resources.list('thing')
      expect(thing).toEqual({ ...named('b', '1'), revision: 1 })
      const replaced = (revision: number) => resources.replace({ ...named('b', '5'), revision })
      expect([await replaced(1), await replaced(1), await replaced(2)]).toEqual([true, false, true])
      expect((await resources.list('thing')).map(({ body, revision }) => [body, revision])).toEqual([
        ['5', 3],
        ['3', 1],
      ])
      // One of many servers wins.
      expect((await Promise.all([1, 2, 3, 4].map(() => replaced(3)))).filter((won) => won)).toEqual([true])
      await resources.remove({ kind: 'thing', account: 'other', id: 'a' })
      expect(await resources.list('thing')).toHaveLength(1)
      await accounts.erase('acme')
      expect([await resources.list('thing'), await resources.list('other')]).toEqual([[], []])
    })
  })

  describe.skipIf(skip)('keys', () => {
    it('are not needed until one exists', async () => {
      const accounts = await open('first key')
      expect(await accounts.required()).toBe(false)
      for (const presented of [undefined, 'anything'])
        expect(await accounts.authenticate(presented)).toMatchObject({ account: 'local', key: null })
      const { secret } = await accounts.keys.create({ account: 'acme' })
      expect(await accounts.required()).toBe(true)
      await expect(accounts.authenticate(undefined)).rejects.toMatchObject({
        kind: 'unauthorized',
        code: 'missing_api_key',
      })
      for (const wrong of ['anything', `ork_${'A'.repeat(43)}`, `${secret}x`, secret.slice(0, -1)])
        await expect(accounts.authenticate(wrong)).rejects.toMatchObject({
          kind: 'unauthorized',
          code: 'invalid_api_key',
          message: 'The API key is unknown.',
        })
    })

    it('do not open the administration to everyone while none is needed', async () => {
      const accounts = await open('nobody')
      const everyone = await accounts.authenticate(undefined)
      accounts.allow(everyone, 'inference')
      expect(() => accounts.allow(everyone, 'admin')).toThrow('scope admin')
    })

    it('tell their secret once, and keep only what it cannot be made from', async () => {
      const { accounts, key, secret } = await withKey('secrets')
      expect(secret).toMatch(/^ork_[\w-]{43}$/)
      expect(secret.startsWith(key.prefix)).toBe(true)
      const kept = JSON.stringify([await accounts.keys.list(), await accounts.keys.show(key.id)])
      expect(kept).toContain(key.prefix)
      expect(kept).not.toContain(secret.slice(key.prefix.length))
    })

    it('say who sends a request and what they may do', async () => {
      const { accounts, key, who } = await withKey('identity', {
        account: 'acme',
        scopes: ['inference'],
        models: ['pocket'],
        budget: 5,
        note: 'the robot',
      })
      expect(key).toMatchObject({ account: 'acme', note: 'the robot', budget: 5, revoked: null })
      expect(who).toEqual({
        ...{ account: 'acme', key: key.id, scopes: ['inference'], models: ['pocket'] },
        ...{ tier: null, keyBudget: 5, accountBudget: null },
      })
      expect(() => accounts.allow(who, 'usage')).toThrow('This needs an API key with the scope usage.')
      await expect(ask(accounts, who, {}, 'another')).rejects.toMatchObject({
        kind: 'forbidden',
        code: 'model_not_allowed',
        param: 'model',
      })
      await ask(accounts, who)
    })

    it('without the scope `inference` ask no model', async () => {
      const { accounts, who } = await withKey('scopes', { account: 'acme', scopes: ['admin'] })
      accounts.allow(who, 'admin')
      await expect(ask(accounts, who)).rejects.toMatchObject({ kind: 'forbidden', code: 'missing_scope' })
    })

    it('are found soon while somebody elsewhere tries thousands that do not exist', async () => {
      const { accounts, secret } = await withKey('flood')
      const { secret: unseen } = await accounts.keys.create({ account: 'acme' })
      let open = 0
      const reasons = Array.from({ length: 1500 }, async () => {
        open++
        const wrong = `ork_${randomBytes(32).toString('base64url')}`
        const refusal = await accounts.authenticate(wrong, 'elsewhere').catch((error: OrielError) => error)
        open--
        return 'code' in refusal ? refusal.code : 'let in'
      })
      for (const own of [secret, unseen])
        expect(await accounts.authenticate(own, 'here')).toMatchObject({ account: 'acme' })
      expect(open).toBeGreaterThan(500)
      const found = await Promise.all(reasons)
      expect(new Set(found)).toEqual(new Set(['invalid_api_key', 'too_many_waiting']))
    })

    it.skipIf(shortRun)('stop when they are revoked or expire, here at once and in another server soon', async () => {
      const { accounts, key, secret } = await withKey('revoked')
      const other = await open('revoked')
      await other.authenticate(secret)
      expect(await accounts.keys.revoke(key.id)).toMatchObject({ id: key.id, revoked: expect.any(Number) })
      const refusal = { kind: 'unauthorized', code: 'revoked_api_key' }
      await expect(accounts.authenticate(secret)).rejects.toMatchObject(refusal)
      await vi.waitFor(() => expect(other.authenticate(secret)).rejects.toMatchObject(refusal), patient)
      await expect(accounts.keys.rotate(key.id)).rejects.toMatchObject({ code: 'key_revoked' })

      const { key: expired, secret: old } = await accounts.keys.create({ account: 'acme', expires: Date.now() - 1 })
      await expect(accounts.authenticate(old)).rejects.toMatchObject({ code: 'expired_api_key' })
      await expect(accounts.keys.rotate(expired.id)).rejects.toMatchObject({ code: 'key_expired' })
    })

    it('are rotated: the old secret stops at once, or after a grace', async () => {
      const { accounts, key, secret } = await withKey('rotated')
      const second = await accounts.keys.rotate(key.id)
      expect(second.key.id).toBe(key.id)
      await expect(accounts.authenticate(secret)).rejects.toMatchObject({ code: 'invalid_api_key' })
      const third = await accounts.keys.rotate(key.id, 600_000)
      expect(await accounts.authenticate(second.secret)).toMatchObject({ key: key.id })
      expect(await accounts.authenticate(third.secret)).toMatchObject({ key: key.id })
      const fourth = await accounts.keys.rotate(key.id, 1)
      await expect(accounts.authenticate(second.secret)).rejects.toMatchObject({ code: 'invalid_api_key' })
      await vi.waitFor(() => expect(accounts.authenticate(third.secret)).rejects.toThrow('unknown'), patient)
      expect(await accounts.authenticate(fourth.secret)).toMatchObject({ key: key.id })
    })

    it('of the settings administer without a row in the store', async () => {
      const adminKey = 'a-key-for-the-administration'
      const accounts = await open('admin key', { adminKey })
      expect(await accounts.required()).toBe(true)
      const who = await accounts.authenticate(adminKey)
      accounts.allow(who, 'admin')
      await expect(accounts.authenticate(`${adminKey}!`)).rejects.toMatchObject({ code: 'invalid_api_key' })
      expect(await accounts.keys.list()).toEqual([])
    })

    it('are listed, also those of one account', async () => {
      const { accounts, key } = await withKey('listed')
      const { key: other } = await accounts.keys.create({ account: 'other' })
      expect((await accounts.keys.list()).map(({ id }) => id).sort()).toEqual([key.id, other.id].sort())
      expect(await accounts.keys.list({ account: 'other' })).toEqual([other])
      await expect(accounts.keys.show('key_none')).rejects.toMatchObject({ kind: 'not_found', code: 'key_not_found' })
      await expect(accounts.keys.create({ account: 'a b' })).rejects.toMatchObject({ param: 'account' })
    })

    it('are listed in pages, and so are their accounts', async () => {
      const { accounts } = await withKey('pages')
      for (const account of ['b', 'c', 'a', 'acme']) await accounts.keys.create({ account })
      const inPages = async <T extends { id: string }>(
        list: (page: { limit: number; after?: string }) => Promise<T[]>,
      ) => {
        const read: T[] = []
        for (let page = await list({ limit: 2 }); page.length > 0; ) {
          read.push(...page)
          page = await list({ limit: 2, after: read.at(-1)?.id ?? '' })
        }
        return read
      }
      expect(await inPages((page) => accounts.keys.list(page))).toEqual(await accounts.keys.list())
      const own = await inPages((page) => accounts.keys.list({ account: 'acme', ...page }))
      expect(own).toEqual(await accounts.keys.list({ account: 'acme' }))
      const names = (await inPages((page) => accounts.keys.accounts(page))).map(({ id }) => id)
      expect(names).toEqual(['a', 'acme', 'b', 'c'])
      await expect(accounts.keys.list({ after: 'key_none' })).rejects.toMatchObject({ kind: 'not_found' })
    })

    it('have no name that a database cannot hold', async () => {
      const { accounts } = await withKey('odd names')
      for (const act of [accounts.keys.show, accounts.keys.revoke, accounts.keys.rotate])
        await expect(act('key_\0')).rejects.toMatchObject({ kind: 'not_found' })
      for (const act of [
        () => accounts.keys.list({ account: '\0' }),
        () => accounts.keys.accounts({ after: '\0' }),
        () => accounts.erase('\0'),
      ])
        await expect(act()).rejects.toMatchObject({ kind: 'invalid', param: 'account' })
    })
  })

  describe.skipIf(skip)('budgets', () => {
    it('of a key end its requests for the month, and no others', async () => {
      const { accounts, who } = await withKey('key budget', { account: 'acme', budget: 240 })
      const { secret } = await accounts.keys.create({ account: 'acme' })
      expect(await ask(accounts, who)).toBe(120)
      expect(await ask(accounts, who)).toBe(120)
      await expect(ask(accounts, who)).rejects.toMatchObject({ kind: 'payment_required', code: 'key_budget_spent' })
      await ask(accounts, await accounts.authenticate(secret))
      await used(accounts, 'acme', 3)
      const spent = (await accounts.spent()).toSorted((a, b) => b.cost - a.cost)
      expect(spent).toEqual([
        { account: 'acme', key: who.key, cost: 240 },
        { account: 'acme', key: expect.stringMatching(/^key_/), cost: 120 },
      ])
    })

    it('of an account are spent by all of its keys, in all servers', async () => {
      const { accounts, secret } = await withKey('account budget')
      await accounts.keys.setAccount('acme', { budget: 300 })
      const other = await open('account budget')
      const [here, there] = [await accounts.authenticate(secret), await other.authenticate(secret)]
      for (const [server, who] of [
        [accounts, here],
        [other, there],
        [accounts, here],
      ] as const)
        await ask(server, who)
      const refusal = { kind: 'payment_required', code: 'account_budget_spent' }
      for (const [server, who] of [
        [accounts, here],
        [other, there],
      ] as const)
        await vi.waitFor(async () => {
          await expect(server.admit(who, 'pocket', small)).rejects.toMatchObject(refusal)
        }, patient)
      // The sums survive a restart.
      const later = await open('account budget')
      await expect(ask(later, await later.authenticate(secret))).rejects.toMatchObject(refusal)
    })
  })

  describe.skipIf(skip)('the ledger', () => {
    it('has exactly what the requests took, also when the server closes at once', async () => {
      const { accounts, who } = await withKey('sums')
      const outcomes = Array.from({ length: 700 }, (_, index) => ({ textTokens: index, completionTokens: index % 7 }))
      const costs = await Promise.all(outcomes.map((outcome) => ask(accounts, who, outcome)))
      const id = (await accounts.admit(who, 'pocket', small)).id
      await accounts.close()

      const later = await open('sums')
      const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
      expect(id).toMatch(/^use_/)
      expect(await used(later, 'acme', 700)).toMatchObject({
        textTokens: sum(outcomes.map(({ textTokens }) => textTokens)),
        imageTokens: 700 * 20,
        images: 700,
        promptTokens: sum(outcomes.map(({ textTokens }) => textTokens + 20)),
        completionTokens: sum(outcomes.map(({ completionTokens }) => completionTokens)),
        cost: sum(costs),
      })
    })

    it('counts a reservation once, charges the client that left, and no error', async () => {
      const { accounts, who } = await withKey('once')
      const reservation = await accounts.admit(who, 'pocket', small)
      expect([reservation.settle(answered()), reservation.settle(answered({ completionTokens: 99 }))]).toEqual([
        120, 120,
      ])
      expect(await ask(accounts, who, { status: 499 })).toBe(120)
      for (const status of [400, 429, 500, 503]) expect(await ask(accounts, who, { status })).toBe(0)
      // A client could end every answer at its last word. What the server is at fault for is free.
      expect(await ask(accounts, who, { status: 400, begun: true })).toBe(120)
      expect(await ask(accounts, who, { status: 503, begun: true })).toBe(0)
      expect(await used(accounts, 'acme', 8)).toMatchObject({ cost: 360 })
    })

    it('survives numbers and texts that no column can hold', async () => {
      const { accounts, who } = await withKey('odd')
      await ask(accounts, who, { queueMs: 1.5, prefillMs: Number.NaN, completionTokens: -1, adapter: 'a\0b' })
      expect(await used(accounts, 'acme', 1)).toMatchObject({ completionTokens: 0 })
    })

    it('is summed by period and group, in pages', async () => {
      const { accounts, who, key } = await withKey('groups')
      for (const model of ['pocket', 'pocket', 'other']) await ask(accounts, who, {}, model)
      await used(accounts, 'acme', 3)
      const all = { from: 0, to: Date.now() + day }
      const byModel = await accounts.usage({ ...all, period: 'day', by: ['model', 'key'] })
      const start = expect.any(Number)
      expect(byModel.rows).toMatchObject([
        { start, account: null, key: key.id, model: 'other', requests: 1, promptTokens: 100 },
        { start, account: null, key: key.id, model: 'pocket', requests: 2, promptTokens: 200 },
      ])
      for (const [period, size] of [
        ['minute', 60_000],
        ['hour', hour],
        ['day', day],
      ] as const)
        for (const row of (await accounts.usage({ ...all, period })).rows) expect((row.start ?? 1) % size).toBe(0)

      const first = await accounts.usage({ ...all, by: ['model'], limit: 1 })
      expect(first.rows.map(({ model }) => model)).toEqual(['other'])
      const second = await accounts.usage({ ...all, by: ['model'], limit: 1, after: first.next })
      expect(second).toMatchObject({ rows: [{ model: 'pocket' }], next: undefined })

      for (const none of [{ keys: ['key_other'] }, { models: [] }, { accounts: ['other'] }, { to: 1 }])
        expect((await accounts.usage({ ...all, ...none })).rows).toEqual([])
    })

    it.skipIf(shortRun)('has each sum once, page by page, while requests arrive', async () => {
      const { accounts, who } = await withKey('pages')
      const models = ['a', 'b', 'B', 'c', 'ä', '5', '_']
      const admin = { ...who, key: null }
      for (const model of models)
        for (const identity of [who, admin]) await ask(accounts, identity, { status: model === 'c' ? 400 : 200 }, model)
      let written = 2 * models.length
      await used(accounts, 'acme', written)
      const name = ({ start, model, key, status }: UsageRow): string => JSON.stringify([start, model, key, status])
      const by = ['model', 'key', 'status'] as const
      for (const period of [undefined, 'minute'] as const) {
        const query = { from: 0, to: Date.now() + day, period, by }
        const all = (await accounts.usage(query)).rows.map(name)
        expect(all.length).toBeGreaterThanOrEqual(2 * models.length)
        const read: string[] = []
        let after: string | undefined
        for (let page = 0; page === 0 || after !== undefined; page++) {
          const { rows, next } = await accounts.usage({ ...query, limit: 3, after })
          read.push(...rows.map(name))
          after = next
          if (page > 1) continue
          // Before everything that was read, and after it.
          written += 2
          for (const model of [`!${written}`, `~${written}`]) await ask(accounts, who, {}, model)
          await used(accounts, 'acme', written)
        }
        expect(new Set(read).size).toBe(read.length)
        expect(read.filter((row) => all.includes(row))).toEqual(all)
        const { next } = await accounts.usage({ ...query, limit: 1 })
        for (const other of [
          { by: ['model'] as const },
          { period: 'day' as const, by: [] },
          { by: ['status'] as const },
        ])
          await expect(accounts.usage({ ...query, period: undefined, ...other, after: next })).rejects.toMatchObject({
            kind: 'invalid',
            param: 'page',
          })
      }
    })

    it('is purged by age, and erased with its account', async () => {
      const { accounts, who, secret } = await withKey('erased')
      const { secret: otherSecret } = await accounts.keys.create({ account: 'other' })
      await ask(accounts, who)
      await ask(accounts, await accounts.authenticate(otherSecret))
      await used(accounts, 'acme', 1)
      await used(accounts, 'other', 1)
      expect(await accounts.purge(Date.now() - hour)).toBe(0)
      expect(await accounts.erase('acme')).toEqual({ keys: 1, requests: 1 })
      await expect(accounts.authenticate(secret)).rejects.toMatchObject({ code: 'invalid_api_key' })
      expect((await accounts.usage({ from: 0, to: Date.now() + day, by: ['account'] })).rows).toMatchObject([
        { account: 'other', requests: 1 },
      ])
      expect((await accounts.keys.accounts()).map(({ id }) => id)).toEqual(['other'])
      expect(await accounts.purge(Date.now() + 1)).toBe(1)
    })
  })
})

describe('an account that is erased', () => {
  it('leaves no trace in the files of SQLite, also while a server has them open', async () => {
    const folder = temporaryFolder()
    const accounts = await openAccounts({ dataDir: folder })
    const other = await openAccounts({ dataDir: folder })
    const { secret } = await accounts.keys.create({ account: 'needle', note: 'needle' })
    await accounts.keys.create({ account: 'hay' })
    const who = await accounts.authenticate(secret)
    for (let count = 0; count < 300; count++) await ask(accounts, who)
    await used(accounts, 'needle', 300)
    const files = async (): Promise<string> => {
      const names = (await readdir(folder)).filter((name) => name.startsWith('accounts.db'))
      return (await Promise.all(names.map((name) => readFile(path.join(folder, name), 'latin1')))).join()
    }
    expect(await files()).toContain('needle')
    await other.erase('needle')
    expect(await files()).not.toContain('needle')
    expect(await files()).toContain('hay')
    await Promise.all([accounts.close(), other.close()])
  })
})

describe('usage as CSV', () => {
  it('is what a spreadsheet reads, and none takes a name for a formula', () => {
    const none = { key: null, adapter: null, endpoint: null, dialect: null, status: null }
    const tokens = { promptTokens: 3, textTokens: 2, imageTokens: 1, audioTokens: 0, videoTokens: 0, images: 1 }
    const rest = { ...tokens, cachedTokens: 0, completionTokens: 4, reasoningTokens: 0, cost: 5 }
    const row = { start: 0, account: '=1+1', model: 'a "b", c', ...none, requests: 1, ...rest }
    expect(csvOf([row]).split('\r\n')).toEqual([
      'start,account,key,model,adapter,endpoint,dialect,status,requests,prompt_tokens,text_tokens,image_tokens,audio_tokens,video_tokens,images,cached_tokens,completion_tokens,reasoning_tokens,cost',
      `1970-01-01T00:00:00.000Z,'=1+1,,"a ""b"", c",,,,,1,3,2,1,0,0,1,0,4,0,0.000005`,
      '',
    ])
    expect(csvOf([row], { continues: true }).split('\r\n')).toHaveLength(2)
  })
})
