import type { Raster, Size } from '../preprocess/resize.ts'
import { type Random, randomNumbers } from './random.ts'

/**
 * Pictures to measure an encoder with, made here so that every machine has the same ones. A quarter each looks like a
 * photograph, a page of text, and an even surface with one edge; the last is noise at every scale.
 * @param seed another number gives another picture
 */
export function calibrationPicture({ width, height }: Size, seed: number): Raster {
  const random = randomNumbers(seed)
  const paint = [photograph(random), page(random), surface(random), noise(random)]
  const rgb = new Uint8Array(width * height * 3)
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const quarter = (x * 2 < width ? 0 : 1) + (y * 2 < height ? 0 : 2)
      for (let channel = 0; channel < 3; channel++)
        rgb[at++] = Math.max(0, Math.min(255, paint[quarter]?.(x, y, channel) ?? 0))
    }
  return { width, height, rgb }
}

/** The value of a channel at a place, 0 to 255; a value beyond is cut off. */
type Paint = (x: number, y: number, channel: number) => number

/** Waves of many lengths, the longer the stronger, with grain. */
function photograph(random: Random): Paint {
  const waves = Array.from({ length: 16 }, (_, index) => {
    const length = 4 * 1.4 ** index
    const direction = random() * Math.PI
    return {
      x: (Math.cos(direction) * 2 * Math.PI) / length,
      y: (Math.sin(direction) * 2 * Math.PI) / length,
      phases: [0, 1, 2].map(() => random() * 2),
      strength: 2 + 1.5 * index,
    }
  })
  return (x, y, channel) =>
    waves.reduce(
      (sum, wave) => sum + wave.strength * Math.sin(wave.x * x + wave.y * y + (wave.phases[channel] ?? 0)),
      110 + 20 * random(),
    )
}

/** Dark strokes in lines on white. */
function page(random: Random): Paint {
  const strokes = Array.from({ length: 4096 }, () => random() < 0.45)
  return (x, y) => {
    const isLine = y % 14 < 9
    const stroke = strokes[(Math.floor(x / 3) * 7 + Math.floor(y / 3) * 61) % strokes.length]
    return isLine && x % 40 < 34 && stroke ? 25 : 250
  }
}

/** Two even colours. */
function surface(random: Random): Paint {
  const colours = [0, 1].map(() => [random(), random(), random()].map((part) => 30 + 200 * part))
  return (x, y, channel) => colours[x + y * 2 > 300 ? 1 : 0]?.[channel] ?? 0
}

/** Squares of many sizes on each other. */
function noise(random: Random): Paint {
  const values = Array.from({ length: 8192 }, random)
  return (x, y, channel) =>
    [2, 8, 32].reduce((sum, edge) => {
      const place = Math.floor(x / edge) * 131 + Math.floor(y / edge) * 17 + channel * 1031 + edge
      return sum + 110 * (values[place % values.length] ?? 0)
    }, -30)
}
