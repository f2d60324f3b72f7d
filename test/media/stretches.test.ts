import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cutWhereQuiet } from '../../src/media/index.ts'
import { soundOf } from '../support/videos.ts'

const rate = 16_000

/** A tone with pauses: of silence, from and to these seconds. */
function speech(seconds: number, pauses: readonly (readonly [number, number])[]) {
  const tone = soundOf('speech', seconds)
  const decode = async () => {
    const samples = await tone.decode()
    for (const [from, to] of pauses) samples.fill(0, from * rate, to * rate)
    return samples
  }
  return {
    tone,
    sound: { seconds, samples: tone.samples, hash: tone.hash, decode, letGo: tone.letGo },
  }
}

describe('a long sound', () => {
  it('is cut in its pauses, with times that are exact and without loss', async () => {
    const pauses = [12, 26.1, 52, 79].map((from) => [from, from + 0.3] as const)
    const { sound } = speech(80, pauses)
    const stretches = await cutWhereQuiet(sound, 30)
    const edges = stretches.map(({ start, end }) => [start, end])
    expect(edges).toEqual([
      [0, expect.closeTo(26.3, 0)],
      [edges[0]?.[1], expect.closeTo(52.2, 0)],
      [edges[1]?.[1], 80],
    ])
    for (const [, end = 0] of edges.slice(0, -1)) expect(pauses.some(([from, to]) => from < end && end < to)).toBe(true)
    const parts = await Promise.all(stretches.map(({ sound }) => sound.decode()))
    const whole = await sound.decode()
    expect(parts.flatMap((part) => [...part]).every((sample, at) => sample === whole[at])).toBe(true)
    for (const { sound, start, end } of stretches) {
      expect(sound.samples).toBe(Math.round((end - start) * rate))
      expect(sound.seconds).toBeCloseTo(end - start, 6)
    }
    expect(new Set(stretches.map(({ sound }) => sound.hash)).size).toBe(stretches.length)
  })

  it('is cut at the latest place if it is equally quiet everywhere', async () => {
    const { sound } = speech(65, [[0, 65]])
    expect((await cutWhereQuiet(sound, 30)).map(({ end }) => end)).toEqual([29.9, 59.8, 65])
  })

  it('has no stretch that is longer than allowed, or shorter than a second', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 130_000 }), async (ms) => {
        const samples = new Float32Array(ms * 16)
        const sound = { ...soundOf('silence', ms / 1000), decode: async () => samples }
        const stretches = await cutWhereQuiet(sound, 30)
        expect(stretches[0]?.start).toBe(0)
        expect(stretches.at(-1)?.end).toBe(sound.samples / rate)
        for (const [index, { start, end }] of stretches.entries()) {
          expect(start).toBe(stretches[index - 1]?.end ?? 0)
          expect(end - start).toBeLessThanOrEqual(30)
          if (stretches.length > 1) expect(end - start).toBeGreaterThanOrEqual(1)
        }
      }),
      { numRuns: 30 },
    )
  })

  it('is not decoded if it is no longer than one stretch', async () => {
    const { sound, tone } = speech(30, [])
    const [only, ...others] = await cutWhereQuiet(sound, 30)
    expect([others, tone.decodes]).toEqual([[], 0])
    expect((await only?.sound.decode())?.length).toBe(30 * rate)
  })

  it('is freed when all stretches are let go, each of which is gone at once', async () => {
    const { sound, tone } = speech(70, [])
    const [first, ...others] = await cutWhereQuiet(sound, 30)
    first?.sound.letGo()
    first?.sound.letGo()
    await expect(first?.sound.decode()).rejects.toMatchObject({ kind: 'cancelled' })
    expect(tone.gone).toBe(0)
    for (const { sound } of others) sound.letGo()
    expect(tone.gone).toBe(1)
  })
})
