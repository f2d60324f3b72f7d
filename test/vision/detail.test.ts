import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openArchitecture, type Tile, tilesOf } from '../../src/vision/index.ts'
import type { Value } from '../support/gguf-file.ts'
import { openSubject } from './oracle/compare.ts'
import { kimivl } from './oracle/families/kimivl.ts'
import { lfm2 } from './oracle/families/lfm2.ts'
import { llava, llavaAnyres } from './oracle/families/llava.ts'
import { minicpmv26 } from './oracle/families/minicpmv.ts'
import { qwen2vl } from './oracle/families/qwen.ts'
import type { Family } from './oracle/families.ts'
import { writeVision } from './oracle/vision-file.ts'

const plansBy = (family: Family, width: number, height: number): Tile[][] => {
  const subject = openSubject(family)
  const architecture = openArchitecture(subject.projector)
  subject.remove()
  return (['low', 'auto', 'high'] as const).map((detail) => tilesOf(architecture.plan({ width, height }, detail)))
}

describe('what detail asks for', () => {
  const tilesBy = (...of: Parameters<typeof plansBy>) => plansBy(...of).map((tiles) => tiles.length)

  it('is nothing where every picture is one square', () => {
    expect(tilesBy(llava, 4000, 3000)).toEqual([1, 1, 1])
  })

  it('is an overview, or tiles beside it, of which auto allows few', () => {
    expect(tilesBy(llavaAnyres, 50, 60)).toEqual([1, 1, 1])
    expect(tilesBy(llavaAnyres, 500, 500)).toEqual([1, 5, 5])
    expect(tilesBy(minicpmv26, 50, 60)).toEqual([1, 1, 1])
    expect(tilesBy(minicpmv26, 4000, 3000)).toEqual([1, 5, 10])
  })
})

describe('a picture as narrow as a hair', () => {
  it.each([qwen2vl, kimivl])('costs no more than its detail allows: $name', (family) => {
    const subject = openSubject(family)
    const { plan } = openArchitecture(subject.projector)
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
  ])('costs an overview of usual size and no more with low: lfm2, %i x %i', (width, height) => {
    const [[overview, ...more] = []] = plansBy(lfm2, width, height)
    expect(more).toEqual([])
    expect(overview?.tokens).toBeGreaterThanOrEqual(64)
    expect(overview?.tokens).toBeLessThanOrEqual(256)
  })
})

describe('a vision file that cannot be right', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-vision-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  it.each<[type: string, metadata: Record<string, Value>, message: RegExp]>([
    ['resampler', { 'clip.minicpmv_version': { i32: 77 } }, /version 77/],
    ['mlp', { 'clip.vision.image_grid_pinpoints': { i32: [64, 100] } }, /whole tiles of 64 pixels/],
    ['mlp', { 'clip.vision.image_grid_pinpoints': { strings: ['64'] } }, /image_grid_pinpoints is of another type/],
    ['mlp', { 'clip.vision.image_mean': { i32: [0, 0, 0] } }, /image_mean is of another type/],
    ['mlp', { 'clip.vision.image_std': { f32: [0.5] } }, /a number for each colour/],
    ['mlp', { 'clip.vision.patch_size': { u32: 0 } }, /patches of 0 pixels/],
  ])('of the type %s is refused: %j', (type, metadata, message) => {
    const file = path.join(folder, 'mmproj.gguf')
    writeVision(file, { type, edge: 64, patch: 16, metadata, tensors: [] })
    expect(() => openArchitecture(file)).toThrow(message)
  })
})
