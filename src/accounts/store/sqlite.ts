import type { Worker } from 'node:worker_threads'
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'
import { startThread } from '../../children/index.ts'
import { type Deferred, deferred } from '../../deferred.ts'
import { programFile } from '../../places.ts'
import type { Reply, SqlValue, Statement } from './sqlite-protocol.ts'

/** kysely on an SQLite file, which a thread of its own reads and writes. */
export const sqliteDialect = (file: string): Dialect => ({
  createDriver: () => new ThreadDriver(file),
  createAdapter: () => new TransactionalAdapter(),
  createQueryCompiler: () => new SqliteQueryCompiler(),
  createIntrospector: (db) => new SqliteIntrospector(db),
})

/** Migrations run in one transaction, which holds SQLite's lock for writing: a second process waits for it. */
class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true
  }
}

/** One connection, which transactions and statements outside of them take in turns. */
class ThreadDriver implements Driver {
  readonly #file: string
  #connection: ThreadConnection | undefined
  #last: Promise<void> = Promise.resolve()
  #release = (): void => {}

  constructor(file: string) {
    this.#file = file
  }

  async init(): Promise<void> {
    this.#connection = await ThreadConnection.open(this.#file)
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    const before = this.#last
    const turn = deferred<void>()
    this.#last = turn.promise
    await before
    this.#release = () => turn.resolve()
    if (this.#connection === undefined) throw new Error('the database is closed')
    return this.#connection
  }

  async releaseConnection(): Promise<void> {
    this.#release()
  }

  /** Locks for writing at once: a transaction that reads first cannot always become one that writes. */
  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'))
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'))
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('rollback')).catch((error: unknown) => {
      // SQLite has rolled back itself, as it does when the disk is full. That is the error to report.
      if (!/no transaction is active/.test(String(error))) throw error
    })
  }

  async destroy(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
  }
}

class ThreadConnection implements DatabaseConnection {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Deferred<QueryResult<never>>>()
  readonly #ended: Promise<void>
  #last = 0

  /** @throws Error that the file cannot be opened */
  static async open(file: string): Promise<ThreadConnection> {
    const connection = new ThreadConnection(file)
    try {
      await connection.#reply(0)
    } catch (error) {
      await connection.close()
      throw error
    }
    return connection
  }

  private constructor(file: string) {
    this.#worker = startThread(programFile('accounts/store/sqlite-thread'), file)
    this.#worker.on('message', (reply: Reply) => this.#receive(reply))
    this.#worker.on('error', (error) => this.#fail(error))
    this.#ended = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#fail(new Error('the thread of the database has ended'))
        resolve()
      })
    })
  }

  executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    const id = ++this.#last
    const reply = this.#reply(id)
    const statement: Statement = { id, sql, parameters: parameters.map(sqlValue) }
    this.#worker.postMessage(statement)
    return reply
  }

  // biome-ignore lint/correctness/useYield: kysely's interface has it, and nothing here streams.
  async *streamQuery<Row>(): AsyncIterableIterator<QueryResult<Row>> {
    throw new Error('SQLite queries are not streamed')
  }

  async close(): Promise<void> {
    this.#worker.postMessage(null)
    await this.#ended
  }

  #reply(id: number): Promise<QueryResult<never>> {
    const reply = deferred<QueryResult<never>>()
    this.#waiting.set(id, reply)
    return reply.promise
  }

  #receive(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if ('error' in reply) waiting?.reject(Object.assign(new Error(reply.error.message), { code: reply.error.code }))
    else waiting?.resolve({ rows: reply.rows as never[], numAffectedRows: BigInt(reply.changes) })
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

/** @throws TypeError for a value that libsql does not know: it would end the process */
function sqlValue(value: unknown): SqlValue {
  if (value === null || typeof value === 'string' || typeof value === 'number') return value
  throw new TypeError(`SQLite has no ${typeof value}`)
}
