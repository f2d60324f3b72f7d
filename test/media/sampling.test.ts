import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Resampler } from '../../src/media/decoder/recordings/resample.ts'
import { joinSound } from '../../src/media/decoder/recordings/sound.ts'
import { atChanges, evenTimes } from '../../src/media/decoder/recordings/times.ts'

const rate = 16_000
const sine = (from: number, hertz: number, seconds = 0.5): Float32Array =>
  Float32Array.from({ length: from * seconds }, (_, at) => Math.sin((2 * Math.PI * hertz * at) / from))
const resampled = (from: number, samples: Float32Array, pieces = 1): number[] => {
  const resampler = new Resampler(from, rate)
  const length = Math.ceil(samples.length / pieces)
  const output = new Float32Array(Math.ceil((samples.length * rate) / from))
  let made = 0
  for (let at = 0; at < pieces; at++) {
    const piece = samples.subarray(at * length, (at + 1) * length)
    resampler.room(piece.length).set(piece)
    made += resampler.write(output, made)
  }
  made += resampler.end(output, made)
  return [...output.subarray(0, made)]
}
/** The loudest sample that is not near the beginning or the end. */
const loudest = (samples: readonly number[]): number => Math.max(...samples.slice(400, -400).map(Math.abs))

describe('resampling', () => {
  it.for([8000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])('keeps a tone of %d Hz in its place', (from) => {
    const output = resampled(from, sine(from, 1000))
    expect(output).toHaveLength(rate / 2)
    const expected = sine(rate, 1000)
    const differences = output.map((sample, at) => sample - (expected[at] ?? 0))
    expect(loudest(differences)).toBeLessThan(0.001)
  })

  it.for([9000, 12_000, 20_000])('takes out a tone of %d Hz, which would be heard as another one', (hertz) => {
    expect(loudest(resampled(48_000, sine(48_000, hertz)))).toBeLessThan(0.001)
  })

  it('is the same in pieces of any length', () => {
    const samples = sine(44_100, 500, 0.1)
    const whole = resampled(44_100, samples)
    for (const pieces of [2, 7, 100, samples.length]) expect(resampled(44_100, samples, pieces)).toEqual(whole)
  })
})

describe('sound', () => {
  const join = (chunks: { rate: number; channels: Float32Array[]; time: number }[], start: number, end: number) =>
    joinSound(
      (async function* () {
        for (const { channels, ...chunk } of chunks) {
          const samples = Float32Array.from(
            { length: channels.length * (channels[0]?.length ?? 0) },
            (_, at) => channels[at % channels.length]?.[Math.floor(at / channels.length)] ?? 0,
          )
          yield { ...chunk, channels: channels.length, samples }
          samples.fill(Number.NaN)
        }
      })(),
      start,
      end,
    )
  const constant = (value: number, seconds = 0.5) => new Float32Array(seconds * rate).fill(value)

  it('is mixed as loud as its speakers together, without the lowest tones', async () => {
    const mixed = async (...channels: number[]) =>
      (await join([{ rate, channels: channels.map((value) => constant(value)), time: 0 }], 0, 0.5))[4000]
    expect(await mixed(0.5)).toBeCloseTo(0.5, 3)
    expect(await mixed(0.5, 0.1)).toBeCloseTo(0.3, 3)
    expect(await mixed(0.5, 0.5, 0.5, 0, 0.5, 0.5)).toBeCloseTo(0.5, 3)
    expect(await mixed(0, 0, 0, 1, 0, 0)).toBeCloseTo(0, 3)
  })

  it('has silence where a file has none, and only the part that is asked for', async () => {
    const chunks = [0, 1].map((time) => ({ rate, channels: [constant(0.5)], time }))
    const whole = await join(chunks, 0, 9)
    expect(whole).toHaveLength(1.5 * rate)
    expect([0.25, 0.75, 1.25].map((time) => Number(whole[time * rate]?.toFixed(2)))).toEqual([0.5, 0, 0.5])
    expect(await join(chunks, 0.25, 1.25)).toHaveLength(rate)
    expect(await join([], 0, 1)).toHaveLength(0)
  })

  it('that has the rate already keeps its samples', async () => {
    const samples = Float32Array.from({ length: rate }, (_, at) => (at % 7) / 7 - 0.5)
    expect(await join([{ rate, channels: [samples], time: 0 }], 0, 9)).toEqual(samples)
  })

  it('with a rate that no file has is refused', async () => {
    for (const rate of [0, 999, 1e9, Number.NaN, 8000.5])
      await expect(join([{ rate, channels: [constant(0)], time: 0 }], 0, 1)).rejects.toMatchObject({
        code: 'unsupported_audio',
      })
  })
})

describe('the times of frames', () => {
  it('are at equal distances within the video, as many as wanted and no more than allowed', () => {
    expect(evenTimes(0, 4, 1, 32)).toEqual([0, 1, 2, 3])
    expect(evenTimes(10, 4, 1, 2)).toEqual([10, 12])
    expect(evenTimes(0, 0.01, 1, 32)).toEqual([0])
    expect(evenTimes(10, 4, 1e-310, 2)).toEqual([10])
    const numbers = { noNaN: true, min: 0.01, max: 10_000 }
    fc.assert(
      fc.property(
        fc.double(numbers),
        fc.double(numbers),
        fc.integer({ min: 1, max: 300 }),
        (seconds, perSecond, most) => {
          const times = evenTimes(5, seconds, perSecond, most)
          expect(times.length).toBeGreaterThanOrEqual(1)
          expect(times.length).toBeLessThanOrEqual(most)
          expect(times[0]).toBe(5)
          expect(times.at(-1)).toBeLessThan(5 + seconds)
        },
      ),
    )
  })

  it('are where the picture changes, and even where it does not', () => {
    const changes = (cuts: readonly number[]) => Array.from({ length: 40 }, (_, at) => (cuts.includes(at) ? 0.5 : 0.01))
    expect(atChanges(changes([7, 21]), 3)).toEqual([0, 7, 21])
    expect(atChanges(changes([]), 4)).toEqual([0, 10, 20, 30])
    expect(atChanges(changes([30]), 3)).toEqual([0, 15, 30])
    expect(atChanges(changes([1, 2, 3, 4, 5]), 3)).toHaveLength(3)
    expect(atChanges([0, 0], 9)).toEqual([0, 1])
  })
})
