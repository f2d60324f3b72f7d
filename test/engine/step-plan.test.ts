import { describe, expect, it } from 'vitest'
import type { Sequence } from '../../src/engine/sequence.ts'
import { planStep, type StepLimits } from '../../src/engine/step-plan.ts'
import { Costs } from '../../src/fairness.ts'
import { sequenceIn } from '../support/sequences.ts'

const limits = (most: number, over: Partial<StepLimits> = {}): StepLimits => ({
  rows: 64,
  told: 64,
  mixes: true,
  costs: new Costs(),
  fastestRows: (rows) => rows,
  prefill: () => ({ rows: most, apart: false }),
  ...over,
})

/** @returns for each chunk, the index of its sequence, its cells, and whether they are of a span */
const planned = (active: readonly Sequence[], of: StepLimits) =>
  planStep(active, of).chunks.map(({ sequence, from, to, span }) => [active.indexOf(sequence), from, to, span !== null])

const answering = () => sequenceIn({ prompt: 10, filled: 12, generated: 3, slot: 0 })
const prefilling = (prompt: number, filled = 0) => sequenceIn({ prompt, filled, slot: 1 })

describe('the plan of a step', () => {
  it('is empty when no sequence has cells to compute', () => {
    expect(planStep([], limits(10))).toEqual({ chunks: [], answering: 0, apart: false, adapter: null })
    // A sequence of n answers has no cells before the first has computed the prompt.
    expect(planned([sequenceIn({ prompt: 0, slot: 2 })], limits(10))).toEqual([])
  })

  it('holds the next token of every answer, then prefill up to the limit', () => {
    const active = [answering(), prefilling(100, 20), answering()]
    expect(planStep(active, limits(10)).answering).toBe(2)
    expect(planned(active, limits(10))).toEqual([
      [0, 12, 13, false],
      [2, 12, 13, false],
      [1, 20, 30, false],
    ])
  })

  it('has prefill apart only beside answers, which come first', () => {
    const apart = { prefill: () => ({ rows: 1, apart: true }) }
    const active = [prefilling(100, 20), answering()]
    expect(planStep(active, limits(1, apart))).toMatchObject({ answering: 1, apart: true })
    expect(planned(active, limits(1, apart))).toEqual([
      [1, 12, 13, false],
      [0, 20, 21, false],
    ])
    expect(planStep([answering()], limits(1, apart)).apart).toBe(false)
    expect(planStep([prefilling(100)], limits(1, apart)).apart).toBe(false)
  })

  it('has few rows whose log probabilities are told, of all prompts together, and gives the others to those without', () => {
    const told = () => sequenceIn({ prompt: 100, slot: 1, over: { promptLogprobs: true } })
    expect(planned([told(), prefilling(100), told()], limits(30, { told: 8 }))).toEqual([
      [0, 0, 8, false],
      [1, 0, 22, false],
    ])
    const done = told()
    done.request.toldCells = 100
    expect(planned([done], limits(30, { told: 8 }))).toEqual([[0, 0, 30, false]])
  })

  it('keeps within the rows of a batch', () => {
    expect(planned([answering(), answering(), prefilling(9)], limits(8, { rows: 5 })).at(-1)).toEqual([2, 0, 3, false])
  })

  it('computes cells before the end of a prompt again where that is faster', () => {
    const tiles = { fastestRows: (rows: number) => Math.max(rows, 8) }
    expect(planned([prefilling(100, 95)], limits(20, tiles))).toEqual([[0, 92, 100, false]])
    expect(planned([prefilling(100, 90)], limits(20, tiles))).toEqual([[0, 90, 100, false]])
    // It would be more than the step may have, or there are too few cells.
    expect(planned([prefilling(100, 95)], limits(7, tiles))).toEqual([[0, 95, 100, false]])
    expect(planned([prefilling(7, 5)], limits(20, tiles))).toEqual([[0, 5, 7, false]])
    // The rows of others fill the batch as well.
    expect(planned([prefilling(100, 95), answering()], limits(20, tiles)).at(-1)).toEqual([0, 95, 100, false])
  })

  it('does not compute the cells of an image again', () => {
    const tiles = { fastestRows: (rows: number) => Math.max(rows, 8) }
    const afterImage = prefilling(100, 95)
    afterImage.cells[93] = -1
    expect(planned([afterImage], limits(20, tiles))).toEqual([[0, 95, 100, false]])
  })

  it('gives the oldest half of the rows, and the rest to the sequences with the fewest cells left', () => {
    expect(planned([prefilling(100), prefilling(50), prefilling(3)], limits(20))).toEqual([
      [0, 0, 10, false],
      [2, 0, 3, false],
      [1, 0, 7, false],
    ])
  })

  it('gives the rows to the client that has cost least, and what it leaves to the next', () => {
    const costs = new Costs()
    costs.charge('many', 100)
    const of = (client: string, prompt: number) => sequenceIn({ prompt, slot: 1, over: { client } })
    expect(planned([of('many', 100), of('few', 6), of('many', 100)], limits(20, { costs }))).toEqual([
      [1, 0, 6, false],
      [0, 0, 7, false],
      [2, 0, 7, false],
    ])
  })

  it('leaves out what nobody reads', () => {
    const paused = answering()
    paused.request.paused = true
    expect(planned([paused, answering()], limits(20))).toEqual([[1, 12, 13, false]])
  })

  it('asks for the limit with the number of answers and prompts, which count once for each of several clients', () => {
    const asked: number[][] = []
    const other = sequenceIn({ prompt: 10, filled: 12, generated: 3, slot: 0, over: { client: 'other' } })
    for (const answer of [answering(), other])
      planStep([answer, prefilling(4), prefilling(4)], {
        ...limits(0),
        prefill: (...counts) => {
          asked.push(counts)
          return { rows: 8, apart: false }
        },
      })
    expect(asked).toEqual([
      [1, 2],
      [1, 1],
    ])
  })

  it('stops before a span that is not encoded', () => {
    const spans = [{ start: 4, end: 8, mutual: false }]
    expect(planned([sequenceIn({ prompt: 12, spans })], limits(20))).toEqual([[0, 0, 4, false]])
    expect(planned([sequenceIn({ prompt: 12, filled: 4, spans })], limits(20))).toEqual([])
  })

  it('continues after a span in the same batch only if tokens and embeddings mix', () => {
    const sequence = sequenceIn({ prompt: 12, spans: [{ start: 4, end: 8, mutual: false }], encoded: true })
    expect(planned([sequence], limits(20))).toEqual([
      [0, 0, 4, false],
      [0, 4, 8, true],
      [0, 8, 12, false],
    ])
    expect(planned([sequence], limits(20, { mixes: false }))).toEqual([
      [0, 0, 4, false],
      [0, 4, 8, true],
    ])
    expect(planned([sequence], limits(6))).toEqual([
      [0, 0, 4, false],
      [0, 4, 6, true],
    ])
  })

  it('takes a mutual span as a whole, even above the limit, but not beside another span', () => {
    const whole = () => sequenceIn({ prompt: 12, spans: [{ start: 0, end: 8, mutual: true }], encoded: true })
    expect(planned([whole()], limits(3))).toEqual([[0, 0, 8, true]])
    expect(planned([whole(), whole()], limits(10))).toEqual([[0, 0, 8, true]])
  })

  it('changes nothing', () => {
    const sequence = prefilling(30, 5)
    planStep([sequence], limits(10))
    expect([sequence.filled, sequence.cells.length, sequence.slot]).toEqual([5, 30, 1])
  })
})
