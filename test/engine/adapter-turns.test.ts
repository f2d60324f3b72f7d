import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AdapterTurns } from '../../src/engine/adapter-turns.ts'
import type { Sequence } from '../../src/engine/sequence.ts'
import type { StepLimits } from '../../src/engine/step-plan.ts'
import { Costs } from '../../src/fairness.ts'
import type { UsedAdapter } from '../../src/language/index.ts'
import { sequenceIn } from '../support/sequences.ts'

const adapters = new Map<string, UsedAdapter>()

/** A running answer, or with `prompt` a prompt that is not computed yet. */
function sequenceOf(name: string, client = 'one', prompt = 0): Sequence {
  const used = adapters.get(name) ?? { adapter: { invocation: [], embeds: false } as never, scale: 1 }
  adapters.set(name, used)
  const state = prompt > 0 ? { prompt } : { prompt: 4, filled: 4, generated: 1 }
  const over = { client, ...(name === '' ? {} : { adapterKey: name, adapter: { id: name, scale: 1 } }) }
  return sequenceIn({ ...state, slot: 1, over, adapter: name === '' ? null : used })
}

const limitsOf = (costs: Costs): StepLimits => ({
  rows: 64,
  told: 64,
  mixes: true,
  costs,
  fastestRows: (rows) => rows,
  prefill: (answering) => ({ rows: answering === 0 ? 64 : 8, apart: false }),
})

interface Taken {
  name: string
  ms: number
}

/** Takes steps, and returns what each computed with. @param msOf the duration of a step, and of a change before it */
function stepsOf(
  active: readonly Sequence[],
  steps: number,
  msOf: (change: boolean) => number = () => 1,
  costs = new Costs(() => 0),
): Taken[] {
  const turns = new AdapterTurns(costs)
  const taken: Taken[] = []
  for (let step = 0; step < steps; step++) {
    const { chunks, adapter } = turns.plan(active, limitsOf(costs))
    const names = new Set(chunks.map(({ sequence }) => nameOf(sequence)))
    if (names.size !== 1 || chunks.some(({ sequence }) => sequence.request.adapter !== adapter))
      throw new Error('a step has several adapters')
    const ms = msOf(turns.isChange)
    turns.took(ms)
    for (const { sequence } of chunks) costs.charge(sequence.request.client, ms / chunks.length)
    taken.push({ name: [...names][0] ?? '', ms })
  }
  return taken
}

const nameOf = ({ request }: Sequence): string => request.spec.adapterKey ?? ''

/** The first step of each turn. */
const turnsOf = (taken: readonly Taken[]): Taken[] => taken.filter(({ name }, at) => name !== taken[at - 1]?.name)

const shareOf = (taken: readonly Taken[], name: string): number =>
  taken.filter((step) => step.name === name).length / taken.length

describe('turns of adapters', () => {
  it('have every sequence of one adapter in a step, and no others', () => {
    const active = ['', 'a', 'a', 'b', ''].map((name) => sequenceOf(name))
    const turns = new AdapterTurns(new Costs(() => 0))
    const { chunks } = turns.plan(active, limitsOf(new Costs(() => 0)))
    expect(chunks.map(({ sequence }) => sequence)).toEqual([active[0], active[4]])
  })

  it('come to each as often, whatever the durations and whoever comes', () => {
    const names = fc.uniqueArray(fc.constantFrom('', 'a', 'b', 'c', 'd', 'e'), { minLength: 2 })
    const durations = fc.record({
      step: fc.double({ min: 0.1, max: 80, noNaN: true }),
      change: fc.integer({ min: 0, max: 20 }),
    })
    fc.assert(
      fc.property(names, durations, fc.integer({ min: 1, max: 3 }), (names, { step, change }, each) => {
        const active = names.flatMap((name) => Array.from({ length: each }, () => sequenceOf(name)))
        const taken = stepsOf(active, 200 * names.length, (isChange) => step + (isChange ? change : 0))
        const turns = turnsOf(taken).map(({ name }) => name)
        // Each is preceded by all others.
        for (let at = names.length; at < turns.length; at++)
          expect(new Set(turns.slice(at - names.length, at)).size).toBe(names.length)
        // Nobody waits for more than one turn of each other, which is bounded.
        const ends = new Map<string, number>(names.map((name) => [name, 0]))
        let [now, longest] = [0, 0]
        for (const { name, ms } of taken) {
          longest = Math.max(longest, now - (ends.get(name) ?? 0))
          now += ms
          ends.set(name, now)
        }
        expect(longest).toBeLessThanOrEqual((names.length - 1) * (50 + change + 2 * step))
      }),
      { numRuns: 20 },
    )
  })

  it('have several steps where these are short, so that changes take a small part of the time', () => {
    const active = ['a', 'b'].map((name) => sequenceOf(name))
    const changes = (taken: readonly Taken[]) => turnsOf(taken).length
    const short = stepsOf(active, 1000, (isChange) => (isChange ? 2.5 : 0.5)).slice(100)
    expect((changes(short) * 2) / short.reduce((sum, { ms }) => sum + ms, 0)).toBeLessThan(0.2)
    // A long step is a turn.
    const long = stepsOf(active, 1000, (isChange) => (isChange ? 42 : 40)).slice(100)
    expect(changes(long)).toBeGreaterThan(800)
  })

  it('leave a client with one adapter more time than its part, if another has many', () => {
    const many = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => sequenceOf(name, 'many'))
    const costs = new Costs(() => 0)
    costs.charge('many', 1000)
    const taken = stepsOf([...many, sequenceOf('', 'few')], 400, () => 20, costs)
    expect(shareOf(taken, '')).toBeGreaterThan(0.3)
    for (const sequence of many) expect(shareOf(taken, nameOf(sequence))).toBeGreaterThan(0.05)
  })

  it('limit the prefill of one while another answers', () => {
    const taken = new AdapterTurns(new Costs(() => 0))
    const limits = limitsOf(new Costs(() => 0))
    const { chunks } = taken.plan([sequenceOf('a', 'one', 200)], limits)
    expect(chunks).toMatchObject([{ from: 0, to: 64 }])
    const { chunks: limited } = new AdapterTurns(new Costs(() => 0)).plan(
      [sequenceOf('a', 'one', 200), sequenceOf('b')],
      limits,
    )
    expect(limited).toMatchObject([{ from: 0, to: 8 }])
  })

  it('skip what waits for embeddings', () => {
    const waiting = sequenceIn({ prompt: 4, slot: 2, spans: [{ start: 0, end: 4, mutual: false }] })
    const taken = stepsOf([waiting, sequenceOf('a')], 5)
    expect(shareOf(taken, 'a')).toBe(1)
  })
})
