import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { afterAll } from 'vitest'
import { type Accounts, createAccounts, type Outcome } from '../../src/accounts/index.ts'
import type { OrielSettings } from '../../src/config.ts'
import { loadConfig } from '../../src/load-config.ts'
import { missingServices, type Service, startPostgres, startRedis } from '../support/services.ts'

type AccountSettings = NonNullable<OrielSettings['accounts']>

/** Where accounts are kept: fresh ones for each name, and the same ones when a name is opened again. */
export interface House {
  open(name: string, settings?: Partial<AccountSettings>): Promise<Accounts>
  settings(name: string): Promise<AccountSettings>
}

export interface Services {
  postgres: Awaited<ReturnType<typeof startPostgres>>
  redis: Service
}

/** The two ways to run: embedded, and for several servers. The second one starts its servers when it is first used. */
export const houses: { title: string; skip: boolean; isShared: boolean; house: () => House }[] = [
  { title: 'SQLite and memory', skip: false, isShared: false, house: embedded },
  {
    title: `PostgreSQL and Redis${missingServices() === undefined ? '' : ` (skipped: ${missingServices()})`}`,
    skip: missingServices() !== undefined,
    isShared: true,
    house: shared,
  },
]

const log = pino({ level: 'silent' })

function embedded(): House {
  const folder = temporaryFolder()
  const settings = async (name: string): Promise<AccountSettings> => ({ dataDir: path.join(folder, name) })
  return opening(settings)
}

function shared(): House {
  const folder = temporaryFolder()
  let services: Promise<Services> | undefined
  const urls = new Map<string, Promise<string>>()
  afterAll(async () => {
    const started = await services
    await Promise.all([started?.postgres.stop(), started?.redis.stop()])
  })
  return opening(async (name) => {
    services ??= startServices()
    const { postgres, redis } = await services
    const url = urls.get(name) ?? postgres.database(name.replaceAll(/\W/g, '_'))
    urls.set(name, url)
    const redisUrl = `${redis.url}/${[...urls.keys()].indexOf(name)}`
    return { dataDir: path.join(folder, name), databaseUrl: await url, redisUrl }
  })
}

export async function startServices(): Promise<Services> {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()])
  return { postgres, redis }
}

/** Accounts that a test has opened are closed after all tests of the file. */
function opening(settings: House['settings']): House {
  const opened: Accounts[] = []
  afterAll(async () => {
    await Promise.allSettled(opened.map((accounts) => accounts.close()))
  })
  return {
    settings,
    async open(name, more = {}) {
      const accounts = await openAccounts({ ...(await settings(name)), ...more })
      opened.push(accounts)
      return accounts
    },
  }
}

export const openAccounts = (accounts: AccountSettings): Promise<Accounts> =>
  createAccounts(loadConfig({ prices: { input: 1, output: 2 }, accounts }, {}), log)

export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-accounts-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** An answer of `completionTokens` tokens to a prompt of 80 tokens of text and one image of 20. */
export const answered = (more: Partial<Outcome> = {}): Outcome => ({
  endpoint: '/v1/chat/completions',
  dialect: 'openai',
  status: 200,
  textTokens: 80,
  imageTokens: 20,
  images: 1,
  completionTokens: 10,
  ...more,
})

export const small = { promptTokens: 100, generatedTokens: 10, images: 1 }
