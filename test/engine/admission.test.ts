import { describe, expect, it } from 'vitest'
import { type AdmissionState, admissions, planPreemption } from '../../src/engine/admission.ts'
import type { EngineRequest, Sequence } from '../../src/engine/sequence.ts'
import { requestIn, sequenceIn } from '../support/sequences.ts'

/** A KV memory of 200 cells and up to four sequences. */
function stateOf(active: Sequence[], over: Partial<AdmissionState> = {}): AdmissionState {
  return {
    maxSequences: 4,
    cells: 200,
    costs: { of: () => 0 },
    active: () => active,
    heldCells: (held) => held.reduce((sum, { filled }) => sum + filled, 0),
    prefixes: { held: () => 0, promised: () => 0, running: () => 0 },
    ...over,
  }
}

/** Takes all admissions, each of which becomes active. @returns indexes in the queue */
function admit(queue: readonly EngineRequest[], active: Sequence[], over: Partial<AdmissionState> = {}): number[] {
  const order: number[] = []
  for (const { request, sequences, overtaken } of admissions(queue, stateOf(active, over))) {
    for (const other of overtaken) other.overtaken++
    active.push(...sequences)
    order.push(queue.indexOf(request))
  }
  return order
}

const waiting = (prompt: number, n = 1) => requestIn({ prompt, n }).request
const running = (cells: number) => sequenceIn({ prompt: cells, filled: cells, slot: 0 })

describe('admission', () => {
  it('admits in the order of the queue up to the number of sequences', () => {
    expect(admit([waiting(5), waiting(5, 2), waiting(5), waiting(5)], [])).toEqual([0, 1, 2])
  })

  it('keeps 32 cells for the growth of each sequence', () => {
    // 100 + 32 for the running one, 36 + 32 for the next.
    expect(admit([waiting(36)], [running(100)])).toEqual([0])
    expect(admit([waiting(37)], [running(100)])).toEqual([])
  })

  it('admits a request that does not fit when no other runs', () => {
    expect(admit([waiting(500)], [])).toEqual([0])
  })

  it('does not count cells that a running sequence holds', () => {
    const prefixes = { held: () => 60, promised: () => 0, running: () => 60 }
    expect(admit([waiting(90)], [running(100)], { prefixes })).toEqual([0])
  })

  it('lets small requests overtake one that does not fit, eight times at most', () => {
    const large = waiting(150)
    const small = Array.from({ length: 9 }, () => waiting(1))
    expect(admit([large, ...small.slice(0, 2)], [running(100)])).toEqual([1, 2])
    expect(large.overtaken).toBe(2)
    large.overtaken = 8
    expect(admit([large, ...small], [running(100)])).toEqual([])
  })

  it('waits for a prefix that another sequence is about to compute', () => {
    const promised = (cells: number) => ({ prefixes: { held: () => 10, promised: () => cells, running: () => 10 } })
    expect(admit([waiting(50)], [running(60)], promised(42))).toEqual([])
    expect(admit([waiting(50)], [running(60)], promised(41))).toEqual([0])
  })

  it('compares few of the long prompts of a client that wait for the same prefix, and all short ones', () => {
    const compared = (requests: number, cells: number): number => {
      let count = 0
      const promised = () => {
        count++
        return cells - 1
      }
      const queue = Array.from({ length: requests }, () => waiting(cells))
      const prefixes = { held: () => 0, promised, running: () => 0 }
      expect(admit(queue, [running(cells)], { cells: 1e6, prefixes })).toEqual([])
      return count
    }
    expect(compared(30, 32_000)).toBeLessThan(8)
    expect(compared(500, 100)).toBe(500)
  })

  it('admits another client while many long prompts of one wait', () => {
    const alone = requestIn({ prompt: 5, over: { client: 'other' } }).request
    const queue = [...Array.from({ length: 30 }, () => waiting(32_000)), alone]
    const promised = (request: EngineRequest) => (request === alone ? 0 : 31_999)
    const prefixes = { held: () => 0, promised, running: () => 0 }
    expect(admit(queue, [running(32_000)], { cells: 1e6, prefixes })).toEqual([30])
  })

  it('changes nothing by itself', () => {
    const request = waiting(5)
    const [admission] = admissions([request], stateOf([]))
    expect(admission?.sequences).toEqual(request.sequences)
    expect([request.overtaken, request.admitted, request.sequences[0]?.slot]).toEqual([0, 0, -1])
  })
})

