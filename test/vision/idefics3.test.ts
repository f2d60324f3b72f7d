import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { startEngine } from '../../src/engine/host.ts'
import { openDecoder } from '../../src/language/index.ts'
import { createLogger } from '../../src/log.ts'
import { openArchitecture, openEncoder, tilesOf } from '../../src/vision/index.ts'
import { answerOf, requestOf } from '../support/pocket.ts'
import { writeIdefics3 } from './oracle/models.ts'
import { picture } from './oracle/pictures.ts'

/** What libmtmd makes of a picture, in the order of the prompt: see oracle/make.ts. */
interface Told {
  size: [width: number, height: number]
  layout: ({ text: number[] } | { tokens: number; embeddings: number[] })[]
}

const models = [
  { name: 'idefics3', longestEdge: 128 },
  { name: 'idefics3-old', longestEdge: 0 },
] as const

describe.each(models)('$name, beside libmtmd', ({ name, longestEdge }) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-idefics3-'))
  const [decoderFile, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
  writeIdefics3(decoderFile, projector, longestEdge)
  const told: Told[] = JSON.parse(readFileSync(new URL(`./oracle/${name}.json`, import.meta.url), 'utf8'))

  it('has the same tiles and the same text around them', () => {
    const architecture = openArchitecture(projector)
    const { vocabulary, close } = openDecoder(decoderFile, {
      cells: 256,
      sequences: 1,
      batchRows: 64,
      threads: 1,
      kvType: 'f16',
    })
    for (const { size, layout } of told) {
      const [width, height] = size
      const plan = architecture.plan({ width, height }, 'high')
      // Text that comes in a row is one chunk.
      const found: (number | number[])[] = []
      let text = ''
      for (const part of [...plan.layout, '']) {
        if (typeof part === 'string') text += part
        if (typeof part !== 'string' || part === '') {
          if (text !== '') found.push([...vocabulary.tokenize(text, true)])
          text = ''
        }
        if (typeof part !== 'string') found.push(part.tokens)
      }
      expect(found, `${size}`).toEqual(layout.map((part) => ('text' in part ? part.text : part.tokens)))
    }
    close()
  })

  it.each(['onnx', 'ggml'] as const)('computes the same embeddings in %s', async (runtime) => {
    const encoder = await openEncoder(projector, { runtime, precision: 'fp32', threads: 1 })
    expect(encoder.runtime).toBe(runtime)
    let worst = 0
    for (const { size, layout } of told) {
      const [width, height] = size
      const plan = encoder.architecture.plan({ width, height }, 'high')
      const scaled = encoder.architecture.scale({ width, height, rgb: picture(width, height) }, plan)
      const expected = layout.flatMap((part) => ('text' in part ? [] : [part.embeddings]))
      for (const [i, tile] of tilesOf(plan).entries()) {
        const found = await encoder.encode(scaled, tile, 1)
        expected[i]?.forEach((value, at) => {
          worst = Math.max(worst, Math.abs(value - (found[at] ?? Number.NaN)))
        })
      }
    }
    process.stdout.write(`${name}, ${runtime}: largest difference ${worst.toExponential(1)}\n`)
    // libmtmd convolves in 16-bit floats, 11 bits of which are significant; embeddings are 1 to 3 large.
    expect(worst).toBeLessThan(0.02)
  })

  it('is run tile by tile by the engine, and a tile that was seen is not encoded again', async () => {
    const engine = await startEngine({
      decoder: decoderFile,
      projector,
      name,
      config: loadConfig({}, {}).engine,
      log: createLogger('silent'),
    })
    try {
      const seen = { width: 200, height: 150, rgb: picture(200, 150), hash: 'seen', detail: 'high' as const }
      const expected = told.find(({ size }) => size[0] === 200)?.layout ?? []
      const tokens = expected.reduce((sum, part) => sum + ('text' in part ? part.text.length : part.tokens), 0)
      const request = requestOf([{ kind: 'picture', picture: seen }], { maxTokens: 5, ignoreEos: true })
      const first = await answerOf(engine, request)
      expect(first.prompt).toMatchObject({ promptTokens: tokens, imageTokens: [tokens], cachedTokens: 0 })
      const question = { kind: 'text' as const, text: 'Again: ', special: false }
      const again = await answerOf(engine, { ...request, prompt: [question, ...request.prompt] })
      const done = again.events.at(-1)
      expect(done?.type === 'done' && done.timings.encode).toBe(0)
      expect((await answerOf(engine, request)).prompt.cachedTokens).toBe(tokens - 1)
    } finally {
      await engine.close()
    }
  })

  it('spends what detail asks for, and reads pictures of any shape', () => {
    const architecture = openArchitecture(projector)
    const tiles = (width: number, height: number, detail: 'low' | 'auto' | 'high') =>
      tilesOf(architecture.plan({ width, height }, detail)).length
    expect([tiles(50, 30, 'low'), tiles(50, 30, 'auto'), tiles(4000, 3000, 'low')]).toEqual([1, 1, 1])
    expect(tiles(4000, 3000, 'auto')).toBe(5)
    expect(tiles(4000, 3000, 'high')).toBe(longestEdge > 0 ? 5 : 63 * 47 + 1)
    for (const [width, height] of [
      [1, 4000],
      [4000, 1],
      [3, 500],
    ] as const) {
      const plan = architecture.plan({ width, height }, 'auto')
      const scaled = architecture.scale({ width, height, rgb: picture(width, height) }, plan)
      for (const tile of tilesOf(plan)) expect(architecture.prepare(scaled, tile)).toHaveLength(64 * 64 * 3)
    }
  })
})
