import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { createClient } from 'redis'
import { vi } from 'vitest'
import { patient } from './wait.ts'

/** A server that tests need, started on a free port. */
export interface Service {
  readonly url: string
  /** Ends it at once, as a power cut does. */
  kill(): Promise<void>
  /** Starts it again, with the data that it had. */
  restart(): Promise<void>
  /** Ends it and removes its data. */
  stop(): Promise<void>
}

/** Why tests with PostgreSQL and Redis are skipped; undefined if both are installed. */
export function missingServices(): string | undefined {
  if (binary('postgres') === undefined) return 'postgresql is not installed'
  if (binary('redis-server') === undefined) return 'redis-server is not installed'
  return undefined
}

/** PostgreSQL with an empty database. It refuses to run as root, where the user of its package runs it. */
export async function startPostgres(): Promise<Service & { database(name: string): Promise<string> }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-postgres-'))
  const user = process.getuid?.() === 0 ? idsOf('postgres') : {}
  if (user.uid !== undefined && user.gid !== undefined) chownSync(folder, user.uid, user.gid)
  const inFolder = { ...user, cwd: folder }
  execFileSync(binary('initdb') ?? '', ['-D', folder, '-U', 'oriel', '--auth=trust', '--no-sync', '-E', 'UTF8'], {
    ...inFolder,
    stdio: 'ignore',
  })
  const port = await freePort()
  const url = `postgres://oriel@127.0.0.1:${port}/postgres`
  const options = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off', 'max_connections=50']
  const args = ['-D', folder, '-p', String(port), ...options.flatMap((option) => ['-c', option])]
  const service = serviceOf({
    url,
    folder,
    start: () => spawn(binary('postgres') ?? '', args, { ...inFolder, stdio: 'ignore' }),
    check: () => withClient(url, (client) => client.query('select 1')),
  })
  await service.restart()
  return {
    ...service,
    async database(name) {
      await withClient(url, (client) => client.query(`create database ${name}`))
      return url.replace(/\/postgres$/, `/${name}`)
    },
  }
}

/** Redis without a file: what it knew is lost when it ends. */
export async function startRedis(): Promise<Service> {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-redis-'))
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'no',
    '--databases',
    '100',
  ]
  const service = serviceOf({
    url,
    folder,
    start: () => spawn(binary('redis-server') ?? '', args, { stdio: 'ignore' }),
    async check() {
      const client = createClient({ url, socket: { reconnectStrategy: false } })
      client.on('error', () => {})
      await client.connect()
      await client.ping()
      await client.close()
    },
  })
  await service.restart()
  return service
}

interface Program {
  url: string
  folder: string
  start(): ChildProcess
  /** Rejects while it does not answer. */
  check(): Promise<unknown>
}

function serviceOf({ url, folder, start, check }: Program): Service {
  let running: ChildProcess | undefined
  const kill = async (): Promise<void> => {
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return
    const ended = new Promise((resolve) => running?.once('exit', resolve))
    running.kill('SIGKILL')
    await ended
  }
  return {
    url,
    kill,
    async restart() {
      // PostgreSQL does not start while processes of a killed one are there.
      await vi.waitFor(async () => {
        if (running === undefined || running.exitCode !== null || running.signalCode !== null) running = start()
        await check()
      }, patient)
    },
    async stop() {
      await kill()
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    },
  }
}

async function withClient(url: string, act: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 })
  client.on('error', () => {})
  await client.connect()
  try {
    await act(client)
  } finally {
    await client.end()
  }
}

/** Debian does not put PostgreSQL's programs into the path. */
function binary(name: string): string | undefined {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).map((version) => path.join(debian, version, 'bin')) : []
  return [...(process.env.PATH ?? '').split(path.delimiter), ...versions]
    .map((folder) => path.join(folder, name))
    .find((file) => existsSync(file))
}

function idsOf(user: string): { uid?: number; gid?: number } {
  const id = (flag: string): number => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
