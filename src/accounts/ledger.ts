import type { Expression, ExpressionBuilder, SqlBool } from 'kysely'
import { z } from 'zod'
import type { Logger } from '../log.ts'
import { Reach } from './reach.ts'
import { addSpend, type Spending } from './spending.ts'
import { Spool } from './spool.ts'
import type { RequestRow, Schema, Store } from './store/schema.ts'

/** Rows wait this long before they are written together, in ms. */
const writeEveryMs = 400
/** A write that takes longer goes to disk as well, in ms: a killed process loses at most the last second. */
const writeTimeoutMs = 1000
/** Rows of one statement. To make it blocks the event loop for a few ms. */
const batchRows = 100
/** Batches that are brought back from disk in one turn, so that new rows do not wait for them. */
const batchesInTurn = 50
/** Space on disk for rows that wait for the database: about a million. */
const spoolBytes = 500_000_000
/** Rows that wait in memory when there is no space on disk either. */
const maxRowsInMemory = 100_000
/** Rows that are removed by one statement: other statements take their turns between. */
const removeRows = 1000

const count = z.int().nonnegative()

/** What is read back from disk. */
const rowsSchema: z.ZodType<RequestRow[]> = z.array(
  z.strictObject({
    id: z.string(),
    time: count,
    account: z.string(),
    key: z.string().nullable(),
    model: z.string(),
    adapter: z.string().nullable(),
    endpoint: z.string(),
    dialect: z.string(),
    text_tokens: count,
    image_tokens: count,
    audio_tokens: count,
    video_tokens: count,
    images: count,
    cached_tokens: count,
    completion_tokens: count,
    reasoning_tokens: count,
    queue_ms: count,
    media_ms: count,
    encode_ms: count,
    prefill_ms: count,
    generation_ms: count,
    status: count,
    cost: count,
  }),
)

/**
 * Writes the usage of requests, several times a second. While the database is cut off, rows wait on disk. A row that is
 * written twice counts once.
 */
export class Ledger {
  readonly #db: Store
  readonly #spending: Spending
  readonly #spool: Spool
  readonly #database: Reach
  readonly #log: Logger
  readonly #timer: NodeJS.Timeout
  #rows: RequestRow[] = []
  /** The turn in progress; the next one begins after it. */
  #turn: Promise<void> = Promise.resolve()
  #isWriting = false
  #mayBeOnDisk = true

  /** @param folder for usage that waits for the database */
  static async open(db: Store, spending: Spending, folder: string, log: Logger): Promise<Ledger> {
    return new Ledger(db, spending, await Spool.open(folder, spoolBytes), log)
  }

  private constructor(db: Store, spending: Spending, spool: Spool, log: Logger) {
    this.#db = db
    this.#spending = spending
    this.#spool = spool
    this.#log = log
    this.#database = new Reach('the database of usage', writeTimeoutMs, log)
    this.#timer = setInterval(() => {
      if (!this.#isWriting) void this.write()
    }, writeEveryMs).unref()
  }

  add(row: RequestRow): void {
    this.#rows.push(row)
    this.#spending.add(row)
  }

  /** Writes what has been added. Resolves when it is in the database, or on disk. */
  write(): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      this.#isWriting = true
      await this.#write().catch((error: unknown) => this.#log.error({ error: String(error) }, 'usage is not written'))
      this.#isWriting = false
    })
    return this.#turn
  }

  /** Removes the usage of requests that arrived before `time`, and of nothing else. @returns the number of requests */
  purge(time: number): Promise<number> {
    return this.#remove((row) => row('time', '<', time))
  }

  /** Removes the usage of an account. @returns the number of requests */
  erase(account: string): Promise<number> {
    return this.#remove((row) => row('account', '=', account))
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.write()
    if (this.#rows.length > 0) this.#log.error({ rows: this.#rows.length }, 'usage is lost: it can be written nowhere')
  }

  async #remove(which: (row: ExpressionBuilder<Schema, 'requests'>) => Expression<SqlBool>): Promise<number> {
    for (let removed = 0; ; ) {
      const some = this.#db.selectFrom('requests').select('id').where(which).limit(removeRows)
      const { numDeletedRows } = await this.#db.deleteFrom('requests').where('id', 'in', some).executeTakeFirstOrThrow()
      removed += Number(numDeletedRows)
      if (numDeletedRows < removeRows) return removed
    }
  }

  async #write(): Promise<void> {
    const rows = this.#rows
    this.#rows = []
    this.#spending.taken()
    let isWritten = true
    for (let from = 0; from < rows.length; from += batchRows)
      isWritten = (await this.#writeOrKeep(rows.slice(from, from + batchRows))) && isWritten
    if (isWritten && (await this.#bringBack()))
      await this.#database.call(() => this.#spending.refresh()).catch(() => {})
  }

  /** @returns whether the rows are in the database */
  async #writeOrKeep(rows: readonly RequestRow[]): Promise<boolean> {
    try {
      await this.#database.call(() => insert(this.#db, rows))
      return true
    } catch {
      if (await this.#spool.add(rows).catch(() => false)) this.#mayBeOnDisk = true
      else if (this.#rows.length + rows.length <= maxRowsInMemory) this.#rows.push(...rows)
      else this.#log.error({ rows: rows.length }, 'usage is lost: it can be written nowhere')
      return false
    }
  }

  /** @returns whether nothing is left on disk */
  async #bringBack(): Promise<boolean> {
    if (!this.#mayBeOnDisk) return true
    const batches = await this.#spool.batches()
    for (const batch of batches.slice(0, batchesInTurn)) {
      const rows = await this.#readBatch(batch)
      if (rows === undefined) continue
      try {
        await this.#database.call(() => insert(this.#db, rows))
      } catch {
        return false
      }
      await this.#spool.remove(batch)
    }
    this.#mayBeOnDisk = batches.length > batchesInTurn
    return !this.#mayBeOnDisk
  }

  async #readBatch(batch: string): Promise<RequestRow[] | undefined> {
    try {
      const rows = await this.#spool.read(batch)
      return rows === undefined ? undefined : rowsSchema.parse(rows)
    } catch {
      this.#log.error({ batch }, 'usage that waited on disk is damaged and set aside there')
      await this.#spool.setAside(batch)
      return undefined
    }
  }
}

/** Adds rows that are not there yet, and their costs. */
async function insert(db: Store, rows: readonly RequestRow[]): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const written = await trx
      .insertInto('requests')
      .values(rows)
      .onConflict((conflict) => conflict.column('id').doNothing())
      .returning('id')
      .execute()
    const ids = new Set(written.map(({ id }) => id))
    await addSpend(
      trx,
      rows.filter(({ id }) => ids.has(id)),
    )
  })
}
