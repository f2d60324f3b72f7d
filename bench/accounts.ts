import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { createAccounts } from '../src/accounts/index.ts'
import { loadConfig } from '../src/config.ts'

/**
 * Measures what accounts add to a request: `npx tsx bench/accounts.ts [requests]`. Each of 50 keys with limits and a budget
 * is authenticated, admitted and settled in its turn, 500 requests a second, on SQLite and memory, or with `DATABASE_URL`
 * and `REDIS_URL` on those. Nothing else is in the process: the same loop with nothing to do is the comparison.
 */
async function measure(requests: number): Promise<void> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'oriel-bench-'))
  const tier = { requests: 100_000, promptTokens: 100_000_000, generatedTokens: 10_000_000, concurrentRequests: 1000 }
  const { accounts: given, ...settings } = loadConfig({ accounts: { dataDir, tier: 'bench', tiers: { bench: tier } } })
  const accounts = await createAccounts({ ...settings, accounts: given }, pino({ level: 'silent' }))
  const name = path.basename(dataDir)
  const secrets: string[] = []
  for (let key = 0; key < 50; key++)
    secrets.push((await accounts.keys.create({ account: `${name}-${key}`, budget: 10 ** 12 })).secret)

  const request = async (index: number): Promise<void> => {
    const who = await accounts.authenticate(secrets[index % secrets.length])
    const reservation = await accounts.admit(who, 'pocket', { promptTokens: 500, generatedTokens: 100, images: 1 })
    const tokens = { textTokens: 400, imageTokens: 100, images: 1, completionTokens: 90 }
    reservation.settle({ endpoint: '/v1/chat/completions', dialect: 'openai', status: 200, ...tokens })
  }
  console.log(`accounts: ${await timesOf(requests, request)}`)
  console.log(`nothing:  ${await timesOf(requests, async () => {})}`)
  await accounts.close()
  rmSync(dataDir, { recursive: true })
}

/** Quantiles of the time of each request in ms. The first twentieth is not counted. */
async function timesOf(requests: number, request: (index: number) => Promise<void>): Promise<string> {
  const times: number[] = []
  for (let index = 0; index < requests; index++) {
    const begun = performance.now()
    await request(index)
    if (index > requests / 20) times.push(performance.now() - begun)
    if (index % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  }
  times.sort((a, b) => a - b)
  const [p50, p99] = [0.5, 0.99].map((share) => times[Math.floor(times.length * share)]?.toFixed(3))
  return `p50 ${p50} ms, p99 ${p99} ms of ${times.length} requests`
}

await measure(Number(process.argv[2] ?? 10_000))
