import { randomNumbers } from '../../../src/random.ts'
import type { Sequence, Sequences } from '../../../src/tuning/sequence.ts'

/** What `pocket/gradients.py` trains with. */
export const formula = { rank: 4, alpha: 8, learningRate: 3e-3, warmupSteps: 5, steps: 50, seed: 7, examples: 6 }

/** The same examples as `examples()` there has: the first cells are a picture's in two of three. */
export function formulaExamples(width: number, vocabulary: number, examples = formula.examples): Sequence[] {
  return Array.from({ length: examples }, (_, index): Sequence => {
    const random = randomNumbers(100 + index)
    const cells = 20 + Math.floor(random() * 40)
    const count = index % 3 === 2 ? 0 : 9
    const rows = Float32Array.from({ length: count * width }, () => (random() - 0.5) * 2)
    return {
      tokens: Int32Array.from({ length: cells }, (_, cell) =>
        cell >= 1 && cell <= count ? -1 : Math.floor(random() * vocabulary),
      ),
      positions: Int32Array.from({ length: cells }, (_, cell) => cell),
      learned: Uint8Array.from({ length: cells }, (_, cell) => (cell >= cells - 8 ? 1 : 0)),
      spans: count === 0 ? [] : [{ start: 1, rows }],
    }
  })
}

/** Sequences that are in memory. */
export const sequencesOf = (all: readonly Sequence[]): Sequences => ({
  lengths: Int32Array.from(all, ({ tokens }) => tokens.length),
  learned: Int32Array.from(all, ({ learned }) => learned.reduce((sum, one) => sum + one, 0)),
  read(index) {
    const found = all[index]
    if (found === undefined) throw new Error(`there is no sequence ${index}`)
    return found
  },
  close() {},
})
