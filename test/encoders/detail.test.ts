import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { imageFamilies, needImageArchitecture, type Tile, tilesOf } from '../../src/encoders/index.ts'
import type { Value } from '../support/gguf-file.ts'
import { openSubject } from './oracle/compare.ts'
import { kimivl } from './oracle/families/kimivl.ts'
import { lfm2 } from './oracle/families/lfm2.ts'
import { llava, llavaAnyres } from './oracle/families/llava.ts'
import { minicpmv26 } from './oracle/families/minicpmv.ts'
import { qwen2vl } from './oracle/families/qwen.ts'
import type { Family } from './oracle/families.ts'
import { writeVision } from './oracle/vision-file.ts'
import { matrix } from './oracle/weights.ts'

const plansBy = async (family: Family, width: number, height: number): Promise<Tile[][]> => {
  const subject = openSubject(family)
  const architecture = await needImageArchitecture(subject.projector)
  subject.remove()
  return (['low', 'auto', 'high'] as const).map((detail) => tilesOf(architecture.plan({ width, height }, detail)))
}

describe('detail', () => {
  const tilesBy = async (...of: Parameters<typeof plansBy>) => (await plansBy(...of)).map((tiles) => tiles.length)

  it('has no effect if every image is one square', async () => {
    expect(await tilesBy(llava, 4000, 3000)).toEqual([1, 1, 1])
  })

  it('chooses an overview alone, or tiles in addition, of which auto allows four', async () => {
    expect(await tilesBy(llavaAnyres, 50, 60)).toEqual([1, 1, 1])
    expect(await tilesBy(llavaAnyres, 500, 500)).toEqual([1, 5, 5])
    expect(await tilesBy(minicpmv26, 50, 60)).toEqual([1, 1, 1])
    expect(await tilesBy(minicpmv26, 4000, 3000)).toEqual([1, 5, 10])
  })
})

describe('an image of 1 to 3 pixels width or height', () => {
  it.each([qwen2vl, kimivl])('has no more tokens than its detail allows: $name', async (family) => {
    const subject = openSubject(family)
    const { plan } = await needImageArchitecture(subject.projector)
    subject.remove()
    for (const size of [
      { width: 1, height: 14336 },
      { width: 5000, height: 1 },
      { width: 3, height: 7168 },
    ])
      for (const [detail, most] of [
        ['low', 64],
        ['auto', 256],
      ] as const) {
        const [tile] = tilesOf(plan(size, detail))
        expect(tile?.tokens).toBeLessThanOrEqual(most)
      }
  })

  it.each([
    [1, 14336],
    [14336, 2],
    [7168, 3],
    [1, 300],
  ])('has a normal overview and no tiles at low: lfm2, %i x %i', async (width, height) => {
    const [[overview, ...more] = []] = await plansBy(lfm2, width, height)
    expect(more).toEqual([])
    expect(overview?.tokens).toBeGreaterThanOrEqual(64)
    expect(overview?.tokens).toBeLessThanOrEqual(256)
  })
})

describe('an invalid vision file', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-vision-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  const last = [matrix('mm.2.weight', 64, 64), matrix('resampler.proj.weight', 64, 64)]

  it.each<[type: string, metadata: Record<string, Value>, message: RegExp]>([
    ['resampler', { 'clip.minicpmv_version': { i32: 77 } }, /Version 77/],
    ['mlp', { 'clip.vision.image_grid_pinpoints': { i32: [64, 100] } }, /whole tiles of 64 pixels/],
    [
      'mlp',
      { 'clip.vision.image_grid_pinpoints': { strings: ['64'] } },
      /mmproj.gguf has a clip.vision.image_grid_pinpoints of the wrong type/,
    ],
    ['mlp', { 'clip.vision.image_mean': { strings: ['0'] } }, /image_mean of the wrong type/],
    ['mlp', { 'clip.vision.image_std': { f32: [0.5] } }, /a number for each colour/],
    ['mlp', { 'clip.vision.patch_size': { u32: 0 } }, /patch size of 0 pixels/],
  ])('of type %s is refused: %j', async (type, metadata, message) => {
    const file = path.join(folder, 'mmproj.gguf')
    writeVision(file, { type, edge: 64, patch: 16, metadata, tensors: last })
    await expect(needImageArchitecture(file)).rejects.toThrow(message)
  })

  it.each(imageFamilies.flatMap(({ types }) => types))('of type %s without a width is refused', async (type) => {
    const file = path.join(folder, 'mmproj.gguf')
    writeVision(file, { type, edge: 64, patch: 16, tensors: [] })
    await expect(needImageArchitecture(file)).rejects.toMatchObject({
      code: 'bad_model',
      message: expect.stringMatching(/^mmproj.gguf has no tensor /),
    })
  })
})
