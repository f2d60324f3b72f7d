import { Socket } from 'node:net'
import { type Dialect, PostgresDialect } from 'kysely'

/** Times for a connection and for one statement, in ms. A database that does not answer must not hold a request. */
const connectTimeoutMs = 3000
const statementTimeoutMs = 20_000

const int8 = 20

/** kysely on PostgreSQL, whose 64-bit integers are numbers: all of ours are below 2^53. */
export const postgresDialect = (connectionString: string): Dialect =>
  new PostgresDialect({
    pool: async () => {
      const { Pool, types } = await import('pg')
      const pool = new Pool({
        connectionString,
        max: 10,
        connectionTimeoutMillis: connectTimeoutMs,
        query_timeout: statementTimeoutMs,
        stream: lively,
        types: { getTypeParser: (type, format) => (type === int8 ? Number : types.getTypeParser(type, format)) },
      })
      // A connection that breaks between two queries, in the pool or in a transaction. The next query learns it.
      pool.on('error', () => {})
      pool.on('connect', (client) => client.on('error', () => {}))
      return pool
    },
  })

/** A connection on which nothing comes is dead, although nobody has said so: the pool must not give it to queries again. */
function lively(): Socket {
  const socket = new Socket()
  return socket.setTimeout(statementTimeoutMs, () => socket.destroy(new Error('the connection is dead')))
}
