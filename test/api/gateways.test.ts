import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Accounts, createAccounts } from '../../src/accounts/index.ts'
import type { OrielSettings } from '../../src/config.ts'
import { loadConfig } from '../../src/load-config.ts'
import { orielServe } from '../support/cli.ts'
import { dataUrl, shape } from '../support/images.ts'
import { type Line, startLine } from '../support/line.ts'
import {
  type Client,
  type Load,
  leaving,
  load,
  mostInMinute,
  type Sent,
  send,
  waysOf,
  without,
  written,
} from '../support/load.ts'
import { shortRun } from '../support/long.ts'
import { missingServices, type Service, startPostgres, startRedis } from '../support/services.ts'
import { patient } from '../support/wait.ts'

/**
 * Servers as processes, as people run them: one with what is embedded, two with PostgreSQL and Redis. Clients ask in all
 * dialects, and what they were told is compared with the ledger.
 */

const skip = missingServices()
/** Whether nothing else runs: at the edge of a limit of time, a machine that is late looks like a server that is wrong. */
const long = process.env.TEST_ALONE === '1'
const inputs = (few: number, all: number): number => (long ? all : few)
const administrator = 'the-key-of-the-administrator'
/** Of the load: with `TEST_ALONE` 10,000 requests of 50 keys over more than a minute. */
const size = { keys: inputs(5, 50), requests: inputs(32, 200), everyMs: inputs(40, 400) }
const tiers = {
  requests: { requests: inputs(20, 100) },
  generated: { generatedTokens: inputs(150, 600) },
  images: { images: inputs(4, 12) },
  two: { concurrentRequests: 2 },
  sixty: { requests: 60 },
}
const prices = { pocket: { input: 1, cachedInput: 0.3, output: 2, image: 0.00007 } }

interface Server {
  readonly url: string
  readonly isRunning: boolean
  /** @returns its exit code */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>
}

