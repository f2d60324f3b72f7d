import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { needImageArchitecture, tilesOf } from '../../src/encoders/index.ts'
import { startEngine } from '../../src/engine/index.ts'
import { createLogger } from '../../src/log.ts'
import { pixels } from '../support/pixels.ts'
import { answerOf, engineSettings, requestOf } from '../support/pocket.ts'
import { idefics3, oldIdefics3 } from './oracle/families/idefics3.ts'
import { testImage } from './oracle/images.ts'
import { prompt, toldOf } from './oracle/told.ts'

describe.each([idefics3, oldIdefics3])('$name', ({ name, write }) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-idefics3-'))
  const [decoderFile, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
  write(decoderFile, projector)

  it('is encoded tile by tile, and a tile in the cache is not encoded again', async () => {
    const engine = await startEngine({
      decoder: decoderFile,
      projector,
      name,
      settings: engineSettings,
      log: createLogger('silent'),
    })
    try {
      const seen = {
        kind: 'image' as const,
        width: 200,
        height: 150,
        pixels: pixels(testImage(200, 150)),
        hash: 'seen',
        detail: 'high' as const,
      }
      const expected = toldOf(name).find(({ size }) => size[0] === 200)?.layout ?? []
      // Each byte of the texts around the image is a token.
      const around = -prompt.join('').length
      const tokens = expected.reduce((sum, part) => sum + ('text' in part ? part.text.length : part.tokens), around)
      const request = requestOf([seen], { maxTokens: 5, ignoreEos: true })
      const first = await answerOf(engine, request)
      expect(first.prompt).toMatchObject({ promptTokens: tokens, attachmentTokens: [tokens], cachedTokens: 0 })
      const question = { kind: 'text' as const, text: 'Again: ', special: false }
      const again = await answerOf(engine, { ...request, prompt: [question, ...request.prompt] })
      const done = again.events.at(-1)
      expect(done?.type === 'done' && done.timings.encode).toBe(0)
      expect((await answerOf(engine, request)).prompt.cachedTokens).toBe(tokens - 1)
    } finally {
      await engine.close()
    }
  })

  it('cuts as many tiles as detail allows, and reads images of any shape', async () => {
    const architecture = await needImageArchitecture(projector)
    const tiles = (width: number, height: number, detail: 'low' | 'auto' | 'high') =>
      tilesOf(architecture.plan({ width, height }, detail)).length
    expect([tiles(50, 30, 'low'), tiles(50, 30, 'auto'), tiles(4000, 3000, 'low')]).toEqual([1, 1, 1])
    expect(tiles(4000, 3000, 'auto')).toBe(5)
    expect(tiles(4000, 3000, 'high')).toBe(name === 'idefics3' ? 5 : 63 * 47 + 1)
    for (const [width, height] of [
      [1, 4000],
      [4000, 1],
      [3, 500],
    ] as const) {
      const plan = architecture.plan({ width, height }, 'auto')
      const scaled = architecture.scale({ width, height, rgb: testImage(width, height) }, plan)
      for (const tile of tilesOf(plan)) expect(architecture.prepare(scaled, tile)).toHaveLength(64 * 64 * 3)
    }
  })
})
