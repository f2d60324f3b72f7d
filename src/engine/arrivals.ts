import { type Costs, crowdedOut } from '../fairness.ts'
import { queueFull } from './queue.ts'

/** A request, or a question about prompts, that is being read. */
export interface Arrival {
  readonly client: string
  /** Reads one more piece. @returns whether it was the last @throws OrielError */
  read(): boolean
}

/** Time after which reading lets others have the event loop, in ms. */
const slice = 4

/** What has arrived and has not been read, or not all of it. Clients take turns. */
export class Arrivals {
  readonly #most: number
  readonly #costs: Costs
  readonly #refuse: (id: number, error: unknown) => void
  /** In the order of their arrival. */
  readonly #arrived = new Map<number, Arrival>()
  #next: NodeJS.Immediate | undefined

  /** @param refuse is told of an arrival that cannot be read, or for which there is no place */
  constructor(most: number, costs: Costs, refuse: (id: number, error: unknown) => void) {
    this.#most = most
    this.#costs = costs
    this.#refuse = refuse
  }

  get size(): number {
    return this.#arrived.size
  }

  /** Reads it soon. */
  add(id: number, arrival: Arrival): void {
    this.#arrived.set(id, arrival)
    if (this.#arrived.size > this.#most) {
      const last = crowdedOut(arrival.client, this.#arrived, ([, { client }]) => client)?.[0] ?? id
      this.#arrived.delete(last)
      this.#refuse(last, queueFull(this.#most))
    }
    this.#readSoon()
  }

  /** @returns whether it was there */
  delete(id: number): boolean {
    return this.#arrived.delete(id)
  }

  #readSoon(): void {
    this.#next ??= setImmediate(() => this.#readSome())
  }

  /** Many long prompts and grammars take long, so they are read in slices. */
  #readSome(): void {
    this.#next = undefined
    const until = performance.now() + slice
    do {
      const [[next] = []] = this.#costs.inTurn(this.#arrived, ([, { client }]) => client)
      if (next === undefined) return
      const start = performance.now()
      this.#read(...next, until)
      this.#costs.charge(next[1].client, performance.now() - start)
    } while (performance.now() < until)
    if (this.#arrived.size > 0) this.#readSoon()
  }

  /** Reads an arrival to its end, or until the slice is over. */
  #read(id: number, arrival: Arrival, until: number): void {
    try {
      while (!arrival.read()) if (performance.now() >= until) return
      this.#arrived.delete(id)
    } catch (error) {
      this.#arrived.delete(id)
      this.#refuse(id, error)
    }
  }
}
