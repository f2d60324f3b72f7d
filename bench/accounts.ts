import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import pino from 'pino'
import { Agent, request } from 'undici'
import { type Accounts, createAccounts, type Identity } from '../src/accounts/index.ts'
import { createServer, memoryStore } from '../src/api/index.ts'
import { deploy } from '../src/deployments/index.ts'
import { loadConfig } from '../src/load-config.ts'
import { createMachine } from '../src/machine/index.ts'
import { createMedia } from '../src/media/index.ts'
import { createLibrary } from '../src/models/index.ts'
import { createTuning } from '../src/tuning/index.ts'
import { plainBackend } from '../test/support/plain-backend.ts'

/**
 * Measures what accounts add to a request over HTTP: `npx tsx bench/accounts.ts [--requests 20000] [--rate 200]`.
 *
 * Two servers of one process answer at once, with a backend that computes nothing. One has 50 keys with limits and budgets,
 * and a ledger in SQLite (or, with `DATABASE_URL` and `REDIS_URL`, in those). The other has accounts that do nothing, as a
 * server without this room would. Requests go to them in turns, so what disturbs one disturbs the other.
 */
const { values: flags } = parseArgs({
  options: { requests: { type: 'string', default: '20000' }, rate: { type: 'string', default: '200' } },
})
const log = pino({ level: 'silent' })

const tier = { requests: 1_000_000, promptTokens: 1e9, generatedTokens: 1e9, images: 1e6, concurrentRequests: 1000 }

async function main(): Promise<void> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'oriel-bench-'))
  const config = loadConfig({ accounts: { dataDir, tier: 'bench', tiers: { bench: tier } }, prices: { input: 1 } })
  const accounts = await createAccounts(config, log)
  const name = path.basename(dataDir)
  const keys: string[] = []
  for (let key = 0; key < 50; key++)
    keys.push((await accounts.keys.create({ account: `${name}-${key}`, budget: 10 ** 12 })).secret)

  const [without, withAccounts] = [await serve(config, nothing), await serve(config, accounts)]
  const times = { without: [] as number[], with: [] as number[] }
  const warm = Number(flags.requests) / 20
  for (let index = 0; index < Number(flags.requests); index++) {
    const key = keys[index % keys.length] ?? ''
    // Each is first in half of the pairs.
    const pair = [
      async () => void times.without.push(await ask(without.url, key)),
      async () => void times.with.push(await ask(withAccounts.url, key)),
    ]
    for (const one of index % 2 === 0 ? pair : pair.toReversed()) await one()
    await new Promise((resolve) => setTimeout(resolve, 1000 / Number(flags.rate)))
  }
  const [less, more] = [times.without.slice(warm), times.with.slice(warm)]
  for (const share of [0.5, 0.9, 0.99]) {
    const [a, b] = [quantile(less, share), quantile(more, share)]
    console.log(`p${share * 100}: ${a.toFixed(3)} ms without, ${b.toFixed(3)} ms with, ${(b - a).toFixed(3)} ms more`)
  }
  console.log(`${more.length} pairs of requests`)
  await Promise.all([without.close(), withAccounts.close()])
  await accounts.close()
  rmSync(dataDir, { recursive: true })
}

const quantile = (times: readonly number[], share: number): number =>
  times.toSorted((a, b) => a - b)[Math.floor(times.length * share)] ?? 0

async function serve(config: ReturnType<typeof loadConfig>, accounts: Accounts) {
  const media = createMedia(config.media)
  const library = createLibrary(config.models, { images: [], audio: [] })
  const deployments = deploy({
    ...{ config, library, media, log, cards: [], gpuMemory: undefined },
    backends: [plainBackend()],
    start: () => Promise.reject(new Error('there is no other backend')),
  })
  const clearCache = () => media.clearCache()
  const machine = createMachine({ config, library, deployments, cards: [], gpu: false, log })
  const tuning = await createTuning({
    ...{ config, library, deployments, log, cards: [], runsAll: false },
    resources: accounts.resources,
  })
  const services = { accounts, deployments, machine, tuning, clearCache, responses: memoryStore() }
  const server = createServer(services, config.server, new AbortController().signal, log)
  await server.listen({ host: '127.0.0.1', port: 0 })
  const { port } = server.server.address() as AddressInfo
  const close = async (): Promise<void> => {
    await server.close()
    await tuning.close()
    await deployments.close()
    await media.close()
  }
  return { url: `http://127.0.0.1:${port}`, close }
}

const everybody: Identity = {
  ...{ account: 'local', key: null, scopes: ['inference'], models: null },
  ...{ tier: null, keyBudget: null, accountBudget: null },
}

/** What a server without accounts would do: nothing. */
const nothing = {
  required: async () => false,
  authenticate: async () => everybody,
  allow: () => {},
  admit: async () => ({ id: '', rates: { limits: {}, isOver: false }, expect: async () => {}, settle: () => 0 }),
  pricesOf: () => ({ input: 0, cachedInput: 0, output: 0, image: 0 }),
} as Partial<Accounts> as Accounts

const dispatcher = new Agent({ connections: 1 })
const body = JSON.stringify({ model: 'plain', messages: [{ role: 'user', content: 'How many words are these?' }] })

/** @returns the time until the answer is complete, in ms */
async function ask(url: string, key: string): Promise<number> {
  const begun = performance.now()
  const { statusCode, body: answer } = await request(`${url}/v1/chat/completions`, {
    ...{ method: 'POST', body, dispatcher },
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
  })
  await answer.text()
  if (statusCode !== 200) throw new Error(`status ${statusCode}`)
  return performance.now() - begun
}

await main()
