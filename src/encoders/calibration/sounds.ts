import { audioRate } from '../audio-architecture.ts'
import { type Random, randomNumbers } from './random.ts'

/** Samples of a syllable. */
const syllable = 0.22 * audioRate
/** Of a voice: the frequencies that its harmonics are strongest at, in Hz. */
const vowels = [
  [730, 1090, 2440],
  [270, 2290, 3010],
  [300, 870, 2240],
  [530, 1840, 2480],
] as const

/**
 * A sound to measure an encoder with, made here so that every machine has the same one: a voice of vowels, hisses and
 * pauses, over a faint noise.
 * @param seed another number gives another sound
 */
export function calibrationSound(samples: number, seed: number): Float32Array {
  const random = randomNumbers(seed)
  const sound = new Float32Array(samples)
  for (let start = 0; start < samples; start += syllable) {
    const speak = [vowel, vowel, vowel, hiss, () => 0][Math.floor(random() * 5)] ?? hiss
    const loudness = 0.1 + 0.3 * random()
    const voice = { pitch: 90 + 160 * random(), glide: random() - 0.5, vowel: Math.floor(random() * vowels.length) }
    const end = Math.min(samples, Math.floor(start + syllable))
    for (let at = Math.floor(start); at < end; at++) {
      const through = (at - start) / syllable
      sound[at] = loudness * Math.sin(Math.PI * through) * speak(through, voice, random) + 0.002 * (random() - 0.5)
    }
  }
  return sound
}

interface Voice {
  /** Hz, and its change over the syllable as a share of it. */
  readonly pitch: number
  readonly glide: number
  readonly vowel: number
}

/** Harmonics, as strong as they are near the vowel's frequencies. @param through share of the syllable */
function vowel(through: number, { pitch, glide, vowel: kind }: Voice): number {
  const turns = (pitch * through * (1 + (glide * through) / 2) * syllable) / audioRate
  let sum = 0
  for (let harmonic = 1; harmonic * pitch < 4000; harmonic++) {
    const strength = (vowels[kind] ?? vowels[0]).reduce(
      (most, formant) => Math.max(most, 1 / (1 + ((harmonic * pitch - formant) / 120) ** 2)),
      0.02,
    )
    sum += (strength / harmonic ** 0.5) * Math.sin(2 * Math.PI * harmonic * turns)
  }
  return sum
}

const hiss = (_: number, __: Voice, random: Random): number => 0.5 * (random() - random())