describe.each([
  { title: 'one server with SQLite and memory', isShared: false },
  { title: `two servers with PostgreSQL and Redis${skip === undefined ? '' : ` (skipped: ${skip})`}`, isShared: true },
])('$title', ({ isShared }) => {
  if (isShared && skip !== undefined) return it.skip(skip)
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-gateways-'))
  const file = path.join(folder, 'oriel.json')
  const started: Server[] = []
  let services: { postgres: Service; redis: Service } | undefined
  /** The network between the servers and these services. */
  let lines: { postgres: Line; redis: Line } | undefined
  let settings: NonNullable<OrielSettings['accounts']>
  let accounts: Accounts
  let ways: Load['ways']

  beforeAll(async () => {
    writeFileSync(file, JSON.stringify({ accounts: { tiers, prices } }))
    settings = { dataDir: path.join(folder, 'data'), tiers }
    if (isShared) {
      const [postgres, redis] = await Promise.all([startPostgres(), startRedis()])
      services = { postgres, redis }
      lines = { postgres: await startLine(postgres.url), redis: await startLine(redis.url) }
      settings = { ...settings, databaseUrl: postgres.url }
    }
    accounts = await createAccounts(loadConfig({ accounts: settings }, {}), pino({ level: 'silent' }))
    ways = waysOf(dataUrl(await shape('red', 'circle', 64)))
  })
  afterAll(async () => {
    await Promise.all(started.map((server) => server.end('SIGKILL')))
    await accounts.close()
    await Promise.all([lines?.postgres, lines?.redis].map((line) => line?.close()))
    await Promise.all([services?.postgres, services?.redis].map((service) => service?.stop()))
    rmSync(folder, { recursive: true, force: true })
  })

  /** @param name of its data folder, if it is not alone */
  async function start(name: string): Promise<Server> {
    const { child, url } = await orielServe(['--config', file, '--gpu', 'off'], {
      ORIEL_DATA_DIR: path.join(folder, isShared ? name : 'data'),
      ORIEL_ADMIN_KEY: administrator,
      ORIEL_LOG_LEVEL: 'silent',
      ...(lines && { DATABASE_URL: lines.postgres.url, REDIS_URL: lines.redis.url }),
    })
    let isRunning = true
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    const server: Server = {
      url,
      get isRunning() {
        return isRunning
      },
      end(signal) {
        isRunning = false
        child.kill(signal)
        return ended
      },
    }
    started.push(server)
    return server
  }
  const startAll = (...names: string[]) => Promise.all((isShared ? names : names.slice(0, 1)).map(start))

  let made = 0
  async function clientOf(tier: string | null): Promise<Client> {
    const account = `${tier}-${made++}`
    await accounts.keys.setAccount(account, { tier })
    return { account, key: (await accounts.keys.create({ account })).secret }
  }
  const clientsOf = (names: readonly (string | null)[]) => Promise.all(names.map(clientOf))
  /** Clients whose tiers are these, in turn. */
  const some = (names: readonly (string | null)[]) =>
    clientsOf(Array.from({ length: size.keys }, (_, at) => names[at % names.length] ?? null))

  /** One after the other, of those that run. */
  const inTurn = (servers: readonly Server[]) => {
    let turn = 0
    return () => {
      const running = servers.filter(({ isRunning }) => isRunning)
      return (running.length === 0 ? servers : running)[turn++ % Math.max(1, running.length)]?.url ?? ''
    }
  }
  /** Calls `act` when so many requests were sent. */
  const whenSent = (requests: number, act: () => void) => {
    let sent = 0
    return () => {
      if (++sent === requests) act()
    }
  }
  const rowsOf = (sent: readonly Sent[], { account }: Client) =>
    sent.filter((one) => one.account === account).flatMap(({ row }) => row ?? [])
  const unknown = (sent: readonly Sent[], { account }: Client) =>
    sent.filter((one) => one.account === account && one.row === null).length

  it.skipIf(shortRun && !long)(
    'lets nobody do more than allowed in any minute, and writes what the answers say, with a SIGTERM in the middle',
    async () => {
      const servers = await startAll('a', 'b')
      const clients = await some(['requests', 'requests', 'generated', 'requests', 'images'])
      let ended: Promise<number | null> | undefined
      const all = size.keys * size.requests
      // A server alone ends late: its memory ends with it.
      const sent = await load({
        ...{ ...size, clients, ways, server: inTurn(servers) },
        onSent: whenSent(Math.floor(all * (isShared ? 0.5 : 0.9)), () => {
          ended = servers[0]?.end('SIGTERM')
        }),
      })
      expect(await ended).toBe(0)
      await Promise.all(servers.map((server) => server.end('SIGTERM')))
      expect(sent).toHaveLength(all)

      const most = (tier: string, amount: (sent: Sent) => number) =>
        clients
          .filter(({ account }) => account.startsWith(tier))
          .map(({ account }) => mostInMinute(sent, account, amount))
      for (const requests of most('requests', () => 1)) {
        expect(requests).toBeLessThanOrEqual(tiers.requests.requests)
        // They were at the edge.
        expect(requests).toBeGreaterThanOrEqual(tiers.requests.requests * 0.9)
      }
      for (const tokens of most('generated', ({ generated }) => generated))
        expect(tokens).toBeLessThanOrEqual(tiers.generated.generatedTokens)
      for (const images of most('images', ({ images }) => images))
        expect(images).toBeLessThanOrEqual(tiers.images.images)
      expect(sent.filter(({ status }) => status === 429).length).toBeGreaterThan(all / 20)

      const { rows, broken } = await written(
        settings,
        clients.map(({ account }) => account),
      )
      for (const client of clients) {
        const { account } = client
        expect(rows.get(account)?.toSorted()).toEqual(rowsOf(sent, client).toSorted())
        expect(broken.get(account)).toBeLessThanOrEqual(unknown(sent, client))
      }
      process.stdout.write(`${statusesOf(sent)}\n`)
    },
    600_000,
  )

  // The rooms' own tests have smaller versions of what follows.
  it.runIf(long)(
    'loses at most the last second to kill -9, and counts nothing twice',
    async () => {
      const servers = await startAll('c', 'd')
      const [victim] = servers
      const clients = await some([null])
      let killedAt = 0
      const sent = await load({
        ...{ ...size, clients, ways, server: inTurn(servers), requests: 100 },
        onSent: whenSent(size.keys * 60, () => {
          killedAt = performance.now()
          void victim?.end('SIGKILL')
        }),
      })
      await Promise.all(servers.slice(1).map((server) => server.end('SIGTERM')))

      const { rows, broken } = await written(
        settings,
        clients.map(({ account }) => account),
      )
      const missing: string[] = []
      for (const client of clients) {
        const own = sent.filter(({ account }) => account === client.account)
        const found = rows.get(client.account) ?? []
        const known = rowsOf(own, client)
        // What was written and not answered was running when it was killed.
        expect(without(found, known).length + (broken.get(client.account) ?? 0)).toBeLessThanOrEqual(
          unknown(own, client),
        )
        const lost = without(known, found)
        const last = own.filter(({ server, ended }) => server === victim?.url && ended > killedAt - 2000)
        expect(without(lost, rowsOf(last, client))).toEqual([])
        missing.push(...lost)
      }
      const answered = sent.filter(({ server, row }) => server === victim?.url && row).length
      process.stdout.write(`${missing.length} rows of ${answered} are missing\n`)
      expect(missing.length).toBeLessThan(answered)
    },
    600_000,
  )

  it.runIf(long)('ends in time, and writes everything, although a client reads nothing', async () => {
    const [server] = await startAll('e')
    if (server === undefined) throw new Error('no server')
    const client = await clientOf(null)
    const { hostname, port } = new URL(server.url)
    const body = JSON.stringify({
      ...{ model: 'pocket', stream: true, max_tokens: 4000, ignore_eos: true, logprobs: true, top_logprobs: 20 },
      messages: [{ role: 'user', content: 'Hello' }],
    })
    const socket = connect(Number(port), hostname).on('error', () => {})
    socket.write(
      `POST ${leaving} HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${client.key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    const head = await new Promise<Buffer>((resolve) => socket.once('data', resolve))
    socket.pause()
    expect(String(head)).toMatch(/^HTTP.1.1 200/)
    // With time, the buffers between them are full.
    await sleep(10_000)
    const [way] = ways
    const other = way && (await send(client, server.url, way))
    expect(await server.end('SIGTERM')).toBe(0)
    socket.destroy()
    const { rows, broken } = await written(settings, [client.account])
    expect(rows.get(client.account)).toEqual([other?.row])
    expect(broken.get(client.account)).toBe(1)
  })

  if (!isShared || !long) return
  describe('while a service is cut off', () => {
    /** How long it is cut off, in ms: longer than a key is fresh. */
    const cutMs = 20_000
    let servers: Server[]
    beforeAll(async () => {
      servers = await startAll('f', 'g')
    })
    afterEach(() => {
      lines?.postgres.restore()
      lines?.redis.restore()
    })
    /** Asks until then, everywhere in turn. */
    const askUntil = async (clients: readonly Client[], until: number): Promise<Sent[]> => {
      const sent: Sent[] = []
      const server = inTurn(servers)
      await Promise.all(
        clients.map(async (client, at) => {
          for (let number = at; performance.now() < until; number++) {
            const way = ways[number % ways.length]
            if (way !== undefined) sent.push(await send(client, server(), way))
            await sleep(50)
          }
        }),
      )
      return sent
    }
    const statusOf = async ({ key }: Client, url: string) => {
      const response = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
      return { status: response.status, retryAfter: response.headers.get('retry-after') }
    }

    it('PostgreSQL: known keys are answered, unknown ones told to come back, and usage is exact in the end', async () => {
      const known = await clientsOf([null, null, null])
      const unknownClient = await clientOf(null)
      const before = await askUntil(known, performance.now() + 500)
      for (const { url } of servers) for (const client of known) expect((await statusOf(client, url)).status).toBe(200)

      lines?.postgres.drop()
      const until = performance.now() + cutMs
      const [during, ...refusals] = await Promise.all([
        askUntil(known, until),
        ...servers.map(async ({ url }) => {
          const all: Awaited<ReturnType<typeof statusOf>>[] = []
          while (performance.now() < until - 500) all.push(await statusOf(unknownClient, url))
          return all
        }),
      ])
      for (const refusal of refusals.flat()) expect(refusal).toEqual({ status: 503, retryAfter: '2' })
      for (const own of refusals) expect(own.length).toBeGreaterThan(1)
      expect(new Set(during.map(({ status }) => status))).toEqual(new Set([200, 400, 404, 422]))
      // Requests wait for a database that does not answer only now and then.
      const waits = during.map(({ begun, answered }) => answered - begun).sort((a, b) => a - b)
      expect(waits[Math.floor(waits.length / 2)]).toBeLessThan(1000)

      lines?.postgres.restore()
      for (const { url } of servers)
        await vi.waitFor(async () => expect((await statusOf(unknownClient, url)).status).toBe(200), patient)
      const sent = [...before, ...during, ...(await askUntil(known, performance.now() + 500))]
      await vi.waitFor(async () => {
        const { rows } = await written(
          settings,
          known.map(({ account }) => account),
        )
        for (const client of known)
          expect(rows.get(client.account)?.toSorted()).toEqual(rowsOf(sent, client).toSorted())
      }, patient)
    }, 300_000)

    it('Redis: every server keeps to the limits alone, and they count together again afterwards', async () => {
      const [way] = ways
      if (way === undefined) throw new Error('no way to ask')
      /** How many of so many requests to each server are let in. */
      const letIn = async (client: Client, each: number): Promise<number[]> => {
        const granted = servers.map(() => 0)
        for (let round = 0; round < each; round++)
          await Promise.all(
            servers.map(async ({ url }, at) => {
              const { status } = await send(client, url, way)
              expect([200, 429]).toContain(status)
              if (status === 200) granted[at] = (granted[at] ?? 0) + 1
            }),
          )
        return granted
      }
      const client = await clientOf('sixty')
      const before = await letIn(client, 10)
      expect(before).toEqual([10, 10])

      lines?.redis.drop()
      const restoreAt = performance.now() + cutMs / 2
      expect(await letIn(client, 60)).toEqual([50, 50])
      await sleep(Math.max(0, restoreAt - performance.now()))
      lines?.redis.restore()
      await vi.waitFor(async () => {
        const [one = 0, two = 0] = await letIn(await clientOf('sixty'), 40)
        expect(one + two).toBe(60)
      }, patient)
    }, 300_000)

    it('concurrent requests are counted over both servers, and free when clients leave', async () => {
      const client = await clientOf('two')
      const body = { model: 'pocket', stream: true, max_tokens: 4000, ignore_eos: true }
      const begin = async (url: string) => {
        const over = new AbortController()
        const response = await fetch(`${url}/v1/chat/completions`, {
          method: 'POST',
          headers: { authorization: `Bearer ${client.key}`, 'content-type': 'application/json' },
          body: JSON.stringify({ ...body, messages: [{ role: 'user', content: 'Hello' }] }),
          signal: over.signal,
        })
        return { status: response.status, over }
      }
      for (let round = 0; round < 3; round++)
        await vi.waitFor(async () => {
          const running = await Promise.all([...servers, ...servers, ...servers].map(({ url }) => begin(url)))
          for (const { over } of running) over.abort()
          expect(running.filter(({ status }) => status === 200)).toHaveLength(2)
        }, patient)
    })

    it('a server that ends while its database does not answer leaves the usage to the next one', async () => {
      const client = await clientOf(null)
      const [server] = servers
      if (server === undefined) throw new Error('no server')
      const before = await Promise.all(ways.map((way) => send(client, server.url, way)))
      lines?.postgres.drop()
      const during = await Promise.all(ways.map((way) => send(client, server.url, way)))
      expect(await server.end('SIGTERM')).toBe(0)
      lines?.postgres.restore()
      servers = [await start('f'), ...servers.slice(1)]
      await vi.waitFor(async () => {
        const { rows } = await written(settings, [client.account])
        expect(rows.get(client.account)?.toSorted()).toEqual(rowsOf([...before, ...during], client).toSorted())
      }, patient)
    })
  })
})

const statusesOf = (sent: readonly Sent[]): string => {
  const counts = new Map<number, number>()
  for (const { status } of sent) counts.set(status, (counts.get(status) ?? 0) + 1)
  return [...counts].map(([status, requests]) => `${status}: ${requests}`).join(', ')
}
