import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { choose, errorOf, type MeasuredMatrix } from '../../src/encoders/calibration/choose.ts'
import { type Form, weightBytes } from '../../src/encoders/graph/products.ts'

const usual = { int8: 1, int8x2: 2, int8x3: 3, fp32: 3.1 }
const matrix = (name: string, activations: number, weights: number, ms = usual, both = 0): MeasuredMatrix => ({
  ...{ name, weights: 100, errors: { activations, weights, both }, ms },
})
const chosenOf = (...of: Parameters<typeof choose>): Record<string, Form> => Object.fromEntries(choose(...of))

describe('the forms of the matrices', () => {
  it('are the fastest ones if their error is small enough', () => {
    expect(chosenOf([matrix('a', 1, 1), matrix('b', 2, 2)], 6, 1000)).toEqual({ a: 'int8', b: 'int8' })
  })

  it('change where a ms removes most error', () => {
    const matrices = [matrix('a', 5, 0), matrix('b', 9, 1), matrix('c', 1, 0)]
    expect(chosenOf(matrices, 7, 1000)).toEqual({ a: 'int8', b: 'int8x2', c: 'int8' })
    expect(chosenOf(matrices, 2, 1000)).toEqual({ a: 'int8x2', b: 'int8x2', c: 'int8' })
  })

  it('have two terms where channels are much larger than others, and a third only where it helps', () => {
    expect(chosenOf([matrix('a', 50, 0.1), matrix('b', 50, 0.1)], 1, 1000)).toEqual({ a: 'int8x2', b: 'int8x2' })
    expect(chosenOf([matrix('a', 0.1, 50)], 1, 1000)).toEqual({ a: 'int8x3' })
  })

  it('have no rounding at all where three terms are too few', () => {
    expect(chosenOf([matrix('a', 50, 1, usual, 0.5), matrix('b', 5, 0)], 0.4, 1000)).toEqual({ a: 'fp32', b: 'int8x2' })
  })

  it('leave floats out if the others have no bytes then', () => {
    const equal = { ...usual, fp32: 3 }
    const all = ['a', 'b', 'c', 'd'].map((name) => matrix(name, 0.1, 9, equal))
    expect(chosenOf(all, 1, 800)).toEqual({ a: 'int8x3', b: 'int8x3', c: 'int8x3', d: 'int8x3' })
  })

  it('are exact on a machine that computes no faster in integers', () => {
    const slow = { int8: 4, int8x2: 8, int8x3: 12, fp32: 3 }
    expect(chosenOf([matrix('a', 1, 1, slow)], 100, 1000)).toEqual({ a: 'fp32' })
  })

  it('never take more memory than they may, and have a small error if it can be had', () => {
    const number = fc.double({ min: 0, max: 10, noNaN: true })
    const time = fc.double({ min: 0.1, max: 10, noNaN: true })
    const fp32 = time
    const shape = fc.record({ activations: number, weights: number, int8: time, int8x2: time, int8x3: time, fp32 })
    fc.assert(
      fc.property(
        fc.array(shape, { minLength: 1, maxLength: 12 }),
        number,
        fc.integer({ min: 1, max: 4 }),
        (all, most, each) => {
          const matrices = all.map(({ activations, weights, ...ms }, at) => matrix(`${at}`, activations, weights, ms))
          const chosen = choose(matrices, most, 100 * each * all.length)
          const bytes = matrices.reduce((sum, { name }) => sum + 100 * weightBytes[chosen.get(name) ?? 'fp32'], 0)
          expect(bytes).toBeLessThanOrEqual(100 * each * all.length)
          // In two bytes everything can be exact.
          if (each >= 2) expect(errorOf(matrices, chosen)).toBeLessThanOrEqual(most + 1e-9)
        },
      ),
    )
  })
})
