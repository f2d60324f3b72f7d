import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Kysely, type Migration, Migrator, sql } from 'kysely'
import type { AccountsConfig } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import { dataFolder, folderOfDatabase } from '../../home.ts'
import { makeFolder } from '../../make-folder.ts'
import { version } from '../../version.ts'
import { migrations } from './migrations.ts'
import { postgresDialect } from './postgres.ts'
import type { Schema, Store } from './schema.ts'
import { sqliteDialect } from './sqlite.ts'

/** The database, brought to the present schema. */
export interface OpenStore {
  readonly db: Store
  /** For queries that read much: on SQLite a connection of its own, so that nothing waits for them. */
  readonly reports: Store
  /** A folder for usage that waits for this database while it is cut off. */
  readonly waiting: string
  /** Removes what was deleted from SQLite's write-ahead log, too. PostgreSQL does so in its own time. */
  scrub(): Promise<void>
  close(): Promise<void>
}

/** The schema of our tables in PostgreSQL: the database may be one that other programs use. */
const postgresSchema = 'oriel'

/**
 * Opens the SQLite file of the data folder, or PostgreSQL if there is a URL.
 * @throws OrielError `invalid` that the folder or the database cannot be used: `data_folder`, `data_folder_full`,
 * `database_damaged`, `database_newer`, `database_unreachable`
 */
export async function openStore({ dataDir, databaseUrl }: AccountsConfig): Promise<OpenStore> {
  const folder = await madeDataFolder(dataDir)
  const waiting = folderOfDatabase({ dataDir, databaseUrl }, 'usage')
  if (databaseUrl !== null) {
    const pool = new Kysely<Schema>({ dialect: postgresDialect(databaseUrl) })
    const db = pool.withSchema(postgresSchema)
    await migrate(pool, postgresSchema, 'The database of DATABASE_URL')
    return { db, reports: db, waiting, scrub: async () => {}, close: () => pool.destroy() }
  }
  const file = path.join(folder, 'accounts.db')
  await makeFile(file)
  const db = new Kysely<Schema>({ dialect: sqliteDialect(file) })
  await migrate(db, undefined, file)
  const reports = new Kysely<Schema>({ dialect: sqliteDialect(file) })
  return {
    db,
    reports,
    waiting,
    // Behind the reports: it waits for those who read, and so would everything behind it.
    scrub: async () => void (await sql`pragma wal_checkpoint(truncate)`.execute(reports)),
    close: async () => void (await Promise.all([db.destroy(), reports.destroy()])),
  }
}

async function madeDataFolder(given: string | null): Promise<string> {
  const folder = dataFolder(given)
  try {
    // Hashes of keys and who used what: nothing for other users of the machine.
    await makeFolder(folder, 0o700)
    return folder
  } catch (cause) {
    throw new OrielError('invalid', `The data folder ${folder} cannot be made. ORIEL_DATA_DIR names another one.`, {
      code: 'data_folder',
      cause,
    })
  }
}

/** Only its owner may read it. SQLite gives its other files the same permissions. */
const makeFile = (file: string): Promise<void> =>
  writeFile(file, '', { flag: 'a', mode: 0o600 }).catch((cause: unknown) => {
    throw new OrielError('invalid', `${file} cannot be written. ORIEL_DATA_DIR names another folder.`, {
      code: 'data_folder',
      cause,
    })
  })

/** Processes that start at the same time wait for each other. */
async function migrate(db: Kysely<Schema>, schema: string | undefined, name: string): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => (schema === undefined ? migrations : inSchema(migrations, schema)) },
    ...(schema !== undefined && { migrationTableSchema: schema }),
  })
  const { error } = await migrator.migrateToLatest().catch((error: unknown) => ({ error }))
  if (error === undefined) return
  await db.destroy().catch(() => {})
  const { message = '', code = '' } = error as { message?: string; code?: string }
  // Kysely has no code for it.
  if (/previously executed migration .* is missing/.test(message))
    throw new OrielError('invalid', `${name} was made by a newer version of Oriel than this one, ${version}.`, {
      code: 'database_newer',
      cause: error,
    })
  // Of a connection that is refused, only the code says why.
  throw new OrielError('invalid', `${name} cannot be used: ${message || code || String(error)}.`, {
    code: sqliteCodes[code] ?? 'database_unreachable',
    cause: error,
  })
}

const sqliteCodes: Readonly<Record<string, string>> = {
  SQLITE_CORRUPT: 'database_damaged',
  SQLITE_NOTADB: 'database_damaged',
  SQLITE_FULL: 'data_folder_full',
}

/** The same migrations, for tables in a schema. */
const inSchema = (steps: Record<string, Migration>, schema: string): Record<string, Migration> =>
  Object.fromEntries(Object.entries(steps).map(([name, { up }]) => [name, { up: (db) => up(db.withSchema(schema)) }]))
