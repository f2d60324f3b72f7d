import { setImmediate as nextTurn } from 'node:timers/promises'
import { cancelled } from '../errors.ts'
import type { Sound } from './attachment.ts'
import { soundRate } from './decoder/protocol.ts'

/** A part of a sound, with its times in seconds from the start of the sound. */
export interface Stretch {
  readonly sound: Sound
  readonly start: number
  readonly end: number
}

/** Seconds before the longest end of a stretch, of which the quietest moment becomes its end. */
const searched = 5
/** Samples of a moment: words have no pause as long as this. */
const moment = 0.2 * soundRate
/** Samples by which moments are apart. */
const step = 0.02 * soundRate
/** Samples of the last stretch, at least. */
const leastSamples = soundRate

/**
 * Cuts a sound where it is quiet, so that words stay whole. The stretches have the memory of the sound, which is freed when
 * all of them are let go.
 * @param longest of a stretch, in seconds, more than `searched`
 * @throws OrielError as `Sound.decode` does
 */
export async function cutWhereQuiet(sound: Sound, longest: number): Promise<readonly Stretch[]> {
  const cuts: number[] = []
  const most = longest * soundRate
  const samples = sound.samples > most ? await sound.decode() : new Float32Array()
  for (let start = 0; samples.length - start > most; start = cuts.at(-1) ?? 0) {
    const end = start + most
    cuts.push(quietest(samples, end - searched * soundRate, Math.min(end, samples.length - leastSamples)))
    // A stretch takes a fraction of a millisecond, and a sound may have a hundred.
    await nextTurn()
  }
  return stretchesOf(sound, cuts)
}

/** The longest that a sound may be to have so many stretches at most, in seconds. */
export const surelyCut = (stretches: number, longest: number): number => stretches * (longest - searched)

/** The middle of the quietest moment; the last one of those that are equally quiet. */
function quietest(samples: Float32Array, from: number, to: number): number {
  const loudness = Array.from({ length: Math.floor((to - from) / step) }, (_, index) => {
    let sum = 0
    for (let at = from + index * step; at < from + (index + 1) * step; at++) sum += (samples[at] ?? 0) ** 2
    return sum
  })
  const steps = moment / step
  let [least, place] = [Number.POSITIVE_INFINITY, 0]
  for (let index = 0; index + steps <= loudness.length; index++) {
    const sum = loudness.slice(index, index + steps).reduce((all, one) => all + one, 0)
    if (sum <= least) [least, place] = [sum, index]
  }
  return from + place * step + moment / 2
}

/** @param cuts samples at which stretches after the first begin */
function stretchesOf(whole: Sound, cuts: readonly number[]): Stretch[] {
  const open = new Set<Sound>()
  const stretches = [0, ...cuts].map((from, index): Stretch => {
    const to = cuts[index] ?? whole.samples
    const sound: Sound = {
      seconds: (to - from) / soundRate,
      samples: to - from,
      // It follows from the whole, so its own samples need not be hashed.
      hash: `${whole.hash} ${from}-${to}`,
      async decode() {
        if (!open.has(sound)) throw cancelled()
        return (await whole.decode()).subarray(from, to)
      },
      letGo() {
        if (open.delete(sound) && open.size === 0) whole.letGo()
      },
    }
    open.add(sound)
    return { sound, start: from / soundRate, end: to / soundRate }
  })
  return stretches
}
