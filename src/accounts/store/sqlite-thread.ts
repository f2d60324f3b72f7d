import { parentPort, workerData } from 'node:worker_threads'
import Database from 'libsql'
import { LRUCache } from 'lru-cache'
import type { Reply, Statement } from './sqlite-protocol.ts'

/**
 * The thread that has an SQLite file: libsql is synchronous, and a statement may wait for another process's transaction.
 * It runs one statement after the other. The message `null` closes the file and ends the thread.
 */

/** How long a statement waits for the transaction of another process, in ms. */
const busyTimeoutMs = 10_000

const port = parentPort
if (port === null) throw new Error('this file runs in a thread')

let database: Database.Database | undefined
const prepared = new LRUCache<string, Database.Statement>({ max: 100 })

port.on('message', (statement: Statement | null) => {
  if (statement !== null) return port.postMessage(run(statement))
  prepared.clear()
  database?.close()
  port.close()
})

try {
  database = open(workerData as string)
  port.postMessage({ id: 0, rows: [], changes: 0 } satisfies Reply)
} catch (error) {
  port.postMessage(failed(0, error))
}

function open(file: string): Database.Database {
  const opened = new Database(file, { timeout: busyTimeoutMs })
  // The change to WAL does not wait for a process that does the same at the same moment.
  for (let attempt = 1; ; attempt++)
    try {
      opened.exec('pragma journal_mode = wal')
      break
    } catch (error) {
      if (attempt === 100 || !/busy|locked/i.test(String(error))) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    }
  // In WAL mode a killed process loses nothing with this; a power cut may lose the last transactions.
  opened.exec('pragma synchronous = normal')
  // What is deleted is overwritten in the file.
  opened.exec('pragma secure_delete = on')
  return opened
}

function run({ id, sql, parameters }: Statement): Reply {
  try {
    if (database === undefined) throw new Error('the file is not open')
    const statement = prepared.get(sql) ?? database.prepare(sql)
    prepared.set(sql, statement)
    if (statement.reader) return { id, rows: statement.all(parameters), changes: 0 }
    return { id, rows: [], changes: statement.run(parameters).changes }
  } catch (error) {
    prepared.delete(sql)
    return failed(id, error)
  }
}

function failed(id: number, error: unknown): Reply {
  const { message, code } = error as Error & { code?: unknown }
  return { id, error: { message, code: typeof code === 'string' ? code : undefined } }
}
