import { OrielError } from '../../../errors.ts'
import { joinFloats } from '../../../join-floats.ts'
import { soundRate } from '../protocol.ts'
import { Resampler } from './resample.ts'

/** Some samples of a track, as they are decoded. */
export interface Chunk {
  readonly rate: number
  /** Each of the same length. */
  readonly channels: readonly Float32Array[]
  /** When the first sample is heard, in seconds from the start of the file. */
  readonly time: number
}

/** Rates that are resampled. Others are of damaged files. */
const rates = { least: 1000, most: 384_000 }
/** A gap in the times of the chunks below this is an error of rounding, in seconds. */
const tolerance = 0.05

/**
 * Puts the chunks together, mixed to mono and resampled: silence where there are none.
 * @param start, end what is wanted of them, in seconds from the start of the file
 * @returns as much as there is of it. @throws OrielError for rates and channels that no file has
 */
export async function joinSound(chunks: AsyncIterable<Chunk>, start: number, end: number): Promise<Float32Array> {
  const most = Math.round((end - start) * soundRate)
  const pieces: Float32Array[] = []
  let length = 0
  const add = (piece: Float32Array): void => {
    const kept = piece.subarray(0, most - length)
    if (kept.length === 0) return
    pieces.push(kept)
    length += kept.length
  }
  let current: { rate: number; resampler: Resampler | null; begins: number; taken: number } | undefined
  for await (const { rate, channels, time } of chunks) {
    let samples = mono(channels)
    if (!(rate >= rates.least && rate <= rates.most) || !Number.isInteger(rate)) throw unusualRate(rate)
    if (time < start) samples = samples.subarray(Math.round((start - time) * rate))
    if (samples.length === 0) continue
    const begins = Math.max(0, time - start)
    if (current === undefined || current.rate !== rate || begins > endOf(current) + tolerance) {
      if (current?.resampler) add(current.resampler.end())
      const silence = Math.round(begins * soundRate) - length
      if (silence > 0) add(new Float32Array(Math.min(silence, most - length)))
      current = { rate, resampler: rate === soundRate ? null : new Resampler(rate, soundRate), begins, taken: 0 }
    }
    current.taken += samples.length
    add(current.resampler?.push(samples) ?? samples)
  }
  if (current?.resampler) add(current.resampler.end())
  return joinFloats(pieces)
}

const endOf = ({ rate, begins, taken }: { rate: number; begins: number; taken: number }): number =>
  begins + taken / rate

/** What each speaker adds, in the order of WAVE and of FFmpeg. The fourth of six and more is for the lowest tones. */
const [front, centre, low, back] = [Math.SQRT1_2, 1, 0, 0.5]
const layouts: Readonly<Record<number, readonly number[]>> = {
  1: [1],
  2: [1, 1],
  3: [front, front, centre],
  4: [front, front, back, back],
  5: [front, front, centre, back, back],
  6: [front, front, centre, low, back, back],
  7: [front, front, centre, low, back, back, back],
  8: [front, front, centre, low, back, back, back, back],
}

function mono(channels: readonly Float32Array[]): Float32Array {
  const [only] = channels
  if (channels.length === 1 && only !== undefined) return only
  const layout = layouts[channels.length] ?? channels.map(() => 1)
  const sum = layout.reduce((total, weight) => total + weight, 0)
  const mixed = new Float32Array(only?.length ?? 0)
  for (const [index, samples] of channels.entries()) {
    const weight = (layout[index] ?? 0) / sum
    if (weight > 0) for (let at = 0; at < mixed.length; at++) mixed[at] = (mixed[at] ?? 0) + weight * (samples[at] ?? 0)
  }
  return mixed
}

const unusualRate = (rate: number): OrielError =>
  new OrielError(
    'unsupported_media',
    `The audio cannot be decoded: it has ${rate} samples a second; ${rates.least} to ${rates.most} are supported.`,
    { code: 'unsupported_audio' },
  )
