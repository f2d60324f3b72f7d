import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { type Accounts, createAccounts, type NewKey } from '../../src/accounts/index.ts'
import type { OrielSettings } from '../../src/app.ts'
import { loadConfig } from '../../src/load-config.ts'
import { startServer, type TestServer } from './server.ts'

/** The key of whoever runs the server. */
export const administrator = 'the-key-of-the-administrator'

export interface KeyedServer extends TestServer {
  readonly accounts: OrielSettings['accounts']
  /** Another process with the same database, such as the command. */
  readonly elsewhere: Accounts
  /** A key, of an account of its own if none is named. @param tier of the account */
  keyOf(key?: Partial<NewKey>, tier?: string | null): Promise<{ secret: string; account: string; id: string }>
}

/** A server with the built-in model that needs keys, and a database of its own. @param more other settings */
export async function startKeyed(
  settings: OrielSettings['accounts'] = {},
  more: OrielSettings = {},
): Promise<KeyedServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-keyed-'))
  const accounts = { dataDir: folder, adminKey: administrator, ...settings }
  const server = await startServer({ ...more, accounts })
  const elsewhere = await createAccounts(loadConfig({ accounts }, {}), pino({ level: 'silent' }))
  let made = 0
  return {
    ...server,
    ...{ accounts, elsewhere },
    async keyOf(key = {}, tier = null) {
      const account = key.account ?? `account-${made++}`
      if (tier !== null) await elsewhere.keys.setAccount(account, { tier })
      const { key: created, secret } = await elsewhere.keys.create({ account, ...key })
      return { secret, account, id: created.id }
    },
    async close() {
      await server.close()
      await elsewhere.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
