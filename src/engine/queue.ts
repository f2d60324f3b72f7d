import { OrielError } from '../errors.ts'
import { type Costs, crowdedOut } from '../fairness.ts'
import type { EngineRequest } from './sequence.ts'

/** A place for a request that is not in the queue yet. */
interface Place {
  /** Makes another request leave, if the queue is full. */
  take(): void
}

/** Requests that wait because one of their sequences lacks a slot. */
export class Queue {
  readonly #most: number
  readonly #costs: Costs
  readonly #requests: EngineRequest[] = []

  /** @param most requests that have not begun */
  constructor(most: number, costs: Costs) {
    this.#most = most
    this.#costs = costs
  }

  get size(): number {
    return this.#requests.length
  }

  /** In their order, as it is now. */
  get requests(): readonly EngineRequest[] {
    return [...this.#requests]
  }

  /**
   * A request leaves a full queue for a client that has few in it.
   * @throws OrielError `overloaded` for one that has many
   */
  placeFor(client: string): Place {
    // An answer that has begun stays, although it waits for a slot again.
    const waiting = this.#requests.filter(({ admitted, over }) => admitted === 0 && !over)
    if (waiting.length < this.#most) return { take: () => {} }
    const leaving = crowdedOut(client, waiting, (request) => request.client)
    if (leaving === undefined) throw queueFull(this.#most)
    return {
      take: () => {
        leaving.failure = queueFull(this.#most)
      },
    }
  }

  add(request: EngineRequest): void {
    this.#requests.push(request)
  }

  /** A sequence of the request has lost its slot: it is the next. */
  putBack(request: EngineRequest): void {
    if (!this.#requests.includes(request)) this.#requests.unshift(request)
  }

  /** A sequence of the request has got a slot or has ended. */
  leave(request: EngineRequest): void {
    const at = this.#requests.indexOf(request)
    if (at >= 0 && request.sequences.every(({ ended, slot }) => ended || slot >= 0)) this.#requests.splice(at, 1)
  }

  /** As many requests as would fill this number of cells, clients in turn, except for those that run. */
  next(cells: number, running: ReadonlySet<EngineRequest>): EngineRequest[] {
    let space = cells
    return this.#costs
      .inTurn(
        this.#requests.filter((request) => !running.has(request)),
        ({ client }) => client,
      )
      .flat()
      .filter(({ prompt }) => {
        const isNear = space > 0
        space -= prompt.cells.length
        return isNear
      })
  }
}

export const queueFull = (most: number): OrielError =>
  new OrielError('overloaded', `The queue is full: ${most} requests are waiting. Try again in a moment.`, {
    code: 'queue_full',
    retryAfter: 1,
  })
