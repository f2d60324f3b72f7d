import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startProcess } from '../../src/children/index.ts'
import { prepareEngine, startEngine } from '../../src/engine/index.ts'
import { createLogger } from '../../src/log.ts'
import { programFile } from '../../src/places.ts'
import { childrenRunning } from '../support/children.ts'
import { inputs, shortRun } from '../support/long.ts'
import { answerOf, ask, engineSettings, pocketFolder, requestOf, square } from '../support/pocket.ts'

const before = process.env.XDG_CACHE_HOME
let cache: string
const weights = () => path.join(cache, 'oriel', 'weights')

beforeAll(() => {
  cache = mkdtempSync(path.join(tmpdir(), 'oriel-load-'))
  process.env.XDG_CACHE_HOME = cache
})
afterAll(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME
  else process.env.XDG_CACHE_HOME = before
  rmSync(cache, { recursive: true, force: true })
})

/** Loads Pocket, asks it about an image, and unloads it. */
async function loadAndAsk(options: Partial<Parameters<typeof startEngine>[0]> = {}): Promise<string | undefined> {
  const engine = await startEngine({
    decoder: `${pocketFolder}pocket.gguf`,
    projector: `${pocketFolder}mmproj-pocket.gguf`,
    name: 'pocket',
    settings: { ...engineSettings, weightCacheBytes: 1e9 },
    log: createLogger('silent'),
    ...options,
  })
  try {
    const prompt = ask('What is in this image?', square([220, 40, 30]))
    return (await answerOf(engine, requestOf(prompt))).texts[0]
  } finally {
    await engine.close()
  }
}

const int8 = { ...engineSettings, visionPrecision: 'int8', weightCacheBytes: 1e9 } as const

describe('a load', () => {
  it.skipIf(shortRun)('keeps the weights of the encoder, and gives the same answer with and without them', async () => {
    const told = await loadAndAsk({ settings: engineSettings })
    expect(told).toMatch(/\w/)
    expect(await loadAndAsk()).toBe(told)
    const kept = readdirSync(weights())
    expect(kept).toHaveLength(1)
    expect(await loadAndAsk()).toBe(told)
    expect(readdirSync(weights())).toEqual(kept)
    truncateSync(path.join(weights(), kept[0] ?? ''), 4096)
    expect(await loadAndAsk()).toBe(told)
    // The folder is deleted while the model is loaded.
    expect(await loadAndAsk({ onProgress: () => rmSync(weights(), { recursive: true, force: true }) })).toBe(told)
    rmSync(weights(), { recursive: true, force: true })
    writeFileSync(weights(), 'not a folder')
    expect(await loadAndAsk()).toBe(told)
    rmSync(weights())
  })

  it.skipIf(shortRun)('lets two engines make the same weights at once, in either precision', async () => {
    const told = await Promise.all([loadAndAsk(), loadAndAsk(), loadAndAsk({ settings: int8 })])
    expect(new Set(told).size).toBe(1)
    expect(readdirSync(weights())).toHaveLength(2)
    expect(await loadAndAsk({ settings: int8 })).toBe(told[0])
  })

  it('tells its progress, of both halves', async () => {
    const shares: number[] = []
    await loadAndAsk({ settings: engineSettings, onProgress: (share) => shares.push(share) })
    expect(shares).toEqual(shares.toSorted((a, b) => a - b))
    expect(shares.every((share) => share > 0 && share <= 1)).toBe(true)
  })

  it('leaves no process if its server ends before that has read its code', async () => {
    const child = startProcess(programFile('engine/process'), { stdio: ['ignore', 'ignore', 'ignore', 'ipc', 'pipe'] })
    child.disconnect()
    expect(await once(child, 'exit')).toEqual([0, null])
  })

  it('takes the process that was prepared for it', async () => {
    prepareEngine()
    const prepared = engines()
    expect(prepared).toHaveLength(1)
    let during: readonly number[] = []
    expect(await loadAndAsk({ onProgress: () => (during = engines()) })).toMatch(/\w/)
    expect(during).toEqual(prepared)
    expect(engines()).toEqual([])
  })

  it('gives everything back when the model is unloaded', async () => {
    await loadAndAsk()
    globalThis.gc?.()
    const { rss } = process.memoryUsage()
    for (let cycle = 0; cycle < inputs(3, 10); cycle++) await loadAndAsk()
    expect(engines()).toEqual([])
    globalThis.gc?.()
    expect(process.memoryUsage().rss - rss).toBeLessThan(40e6)
  })
})

const engines = (): number[] => childrenRunning('engine-process').map(({ pid }) => pid)
