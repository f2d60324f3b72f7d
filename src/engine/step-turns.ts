import type { Costs } from '../fairness.ts'
import type { UsedAdapter } from '../language/index.ts'
import type { Sequence } from './sequence.ts'
import { planStep, type StepLimits, type StepPlan } from './step-plan.ts'

/** A client is costly if it has cost this many times as much lately as the one that has cost least, and this many ms more. */
const costly = { times: 2, ms: 100 }
/** Full steps after which a step without the costly clients is tried again, although the last one saved too little. */
const tryAgain = 32

/**
 * Decides which clients take part in a step. A step of 32 sequences takes several times as long on a CPU as a step of one, so
 * the next token of a client with one answer would be as slow as the crowd of another. After a step with everybody, those who
 * have not been costly have steps of their own until these have taken as long.
 */
export class StepTurns {
  readonly #costs: Pick<Costs, 'of'>
  /** Time that is left for steps without the costly clients, in ms. */
  #left = 0
  /** Duration of the last of them, in ms, and the steps with everybody since. */
  #last = { ms: 0, ago: 0 }
  #isFull = true

  constructor(costs: Pick<Costs, 'of'>) {
    this.#costs = costs
  }

  /** @param active and the others, as `planStep` has them */
  plan(
    active: readonly Sequence[],
    limits: StepLimits,
    adapter: UsedAdapter | null = null,
    others: readonly Sequence[] = [],
  ): StepPlan {
    const own = this.#left > 0 ? this.#withoutCostly(active) : active
    this.#isFull = own.length === active.length
    if (!this.#isFull) {
      const plan = planStep(own, limits, adapter, others)
      if (plan.chunks.length > 0) return plan
      // They wait for embeddings.
      this.#isFull = true
    }
    return planStep(active, limits, adapter, others)
  }

  /** Records the duration of the planned step, in ms. */
  took(ms: number): void {
    if (!this.#isFull) {
      this.#left -= ms
      this.#last = { ms, ago: 0 }
      return
    }
    this.#last.ago++
    // On a GPU a small step may take as long as a large one.
    this.#left = this.#last.ms <= ms / 2 || this.#last.ago >= tryAgain ? ms : 0
  }

  #withoutCostly(active: readonly Sequence[]): readonly Sequence[] {
    const isCostly = costlyAmong(active, this.#costs)
    return active.filter((sequence) => !isCostly(sequence))
  }
}

/** Tells the sequences of costly clients, of those that have something to compute. */
export function costlyAmong(active: readonly Sequence[], costs: Pick<Costs, 'of'>): (one: Sequence) => boolean {
  const busy = active.filter(({ remaining, request }) => remaining > 0 && !request.paused)
  const clients = new Map(busy.map(({ request }) => [request.client, costs.of(request.client)]))
  const least = Math.min(...clients.values())
  return ({ request }) => (clients.get(request.client) ?? 0) > costly.times * least + costly.ms
}
