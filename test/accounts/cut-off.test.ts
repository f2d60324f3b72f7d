import { readdirSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Accounts, freshMs, type Identity } from '../../src/accounts/index.ts'
import { shortRun } from '../support/long.ts'
import { missingServices } from '../support/services.ts'
import { patient } from '../support/wait.ts'
import { answered, openAccounts, type Services, small, startServices, temporaryFolder } from './houses.ts'
import { some, startWriter, written } from './processes.ts'

const skip = missingServices()

describe.skipIf(skip !== undefined)(
  `a service that is cut off${skip === undefined ? '' : ` (skipped: ${skip})`}`,
  () => {
    const folder = temporaryFolder()
    /** The files of usage that waits for the database. */
    const waiting = (): string[] => readdirSync(folder).flatMap((name) => readdirSync(path.join(folder, name)))
    const tiers = { ten: { requests: 10 } }
    let services: Services
    const servers: Accounts[] = []
    const open = async (database: string): Promise<Accounts> => {
      const databaseUrl = services.postgres.url.replace(/\/postgres$/, `/${database}`)
      const accounts = await openAccounts({ dataDir: folder, databaseUrl, redisUrl: services.redis.url, tiers })
      servers.push(accounts)
      return accounts
    }
    const ask = async (accounts: Accounts, who: Identity, model: string): Promise<boolean> => {
      const reservation = await accounts.admit(who, model, small).catch(() => undefined)
      reservation?.settle(answered())
      return reservation !== undefined
    }
    /** How many of so many requests, one after the other, are let in. */
    const asked = async (accounts: Accounts, who: Identity, model: string, requests: number): Promise<number> => {
      let granted = 0
      for (let request = 0; request < requests; request++) if (await ask(accounts, who, model)) granted++
      return granted
    }

    beforeAll(async () => {
      services = await startServices()
    })
    afterAll(async () => {
      await Promise.allSettled(servers.map((server) => server.close()))
      await Promise.all([services.postgres.stop(), services.redis.stop()])
    })

    it.skipIf(shortRun)(
      'PostgreSQL: seen keys work, others are told to come back, and usage waits on disk',
      async () => {
        await services.postgres.database('cut')
        const accounts = await open('cut')
        const { secret } = await accounts.keys.create({ account: 'acme', budget: 1_000_000 })
        const { secret: unseen } = await accounts.keys.create({ account: 'acme' })
        const { key: ended, secret: endedSecret } = await accounts.keys.create({ account: 'acme' })
        const who = await accounts.authenticate(secret)
        await accounts.authenticate(endedSecret)
        await accounts.keys.revoke(ended.id)
        expect(await asked(accounts, who, 'pocket', 20)).toBe(20)

        await services.postgres.kill()
        await sleep(freshMs + 100)
        expect(await accounts.authenticate(secret)).toEqual(who)
        // What this server has revoked is not let in because it was seen before.
        for (const other of [unseen, endedSecret])
          await expect(accounts.authenticate(other)).rejects.toMatchObject({
            kind: 'overloaded',
            code: 'accounts_unavailable',
            retryAfter: expect.any(Number),
          })
        expect(await asked(accounts, who, 'pocket', 20)).toBe(20)
        for (const refused of [
          accounts.keys.list(),
          accounts.keys.create({ account: 'b' }),
          accounts.usage({ from: 0, to: 1 }),
        ])
          await expect(refused).rejects.toMatchObject({ kind: 'overloaded', code: 'accounts_unavailable' })
        await vi.waitFor(() => expect(waiting()).not.toEqual([]), patient)
        // Most do not wait for a database that does not answer.
        const begun = performance.now()
        for (let request = 0; request < 500; request++) await accounts.authenticate(secret)
        expect(performance.now() - begun).toBeLessThan(60_000)

        await services.postgres.restart()
        await vi.waitFor(() => accounts.authenticate(unseen), patient)
        await vi.waitFor(async () => {
          const { rows } = await accounts.usage({ from: 0, to: Date.now() + 1 })
          expect(rows).toMatchObject([{ requests: 40, cost: 40 * 120 }])
        }, patient)
        await vi.waitFor(() => expect(waiting()).toEqual([]), patient)
      },
    )

    it.skipIf(shortRun)('PostgreSQL, again and again: a server that writes lives on, and loses nothing', async () => {
      const databaseUrl = await services.postgres.database('again')
      const settings = { dataDir: path.join(folder, 'again'), databaseUrl }
      const writer = startWriter(settings, 500)
      for (const requests of [100, 500, 1000, 2000]) {
        await some([writer], requests)
        await services.postgres.kill()
        await some([writer], writer.settled.length + 100)
        await services.postgres.restart()
      }
      writer.kill('SIGTERM')
      expect(await writer.ended).toBe(0)
      // What is still on disk is brought back by the next server.
      const next = await openAccounts(settings)
      await vi.waitFor(async () => {
        expect(await written(settings)).toEqual(new Set(writer.settled.map(({ id }) => id)))
      }, patient)
      await next.close()
    })

    it('PostgreSQL, at the start: says so', async () => {
      await services.postgres.kill()
      await expect(open('cut')).rejects.toMatchObject({ kind: 'invalid', code: 'database_unreachable' })
      await services.postgres.restart()
    })

    it('Redis: each server goes on from its own count, and they count together again afterwards', async () => {
      await services.postgres.database('limits')
      const [one, two] = [await open('limits'), await open('limits')]
      await one.keys.setAccount('acme', { tier: 'ten' })
      const { secret } = await one.keys.create({ account: 'acme' })
      const [here, there] = [await one.authenticate(secret), await two.authenticate(secret)]
      expect(await asked(one, here, 'pocket', 4)).toBe(4)
      expect(await asked(two, there, 'pocket', 3)).toBe(3)

      await services.redis.kill()
      expect(await asked(one, here, 'pocket', 10)).toBe(6)
      expect(await asked(two, there, 'pocket', 10)).toBe(7)

      await services.redis.restart()
      // Redis has forgotten everything, and a server has not.
      expect(await ask(one, here, 'pocket')).toBe(false)
      let models = 0
      await vi.waitFor(async () => {
        const model = `model ${models++}`
        const granted = (await asked(one, here, model, 5)) + (await asked(two, there, model, 10))
        expect(granted).toBe(10)
      }, patient)
    })
  },
)
