import fc from 'fast-check'
import { expect, it } from 'vitest'
import { calibrate } from '../../src/encoders/calibration/calibrate.ts'
import type { ProductShape } from '../../src/encoders/calibration/costs.ts'
import type { Half } from '../../src/encoders/graph/source.ts'
import type { Trial } from '../../src/encoders/graph/trial.ts'

const matrices = Array.from({ length: 8 }, (_, layer) => ({
  name: `v.blk.${layer}.ffn_up.weight`,
  rows: 4,
  columns: 4,
}))

/** Rows of its activations: each layer has half as many as the one before it. */
const rowsOf = (layer: number): number => 512 >> layer

/** What each missing term of each matrix does to an encoder of one number. */
type Effects = readonly (readonly [activations: number, weights: number, both: number])[]

/**
 * An encoder whose embedding is 1 and what missing terms add to it.
 * @param together how much more they add if other matrices have missing terms too, which a trial of one kind does not show
 */
function trialOf(effects: Effects, together: number): Trial<string> {
  const length = 3 * matrices.length
  return {
    matrices: matrices.map((matrix) => ({ ...matrix, x: matrix.name })),
    async run(_sample, terms) {
      const missing = effects.flat().map((effect, at) => (1 - (terms[at] ?? 0)) * effect)
      const sum = missing.reduce((all, effect) => all + effect ** 2, 0)
      const rounded = missing.filter((effect) => effect > 0).length
      const error = Math.sqrt(sum) * (1 + (together * rounded) / length)
      const left = Float32Array.from(effects.flat(), (of) => of ** 2)
      return {
        embeddings: Float32Array.of(1 + error),
        left,
        rows: Float32Array.from(matrices, (_, layer) => rowsOf(layer)),
      }
    },
    async release() {},
  }
}

const half: Half<string> = {
  modality: 'vision',
  example: '',
  sizeOf: () => '',
  grid: () => ({ rows: 1, columns: 1 }),
  build: () => {
    throw new Error('the trial computes')
  },
  sample: () => ({ values: new Float32Array(1), part: '' }),
}

it('keeps the error within 1.5 times that of ggml, however errors add up and whatever is fast', async () => {
  const effect = fc.double({ min: 0, max: 0.5, noNaN: true })
  const time = fc.double({ min: 0.1, max: 10, noNaN: true })
  const costs = fc.record({ int8: time, int8x2: time, int8x3: time, fp32: time })
  const effects = fc.array(fc.tuple(effect, effect, effect), { minLength: 8, maxLength: 8 })
  const ofGgml = fc.double({ min: 0, max: 0.1, noNaN: true })
  const together = fc.double({ min: 0, max: 50, noNaN: true })
  await fc.assert(
    fc.asyncProperty(effects, costs, ofGgml, together, async (effects, costs, ofGgml, together) => {
      const { error, aim, ggml } = await calibrate({
        half,
        inGgml: async () => Float32Array.of(1 + ofGgml),
        openTrial: async () => trialOf(effects, together),
        costs: async () => costs,
        turn: async () => {},
      })
      expect(ggml).toBeCloseTo(ofGgml, 5)
      expect(aim).toBeLessThanOrEqual(Math.max(1.5 * 0.0109, 1.5 * ggml))
      expect(error).toBeLessThanOrEqual(aim)
    }),
  )
})

it('measures the time of products of the rows that each matrix has, which are not those of the input', async () => {
  const asked: ProductShape[] = []
  await calibrate({
    half,
    inGgml: async () => Float32Array.of(1),
    openTrial: async () => trialOf(Array(matrices.length).fill([0.1, 0.1, 0.1]), 0),
    async costs(shape) {
      asked.push(shape)
      return { int8: 1, int8x2: 2, int8x3: 3, fp32: 4 }
    },
    turn: async () => {},
  })
  expect(asked).toEqual(matrices.map((_, layer) => ({ rows: rowsOf(layer), inputs: 4, outputs: 4, sharing: 1 })))
})
