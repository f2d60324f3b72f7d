import { audioRate } from '../../../src/encoders/index.ts'

/** The sounds of the fixtures, in samples. libmtmd ends its process for a sound of one. */
export const lengths = [2, 300, 16_000, 100_001, 479_840, 620_000] as const

/** A gliding tone with harmonics and some noise, which stops and begins again: -1 to 1. */
export function testSound(samples: number): Float32Array {
  let noise = 1
  return Float32Array.from({ length: samples }, (_, at) => {
    noise = (noise * 48271) % 2147483647
    const time = at / audioRate
    const turns = 2 * Math.PI * (200 * time + 60 * Math.sin(1.3 * time))
    const loudness = time % 2.5 < 1.9 ? 0.3 : 0
    return loudness * (Math.sin(turns) + 0.5 * Math.sin(3 * turns)) + 0.02 * (noise / 2147483647 - 0.5)
  })
}
