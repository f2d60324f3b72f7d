import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { memoryText, planMemory } from '../../src/deployments/memory-plan.ts'
import { audioFamilies, chunksOf, imageFamilies, needAudioArchitecture } from '../../src/encoders/index.ts'
import { OrielError } from '../../src/errors.ts'
import { loadConfig } from '../../src/load-config.ts'
import { readCard } from '../../src/models/card.ts'
import { ultravox } from '../encoders/oracle/families/whisper.ts'
import { libraryWith } from '../support/library.ts'

const card = await libraryWith().find('pocket')
const { engine } = loadConfig({}, {})

describe('the memory plan of a model', () => {
  it('never exceeds the budget: a model that does not fit is refused', () => {
    const bytes = fc.integer({ min: 0, max: 2e9 })
    fc.assert(
      fc.property(
        fc.record({
          decoderBytes: bytes,
          visionBytes: bytes,
          bytesPerToken: fc.integer({ min: 0, max: 1e6 }),
          bytesPerSequence: fc.constantFrom(0, 1e5, 5e7),
          samplesPerToken: fc.constantFrom(0, 640, 2567),
        }),
        fc.integer({ min: 0, max: 8e9 }),
        fc.integer({ min: 0, max: 8192 }),
        (size, budget, contextTokens) => {
          const planned = { ...card, size: { ...card.size, ...size } }
          try {
            const { total, contextCells } = planMemory(planned, { ...engine, contextTokens }, budget)
            expect(total).toBeLessThanOrEqual(budget)
            expect(contextCells).toBeGreaterThan(0)
          } catch (error) {
            expect(error).toBeInstanceOf(OrielError)
          }
        },
      ),
    )
  })

  it('of a model that embeds never exceeds the budget either, and bounds its texts by it', () => {
    const embedding = { dimensions: 1024, pooling: 'cls', whole: true, keeps: false, bytesPerRow: 1e6 } as const
    const size = { ...card.size, decoderBytes: 5e8, bytesPerToken: 0 }
    const plan = (budget: number, more: object = {}, contextTokens = 0) =>
      planMemory(
        { ...card, size, contextTokens: 8192, embedding: { ...embedding, ...more } },
        { ...engine, contextTokens },
        budget,
      )
    expect(plan(64e9).contextCells).toBe(8192)
    expect(plan(8e9).contextCells).toBeLessThan(2000)
    expect(plan(8e9).context).toBeLessThanOrEqual(2e9)
    expect(plan(64e9, {}, 512).contextCells).toBe(512)
    expect(() => plan(8e8)).toThrow(/never fits/)
    expect(() => plan(8e9, {}, 8192)).toThrow(/never fits/)
    // What takes several steps has the buffers of one.
    expect(plan(8e9, { whole: false }).context).toBeLessThan(plan(8e9).context)
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 64e9 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 4e6 }),
        (budget, whole, bytesPerRow) => {
          try {
            const { total, contextCells } = plan(budget, { whole, bytesPerRow })
            expect(total).toBeLessThanOrEqual(budget)
            expect(contextCells).toBeGreaterThan(0)
          } catch (error) {
            expect(error).toBeInstanceOf(OrielError)
          }
        },
      ),
    )
  })

  it('has fewer sequences the larger the state of each is, and counts all of them', () => {
    const plan = (bytesPerSequence: number) =>
      planMemory({ ...card, size: { ...card.size, bytesPerSequence } }, { ...engine, contextTokens: 1000 }, 16e9)
    expect(plan(0).sequences).toEqual({ running: 32, stored: 64 })
    expect(plan(100e3).sequences).toEqual({ running: 32, stored: 64 })
    expect(plan(20e6).sequences).toEqual({ running: 16, stored: 9 })
    expect(plan(20e6).context - plan(0).context).toBe(25 * 20e6)
    expect(plan(1e9).sequences).toEqual({ running: 4, stored: 2 })
  })

  it('has room for the longest sounds that its context holds, or that are allowed', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'oriel-plan-'))
    const [decoder, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
    ultravox.write(decoder, projector)
    const families = { images: imageFamilies, audio: audioFamilies }
    const hearing = await readCard({ id: 'hearing', aliases: [], decoder, projector }, families)

    const plan = (contextTokens: number, maxSamples?: number, budget = 64e9) => {
      const settings = { ...engine, contextTokens, ...(maxSamples === undefined ? {} : { maxSamples }) }
      return planMemory({ ...hearing, contextTokens: 8192 }, settings, budget)
    }
    // 30 s for each chunk, and four numbers for each sample.
    const tokens = chunksOf((await needAudioArchitecture(projector)).plan(16_000))[0]?.tokens ?? 0
    rmSync(folder, { recursive: true })
    const samples = (8192 / tokens) * 480_000
    expect(plan(8192).sounds / (16 * samples)).toBeCloseTo(1, 1)
    expect(plan(4096).sounds).toBeCloseTo(plan(8192).sounds / 2, -2)
    expect(plan(32_768).sounds).toBe(plan(8192).sounds)
    expect(plan(8192, 16_000).sounds).toBe(16 * 16_000)
    expect(memoryText(plan(8192, 16_000))).toContain(', sounds 256 kB, caches')
    expect(memoryText(planMemory(card, engine, 64e9))).not.toContain('sounds')
    // Where memory is short, the context is smaller, and so are the sounds.
    expect(plan(0, undefined, 400e6).contextCells).toBeLessThan(plan(0).contextCells)
  })

  it('accepts a budget that is exactly large enough', () => {
    const size = { ...card.size, decoderBytes: 0, visionBytes: 0, visionParameters: 0, bytesPerToken: 100 }
    const plan = (budget: number) => planMemory({ ...card, size }, { ...engine, contextTokens: 1000 }, budget)
    expect(plan(250e6 + 100_000 + 2).total).toBe(250e6 + 100_000 + 2)
    expect(() => plan(250e6 + 100_000 + 1)).toThrow('never fits')
  })
})
