import { LRUCache } from 'lru-cache'
import type { Costs } from '../fairness.ts'
import type { UsedAdapter } from '../language/index.ts'
import type { Sequence } from './sequence.ts'
import type { StepLimits, StepPlan } from './step-plan.ts'
import { costlyAmong, StepTurns } from './step-turns.ts'

/** Changes of adapters take this share of all time at most, unless turns would have to be longer than the bound, in ms. */
const changeShare = 0.15
const longestTurn = 50
/** The time of a change until one is measured, in ms. */
const usualChange = 2
/** Weight of the newest measurement in the running mean. */
const newest = 0.25
/** One of so many turns has two steps at least: their difference is the time of a change. It is prime, so that it is not always the same one. */
const measuredTurns = 17
/** Adapters whose last turns are remembered. */
const remembered = 1000

/** Sequences that one step may compute together: llama.cpp computes with one adapter at a time. */
interface Group {
  readonly name: string
  readonly adapter: UsedAdapter | null
  readonly sequences: readonly Sequence[]
}

/** What a step was, or will be. */
interface Step {
  readonly rows: number
  readonly isPrefill: boolean
  /** Whether it computes with another adapter than the one before. */
  readonly isChange: boolean
}

/**
 * Decides with which adapter the next step computes. All that are needed take turns, and so does the model alone: next is the one
 * whose last turn is longest ago. llama.cpp makes its graphs anew at each change, so a turn has several steps where these are
 * short. Those that only costly clients use may have every second turn together, so that many adapters of one client do not
 * take the time of others.
 */
export class AdapterTurns {
  readonly #costs: Pick<Costs, 'of'>
  readonly #steps: StepTurns
  /** Numbers of the last turns, by the names of groups. */
  readonly #turns = new LRUCache<string, number>({ max: remembered })
  #turn = 0
  #current: string | undefined
  /** The steps of this turn, and their duration in ms. */
  #count = 0
  #ms = 0
  /** Whether this turn was given out of the order. */
  #isAhead = false
  #changeMs = usualChange
  #last: (Step & { ms: number }) | undefined
  #next: Step = { rows: 0, isPrefill: false, isChange: false }

  constructor(costs: Pick<Costs, 'of'>) {
    this.#costs = costs
    this.#steps = new StepTurns(costs)
  }

  /** Whether the planned step computes with another adapter than the one before. */
  get isChange(): boolean {
    return this.#next.isChange
  }

  plan(active: readonly Sequence[], limits: StepLimits): StepPlan {
    let empty: StepPlan = { chunks: [], answering: 0, apart: false, adapter: null }
    const groups = groupsOf(active)
    const isOver = groups.length > 1 && this.#isOver
    const order = this.#order(groups, isOver)
    for (const group of isOver ? this.#overtaken(order, active) : order) {
      const others = groups.length === 1 ? [] : active.filter((sequence) => !group.sequences.includes(sequence))
      const plan = this.#steps.plan(group.sequences, limits, group.adapter, others)
      if (plan.chunks.length > 0) {
        if (isOver || group.name !== this.#current) this.#beginTurn(group.name, order[0] !== group)
        this.#next = stepOf(plan, group.name !== this.#current)
        this.#current = group.name
        return plan
      }
      // They wait for embeddings.
      empty = plan
    }
    return empty
  }

  /** Records the duration of the planned step, in ms. */
  took(ms: number): void {
    this.#steps.took(ms)
    this.#count++
    this.#ms += ms
    const [before, step] = [this.#last, { ...this.#next, ms }]
    this.#last = step
    const isMeasure = before?.isChange && !step.isChange && !before.isPrefill && !step.isPrefill
    if (isMeasure && before.rows === step.rows)
      this.#changeMs += newest * (Math.max(0, before.ms - step.ms) - this.#changeMs)
  }

  get #isOver(): boolean {
    const isMeasured = this.#turn % measuredTurns !== 0 || this.#count >= 2
    return isMeasured && this.#ms >= Math.min(longestTurn, this.#changeMs / changeShare)
  }

  /** By their last turns; the one whose turn it is comes first until it is over. */
  #order(groups: readonly Group[], isOver: boolean): readonly Group[] {
    const turnOf = ({ name }: Group): number => (!isOver && name === this.#current ? -1 : (this.#turns.get(name) ?? 0))
    return groups.toSorted((a, b) => turnOf(a) - turnOf(b))
  }

  /** After a turn in the order, one that a client needs who is not costly may be the next. */
  #overtaken(order: readonly Group[], active: readonly Sequence[]): readonly Group[] {
    if (this.#isAhead) return order
    const isCostly = costlyAmong(active, this.#costs)
    const first = order.find(({ sequences }) => !sequences.every(isCostly))
    return first === undefined ? order : [first, ...order.filter((group) => group !== first)]
  }

  #beginTurn(name: string, isAhead: boolean): void {
    this.#turns.set(name, ++this.#turn)
    this.#count = 0
    this.#ms = 0
    this.#isAhead = isAhead
  }
}

function stepOf({ chunks, answering }: StepPlan, isChange: boolean): Step {
  const rows = chunks.reduce((sum, { from, to }) => sum + to - from, 0)
  return { rows, isPrefill: rows > answering, isChange }
}

/** Sequences by what their next cells are computed with, in the order of their admission. */
function groupsOf(active: readonly Sequence[]): Group[] {
  const groups = new Map<string, { name: string; adapter: UsedAdapter | null; sequences: Sequence[] }>()
  for (const sequence of active) {
    const { adapter, request } = sequence
    const name = adapter === null ? '' : request.adapterName
    const group = groups.get(name) ?? { name, adapter, sequences: [] }
    group.sequences.push(sequence)
    groups.set(name, group)
  }
  return [...groups.values()]
}
