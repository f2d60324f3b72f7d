import { readdirSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { Spool } from '../../src/accounts/spool.ts'
import { openStore } from '../../src/accounts/store/store.ts'
import { loadConfig } from '../../src/load-config.ts'
import { inputs, shortRun } from '../support/long.ts'
import { patient } from '../support/wait.ts'
import { answered, houses, openAccounts, small, temporaryFolder } from './houses.ts'
import { some, startWriter, written } from './processes.ts'

describe.each(houses)('processes that share a database: $title', ({ skip, isShared, house }) => {
  const { settings } = house()

  it.skipIf(skip || shortRun)(
    'start at the same time, write together, and lose nothing when they are told to end',
    async () => {
      const shared = await settings('together')
      const writers = Array.from({ length: inputs(2, 3) }, () => startWriter(shared))
      await some(writers, 100)
      for (const writer of writers) writer.kill('SIGTERM')
      expect(await Promise.all(writers.map(({ ended }) => ended))).toEqual(writers.map(() => 0))
      const settled = writers.flatMap(({ settled }) => settled.map(({ id }) => id))
      expect(await written(shared)).toEqual(new Set(settled))
    },
  )

  it.skipIf(skip || shortRun)(
    'let no more than the limit into any minute, and write just that',
    async () => {
      const limit = inputs(150, 500)
      const limited = { ...(await settings('edge')), tier: 'edge', tiers: { edge: { requests: limit } } }
      // In memory, each server counts for itself.
      const writers = Array.from({ length: isShared ? 2 : 1 }, () => startWriter(limited, 400))
      const granted = () => writers.flatMap(({ settled }) => settled)
      await vi.waitFor(() => {
        for (const { refused } of writers) expect(refused).toBeGreaterThan(50)
        expect(granted().length).toBeGreaterThanOrEqual(limit)
      }, patient)
      // With time, over the edges of three minutes.
      const begun = granted()[0]?.at ?? 0
      while (Date.now() - begun < inputs(0, 190_000)) await sleep(100)
      for (const writer of writers) writer.kill('SIGTERM')
      await Promise.all(writers.map(({ ended }) => ended))

      const all = granted()
      // Those that certainly were let in during the minute that ends there.
      const inMinute = all.map(({ at: end }) => all.filter(({ begun, at }) => at <= end && begun > end - 60_000).length)
      expect(Math.max(...inMinute)).toBeLessThanOrEqual(limit)
      expect(all.length).toBeGreaterThanOrEqual(limit * inputs(1, 3))
      expect(await written(limited)).toEqual(new Set(granted().map(({ id }) => id)))
    },
    600_000,
  )

  it.skipIf(skip || shortRun)('lose at most the last second when they are killed', async () => {
    const shared = await settings('killed')
    const writers = [startWriter(shared), startWriter(shared)]
    await some(writers, 300)
    for (const writer of writers) writer.kill('SIGKILL')
    await Promise.all(writers.map(({ ended }) => ended))

    const found = await written(shared)
    for (const { settled } of writers) {
      const last = settled.at(-1)?.at ?? 0
      const missing = settled.filter(({ id }) => !found.has(id))
      // A second, and one more for a machine on which a process waits for its turn.
      expect(last - Math.min(last, ...missing.map(({ at }) => at))).toBeLessThan(2000)
      expect(settled.length - missing.length).toBeGreaterThan(0)
    }
  })
})

describe('usage on disk', () => {
  const root = temporaryFolder()
  it('that a process has left is brought back by the next one, once', async () => {
    const folder = path.join(root, 'left')
    const spool = await Spool.open(path.join(folder, 'usage'), 1_000_000)
    const row = (id: string) => ({
      ...{
        id,
        time: Date.now(),
        account: 'acme',
        key: null,
        model: 'pocket',
        adapter: null,
        endpoint: 'a',
        dialect: 'b',
      },
      ...{ text_tokens: 10, image_tokens: 0, audio_tokens: 0, video_tokens: 0, images: 0, cached_tokens: 0 },
      ...{ completion_tokens: 5, reasoning_tokens: 0, queue_ms: 0, media_ms: 0, encode_ms: 0, prefill_ms: 0 },
      ...{ generation_ms: 0, status: 200, cost: 20 },
    })
    await spool.add([row('left 1'), row('left 2')])
    await spool.add([row('left 2'), row('left 3')])
    await spool.add(['damaged'])
    await (await openAccounts({ dataDir: folder })).close()
    expect(await written({ dataDir: folder })).toEqual(new Set(['left 1', 'left 2', 'left 3']))
    expect(readdirSync(path.join(folder, 'usage'))).toEqual([expect.stringMatching(/\.json\.damaged$/)])
  })

  it.skipIf(process.platform === 'win32')('is for its owner only, as the database is', async () => {
    const dataDir = path.join(root, 'owner')
    const accounts = await openAccounts({ dataDir })
    await accounts.keys.create({ account: 'acme' })
    for (const file of readdirSync(dataDir)) expect(statSync(path.join(dataDir, file)).mode & 0o077, file).toBe(0)
    await accounts.close()
  })

  it.skipIf(shortRun)('waits in memory when nothing can be written to disk, and the database is locked', async () => {
    const dataDir = path.join(root, 'memory')
    const accounts = await openAccounts({ dataDir })
    const who = await accounts.authenticate(undefined)
    rmSync(path.join(dataDir, 'usage'), { recursive: true })
    const other = await openStore(loadConfig({ accounts: { dataDir } }, {}).accounts)
    await other.db.transaction().execute(async (trx) => {
      await trx.insertInto('accounts').values({ id: 'a', tier: null, budget: null, created: 0 }).execute()
      for (let request = 0; request < 150; request++) (await accounts.admit(who, 'pocket', small)).settle(answered())
      await sleep(2500)
    })
    await other.close()
    await vi.waitFor(async () => {
      expect((await accounts.usage({ from: 0, to: Date.now() + 1 })).rows).toMatchObject([{ requests: 150 }])
    }, patient)
    await accounts.close()
  })

  it('is bounded', async () => {
    const spool = await Spool.open(path.join(root, 'bounded'), 100)
    expect(await spool.add(['a'.repeat(80)])).toBe(true)
    expect(await spool.add(['a'.repeat(80)])).toBe(false)
    const [batch = ''] = await spool.batches()
    await spool.remove(batch)
    expect(await spool.add(['a'.repeat(80)])).toBe(true)
  })
})