describe('preemption', () => {
  it('ends the only sequence, which fills the memory alone', () => {
    const only = running(200)
    expect(planPreemption([only])).toEqual({ end: only })
  })

  it('preempts the youngest sequence', () => {
    const { request, first } = requestIn({ prompt: 50, filled: 52, generated: 3, slot: 1 })
    request.firstToken = 1
    expect(planPreemption([running(100), first])).toEqual({ preempt: first })
  })

  it('preempts what waits for a prompt before what computes it', () => {
    const { request, first } = requestIn({ prompt: 50, filled: 20, slot: 1, n: 2 })
    const second = request.sequences[1] as Sequence
    second.slot = 2
    expect(planPreemption([running(100), first, second])).toEqual({ preempt: second })
  })
})

describe('admission of several clients', () => {
  const of = (client: string, prompt = 5, n = 1) => requestIn({ prompt, n, over: { client } }).request
  const held = (client: string, cells = 5) => {
    const { request, first } = requestIn({ prompt: cells, filled: cells, generated: 1, slot: 0, over: { client } })
    request.firstToken = 1
    return first
  }
  const plan = (queue: readonly EngineRequest[], active: Sequence[], over: Partial<AdmissionState> = {}) =>
    admissions(queue, stateOf(active, over)).next().value

  it('admits the client with the fewest slots first, and of several the one that has cost least', () => {
    const queue = [of('many'), of('many'), of('costly'), of('cheap')]
    const costs = { of: (client: string) => (client === 'costly' ? 5 : 1) }
    expect(admit(queue, [held('many')], { costs })).toEqual([3, 2, 0])
  })

  it('preempts the youngest of the client with the most slots, until both have as many', () => {
    const active = ['many', 'many', 'many', 'many'].map((client) => held(client))
    const waiting = of('few')
    expect(plan([waiting], active)).toMatchObject({ request: waiting, preempted: [active[3]] })
    expect(
      plan(
        [waiting],
        ['many', 'few', 'many', 'few'].map((client) => held(client)),
      ),
    ).toBeUndefined()
    expect(plan([of('many')], active)).toBeUndefined()
  })

  it('preempts for cells too, if their holder has more than the other would have', () => {
    const large = held('many', 150)
    expect(plan([of('few', 30)], [large])).toMatchObject({ preempted: [large] })
    expect(plan([of('few', 160)], [large])).toBeUndefined()
  })

  it('takes no more from others than their share, so that they do not take it back at once', () => {
    const active = Array.from({ length: 4 }, () => held('one'))
    const admission = plan([of('two', 5, 3)], active, { maxSequences: 4 })
    expect(admission?.preempted).toEqual([active[3]])
    expect(admission?.sequences).toHaveLength(1)
  })

  it('gives a request for several answers the slots that are free, and the rest later', () => {
    const request = of('one', 5, 4)
    expect(plan([request], [held('one'), held('one')])).toMatchObject({ sequences: request.sequences.slice(0, 2) })
  })

  it('preempts what nobody reads before anything else, and does not admit it', () => {
    const [first, unread, last] = [held('one'), held('one'), held('one')]
    unread.request.paused = true
    expect(plan([of('one')], [first, unread, last], { maxSequences: 3 })).toMatchObject({ preempted: [unread] })
    const waiting = of('one')
    waiting.paused = true
    expect(plan([waiting], [])).toBeUndefined()
  })
})
