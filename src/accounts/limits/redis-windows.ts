import { createClient } from 'redis'
import type { Logger } from '../../log.ts'
import { Reach } from '../reach.ts'
import { type Amounts, kinds, type Limits } from './kinds.ts'
import { type Script, settleScript, takeScript } from './redis-scripts.ts'
import type { Attempt } from './windows.ts'

/** A request waits this long for Redis, in ms. Then it is counted in memory only. */
const timeoutMs = 1000
/** The right to be one of the requests that run at the same time ends so soon after a server died, in ms. */
const leaseMs = 30_000
const renewEveryMs = 10_000
/** The longest wait before a lost connection is tried again, in ms. */
const reconnectMs = 1000

/** Windows that several servers share, in Redis. Every method fails at once while it is cut off. */
export class RedisWindows {
  readonly #url: string
  #client: Client
  #connected: Promise<unknown> = Promise.resolve()
  #openedAt = 0
  readonly #reach: Reach
  readonly #now: (() => number) | undefined
  /** The running requests of this server, and the windows that they are in. */
  readonly #leases = new Map<string, string>()
  readonly #timer: NodeJS.Timeout

  /**
   * Waits for the connection, but not for long.
   * @param now a clock to use instead of Redis's, in ms
   */
  static async open(url: string, log: Logger, now?: () => number): Promise<RedisWindows> {
    const windows = new RedisWindows(url, log, now)
    await windows.#reach.call(() => windows.#connected).catch(() => {})
    return windows
  }

  private constructor(url: string, log: Logger, now?: () => number) {
    this.#now = now
    this.#reach = new Reach('Redis', timeoutMs, log)
    this.#url = url
    this.#client = this.#open()
    this.#timer = setInterval(() => void this.#renew().catch(() => {}), renewEveryMs).unref()
  }

  /** As `MemoryWindows.take`. @param lease names the request */
  async take(name: string, limits: Limits, concurrent: number, amounts: Amounts, lease: string): Promise<Attempt> {
    const reply = await this.#run(takeScript, name, [
      ...[lease, leaseMs, finite(concurrent)],
      ...limits.map(finite),
      ...amounts,
    ])
    const [granted, slot = 0, blocked = 0, wait = 0, ...totals] = reply.map(Number)
    if (granted === 1 && concurrent < Number.POSITIVE_INFINITY) this.#leases.set(lease, name)
    return {
      granted: granted === 1,
      slot,
      remaining: kinds.map((_, kind) => Math.max(0, (limits[kind] ?? 0) - (totals[kind] ?? 0))),
      blocked: granted === 1 ? undefined : blocked === 0 ? 'concurrentRequests' : blocked - 1,
      retryMs: granted === 1 ? 0 : wait < 0 ? Number.POSITIVE_INFINITY : Math.max(1000, wait),
    }
  }

  /** As `MemoryWindows.settle`. */
  async settle(name: string, slot: number, unused: Amounts, extra: Amounts, lease: string): Promise<void> {
    this.#leases.delete(lease)
    await this.#run(settleScript, name, [lease, slot, ...unused, ...extra])
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    if (this.#client.isReady) await this.#reach.call(() => this.#client.close()).catch(() => this.#client.destroy())
    else this.#client.destroy()
  }

  async #run(script: Script, name: string, given: readonly (string | number)[]): Promise<unknown[]> {
    const call = {
      keys: [windowOf(name), leasesOf(name)],
      arguments: [Math.floor(this.#now?.() ?? -1), kinds.length, ...given].map(String),
    }
    const reply = await this.#reach.call(() =>
      this.#inTime((client) =>
        client.evalSha(script.sha, call).catch((error: unknown) => {
          if (!String(error).includes('NOSCRIPT')) throw error
          return client.eval(script.source, call)
        }),
      ),
    )
    return Array.isArray(reply) ? reply : []
  }

  async #renew(): Promise<void> {
    if (this.#leases.size === 0) return
    await this.#reach.call(() =>
      this.#inTime(async (client) => {
        const [seconds] = await client.sendCommand<[string, string]>(['TIME'])
        const end = (this.#now?.() ?? Number(seconds) * 1000) + leaseMs
        const commands = client.multi()
        for (const [lease, name] of this.#leases) commands.zAdd(leasesOf(name), { score: end, value: lease })
        await commands.execAsPipeline()
      }),
    )
  }

  #open(): Client {
    const client = clientOf(this.#url)
    this.#openedAt = performance.now()
    // Each call learns it by itself.
    client.on('error', () => {})
    // A script that Redis does not know is sent after calls that came later.
    client.on('ready', () => {
      for (const { source } of [takeScript, settleScript]) client.scriptLoad(source).catch(() => {})
    })
    this.#connected = client.connect()
    this.#connected.catch(() => {})
    return client
  }

  /** A connection on which nothing comes back is dead, although nobody has said so: the next call has another one. */
  async #inTime<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = this.#client
    const replace = (): void => {
      if (client !== this.#client) return
      client.destroy()
      this.#client = this.#open()
    }
    // When this process was late itself, the answer may be there and not be read yet.
    const late = setTimeout(() => setImmediate(() => isOver || replace()), timeoutMs)
    let isOver = false
    try {
      return await work(client)
    } catch (error) {
      // It was opened into the silence, and would wait for its greeting for ever.
      if (!client.isReady && performance.now() - this.#openedAt > 2 * timeoutMs) replace()
      throw error
    } finally {
      isOver = true
      clearTimeout(late)
    }
  }
}

const clientOf = (url: string) =>
  createClient({
    url,
    // What cannot be sent at once is counted in memory; sent later, it would be counted at the wrong time.
    disableOfflineQueue: true,
    socket: { connectTimeout: timeoutMs, reconnectStrategy: (retries) => Math.min(50 * 2 ** retries, reconnectMs) },
  })

type Client = ReturnType<typeof clientOf>

/** In braces: a cluster keeps both keys of a name on one node. */
const windowOf = (name: string): string => `oriel:{${name}}:window`
const leasesOf = (name: string): string => `oriel:{${name}}:running`

const finite = (limit: number): number => (Number.isFinite(limit) ? limit : -1)
