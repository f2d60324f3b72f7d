import { LRUCache } from 'lru-cache'

/** Time after which a cost counts half, in ms. */
const halfLife = 10_000
/** Clients whose costs are remembered: those who came last. */
const remembered = 10_000

/** The client of calls that come from this program itself, not over HTTP. */
export const ownClient = 'program'

/**
 * What each client has cost lately, in ms of work. Whatever clients share goes to the one that has cost least: clients take
 * turns, and a costly one waits behind the others until they have cost as much. Old costs fade, so nobody saves up turns or
 * pays forever. This is the virtual token counter of "Fairness in Serving Large Language Models" (Sheng et al., 2024), with
 * measured time in place of weighted tokens.
 */
export class Costs {
  readonly #now: () => number
  readonly #settled = new LRUCache<string, { ms: number; at: number }>({ max: remembered })
  /** The starts of work that is running. */
  readonly #running = new Map<string, Set<{ readonly start: number }>>()

  /** @param now in ms */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  of(client: string): number {
    const now = this.#now()
    let ms = this.#settledBy(client, now)
    for (const { start } of this.#running.get(client) ?? []) ms += now - start
    return ms
  }

  charge(client: string, ms: number): void {
    const now = this.#now()
    this.#settled.set(client, { ms: this.#settledBy(client, now) + ms, at: now })
  }

  /** Charges the time until the returned function is called, and counts it meanwhile. */
  run(client: string): () => void {
    const work = { start: this.#now() }
    const running = this.#running.get(client) ?? new Set()
    this.#running.set(client, running.add(work))
    return () => {
      if (!running.delete(work)) return
      if (running.size === 0) this.#running.delete(client)
      this.charge(client, this.#now() - work.start)
    }
  }

  /** Groups items by client, the client that has cost least first. The items of a client keep their order. */
  inTurn<Item>(items: Iterable<Item>, clientOf: (item: Item) => string): Item[][] {
    return [...byClient(items, clientOf)]
      .map(([client, group]) => ({ group, cost: this.of(client) }))
      .toSorted((a, b) => a.cost - b.cost)
      .map(({ group }) => group)
  }

  #settledBy(client: string, now: number): number {
    const { ms, at } = this.#settled.get(client) ?? { ms: 0, at: now }
    return ms * 2 ** ((at - now) / halfLife)
  }
}

/**
 * Decides who leaves a full place when another item comes: the newest item of the client that has the most.
 * @param client whose item comes
 * @param items in the order of their arrival
 * @returns undefined if the one that comes must be refused
 */
export function crowdedOut<Item>(
  client: string,
  items: Iterable<Item>,
  clientOf: (item: Item) => string,
): Item | undefined {
  const groups = byClient(items, clientOf)
  const own = groups.get(client)?.length ?? 0
  const [largest] = [...groups.values()].toSorted((a, b) => b.length - a.length)
  return largest !== undefined && largest.length > own + 1 ? largest.at(-1) : undefined
}

/** The items of each client, in their order. */
export function byClient<Item>(items: Iterable<Item>, clientOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>()
  for (const item of items) {
    const client = clientOf(item)
    const group = groups.get(client)
    if (group === undefined) groups.set(client, [item])
    else group.push(item)
  }
  return groups
}
