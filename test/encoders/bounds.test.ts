import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { needImageArchitecture, planWithin, seenSize, tilesOf, tokensOf } from '../../src/encoders/index.ts'
import { OrielError } from '../../src/errors.ts'
import { inputs } from '../support/long.ts'
import { openSubject } from './oracle/compare.ts'
import { qwen2vl } from './oracle/families/qwen.ts'
import { type Family, oneOfEachTiling } from './oracle/families.ts'

async function architectureOf(family: Family) {
  const subject = openSubject(family)
  const architecture = await needImageArchitecture(subject.projector)
  subject.remove()
  return architecture
}

const edge = fc.integer({ min: 1, max: 5000 })
const detail = fc.constantFrom('low' as const, 'auto' as const, 'high' as const)

describe.each(oneOfEachTiling)('the bounds of an image, $name', async (family) => {
  const images = await architectureOf(family)

  it('hold for its tokens, or the request is refused with the number that it takes', () => {
    fc.assert(
      fc.property(edge, edge, detail, fc.integer({ min: 1, max: 2000 }), (width, height, detail, mostTokens) => {
        try {
          expect(tokensOf(planWithin(images, { width, height }, detail, { mostTokens }))).toBeLessThanOrEqual(
            mostTokens,
          )
        } catch (error) {
          if (!(error instanceof OrielError)) throw error
          expect(error).toMatchObject({ kind: 'invalid', code: 'image_tokens_exceeded' })
          const least = Number(/as (\d+) tokens/.exec(error.message)?.[1])
          expect(least).toBeGreaterThan(mostTokens)
          planWithin(images, { width, height }, detail, { mostTokens: least })
        }
      }),
      { numRuns: inputs(40, 400) },
    )
  })

  it('hold for its pixels, as far as the smallest plan allows', () => {
    fc.assert(
      fc.property(edge, edge, detail, fc.integer({ min: 1, max: 4e6 }), (width, height, detail, mostPixels) => {
        const size = { width, height }
        const pixels = (most: number): number => {
          const seen = seenSize(tilesOf(planWithin(images, size, detail, { mostPixels: most })))
          return seen.width * seen.height
        }
        expect(pixels(mostPixels)).toBeLessThanOrEqual(Math.max(mostPixels, pixels(1)))
      }),
      { numRuns: inputs(40, 400) },
    )
  })
})

describe('min_pixels and max_pixels of Qwen', async () => {
  const images = await architectureOf(qwen2vl)
  const square = 28

  /** `smart_resize` of Qwen's processor, with its defaults. */
  function smartResize(width: number, height: number, least: number, most: number) {
    const round = (edge: number) => Math.max(square, Math.round(edge / square) * square)
    let [w, h] = [round(width), round(height)]
    if (w * h > most) {
      const by = Math.sqrt((width * height) / most)
      const floor = (edge: number) => Math.max(square, Math.floor(edge / by / square) * square)
      ;[w, h] = [floor(width), floor(height)]
    } else if (w * h < least) {
      const by = Math.sqrt(least / (width * height))
      const ceil = (edge: number) => Math.ceil((edge * by) / square) * square
      ;[w, h] = [ceil(width), ceil(height)]
    }
    return { width: w, height: h }
  }

  it('give the size that its own processor gives', () => {
    for (const [width, height] of [
      [1280, 960],
      [640, 480],
      [100, 75],
      [333, 1999],
    ] as const)
      for (const [least, most] of [
        [3136, 200_704],
        [50_176, 1_003_520],
        [400_000, 802_816],
      ] as const) {
        const plan = planWithin(images, { width, height }, 'auto', { leastPixels: least, mostPixels: most })
        expect([width, height, least, most, seenSize(tilesOf(plan))]).toEqual([
          ...[width, height, least, most],
          smartResize(width, height, least, most),
        ])
      }
  })
})
