import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Kysely, sql } from 'kysely'
import Database from 'libsql'
import { describe, expect, it } from 'vitest'
import { sqliteDialect } from '../../src/accounts/store/sqlite.ts'
import { openAccounts, temporaryFolder } from './houses.ts'

const folder = temporaryFolder()

/** A data folder, and accounts in it. */
function place(name: string) {
  const dataDir = path.join(folder, name)
  mkdirSync(dataDir, { recursive: true })
  return { file: path.join(dataDir, 'accounts.db'), open: () => openAccounts({ dataDir }) }
}

describe('the file of accounts', () => {
  it('says that it is damaged', async () => {
    const { file, open } = place('damaged')
    writeFileSync(file, 'not a database'.repeat(1000))
    await expect(open()).rejects.toMatchObject({ kind: 'invalid', code: 'database_damaged' })
  })

  it('says that a newer version has made it, and is left as it is', async () => {
    const { file, open } = place('newer')
    await (await open()).close()
    const database = new Database(file)
    const future = ['9999-12-31-future']
    database.prepare(`insert into kysely_migration values (?, '')`).run(future)
    await expect(open()).rejects.toMatchObject({
      code: 'database_newer',
      message: expect.stringContaining('was made by a newer version of Oriel than this one'),
    })
    expect(database.prepare('select name from kysely_migration where name = ?').all(future)).toHaveLength(1)
    database.close()
  })

  it('says why a transaction failed when its disk is full, and goes on afterwards', async () => {
    const db = new Kysely<{ t: { a: string } }>({ dialect: sqliteDialect(place('full').file) })
    await sql`create table t (a text)`.execute(db)
    await sql`pragma max_page_count = 10`.execute(db)
    const write = (a: string) => db.transaction().execute((trx) => trx.insertInto('t').values({ a }).execute())
    await expect(write('a'.repeat(100_000))).rejects.toMatchObject({ code: 'SQLITE_FULL' })
    await write('a')
    await db.destroy()
  })
})
