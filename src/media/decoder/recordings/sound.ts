import { OrielError } from '../../../errors.ts'
import { soundRate } from '../protocol.ts'
import { Resampler } from './resample.ts'

/** Some samples of a track, as they are decoded. */
export interface Chunk {
  readonly rate: number
  readonly channels: number
  /** Those of all channels, one time after the other. They are gone when the next chunk is asked for. */
  readonly samples: Float32Array
  /** When the first sample is heard, in seconds from the start of the file. */
  readonly time: number
}

/** Rates that are resampled. Others are of damaged files. */
const rates = { least: 1000, most: 384_000 }
/** A gap in the times of the chunks below this is an error of rounding, in seconds. */
const tolerance = 0.05

/**
 * Puts the chunks together, mixed to mono and resampled: silence where there are none. An hour takes 230 MB, so it is
 * written once, where it stays.
 * @param start, end what is wanted of them, in seconds from the start of the file
 * @returns as much as there is of it. @throws OrielError for rates and channels that no file has
 */
export async function joinSound(chunks: AsyncIterable<Chunk>, start: number, end: number): Promise<Float32Array> {
  const joined = new Float32Array(Math.round((end - start) * soundRate))
  let length = 0
  let current: { rate: number; resampler: Resampler | null; begins: number; taken: number } | undefined
  const finish = (): void => {
    length += current?.resampler?.end(joined, length) ?? 0
  }
  for await (const { rate, channels, samples, time } of chunks) {
    if (!(rate >= rates.least && rate <= rates.most) || !Number.isInteger(rate)) throw unusualRate(rate)
    const skipped = time < start ? Math.round((start - time) * rate) : 0
    const count = samples.length / channels - skipped
    if (count <= 0) continue
    const wanted = samples.subarray(skipped * channels)
    const begins = Math.max(0, time - start)
    if (current === undefined || current.rate !== rate || begins > endOf(current) + tolerance) {
      finish()
      length = Math.max(length, Math.min(Math.round(begins * soundRate), joined.length))
      current = { rate, resampler: rate === soundRate ? null : new Resampler(rate, soundRate), begins, taken: 0 }
    }
    current.taken += count
    if (current.resampler === null) {
      const room = joined.subarray(length, length + count)
      mix(wanted, channels, room)
      length += room.length
    } else {
      mix(wanted, channels, current.resampler.room(count))
      length += current.resampler.write(joined, length)
    }
  }
  finish()
  return joined.subarray(0, length)
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

/** Writes the mean of all channels, as much as there is room for. */
function mix(samples: Float32Array, channels: number, mono: Float32Array | Float64Array): void {
  if (channels === 1) {
    mono.set(samples.subarray(0, mono.length))
    return
  }
  const layout = layouts[channels] ?? Array.from({ length: channels }, () => 1)
  const sum = layout.reduce((total, weight) => total + weight, 0)
  mono.fill(0)
  for (const [channel, loudness] of layout.entries()) {
    const weight = loudness / sum
    if (weight === 0) continue
    for (let at = 0, from = channel; at < mono.length; at++, from += channels)
      mono[at] = (mono[at] as number) + weight * (samples[from] as number)
  }
}

const unusualRate = (rate: number): OrielError =>
  new OrielError(
    'unsupported_media',
    `The audio cannot be decoded: it has ${rate} samples a second; ${rates.least} to ${rates.most} are supported.`,
    { code: 'unsupported_audio' },
  )
