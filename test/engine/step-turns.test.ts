import { describe, expect, it } from 'vitest'
import type { StepLimits } from '../../src/engine/step-plan.ts'
import { StepTurns } from '../../src/engine/step-turns.ts'
import { Costs } from '../../src/fairness.ts'
import { sequenceIn } from '../support/sequences.ts'

const answerOf = (client: string) => sequenceIn({ prompt: 10, filled: 12, generated: 3, slot: 0, over: { client } })
const crowd = Array.from({ length: 8 }, () => answerOf('many'))

/** @param cost of the client with many answers, in ms */
function turns(cost: number) {
  const costs = new Costs()
  costs.charge('many', cost)
  const prefill = () => ({ rows: 16, apart: false })
  const limits: StepLimits = { rows: 64, told: 64, mixes: true, costs, fastestRows: (rows) => rows, prefill }
  const steps = new StepTurns(costs)
  /** @returns the number of rows of a step that takes so many ms */
  const step = (active: Parameters<StepTurns['plan']>[0], ms: number): number => {
    const { chunks } = steps.plan(active, limits)
    steps.took(ms)
    return chunks.length
  }
  return step
}

describe('clients in a step', () => {
  it('all take part if none has been costly, and a client alone always does', () => {
    const step = turns(50)
    for (let i = 0; i < 4; i++) expect(step([...crowd, answerOf('one')], 20)).toBe(9)
    const alone = turns(5000)
    for (let i = 0; i < 4; i++) expect(alone(crowd, 20)).toBe(8)
  })

  it('have steps without the costly ones, until these have taken as long as the step with all', () => {
    const step = turns(5000)
    const active = [...crowd, answerOf('one')]
    expect([20, 5, 5, 5, 5, 20, 10, 10, 20].map((ms) => step(active, ms))).toEqual([9, 1, 1, 1, 1, 9, 1, 1, 9])
  })

  it('have few such steps where a small step takes as long as a large one', () => {
    const step = turns(5000)
    const active = [...crowd, answerOf('one')]
    const rows = Array.from({ length: 70 }, () => step(active, 10))
    expect(rows.filter((count) => count === 1)).toHaveLength(3)
  })

  it('leave the step to the costly ones while they wait for embeddings', () => {
    const step = turns(5000)
    const waiting = sequenceIn({
      prompt: 10,
      spans: [{ start: 0, end: 9, mutual: false }],
      slot: 1,
      over: { client: 'one' },
    })
    for (let i = 0; i < 3; i++) expect(step([...crowd, waiting], 20)).toBe(8)
  })
})
