import type { Costs } from '../fairness.ts'
import type { KvCache, SharedPrefix } from './kv-cache.ts'
import { commonLength } from './prefix-tree.ts'
import type { EngineRequest, Sequence } from './sequence.ts'

/** A prefix and the slot that holds it. */
interface HeldPrefix extends SharedPrefix {
  readonly slot: number
}

const nothing: HeldPrefix = { slot: -1, length: 0, state: null }

/** Finds the part of a prompt that is computed already: in running sequences, in stored ones and on the shelf. */
export class Prefixes {
  readonly #kv: KvCache
  readonly #active: () => readonly Sequence[]
  readonly #costs: Pick<Costs, 'of'>

  /** @param active the running sequences */
  constructor(kv: KvCache, active: () => readonly Sequence[], costs: Pick<Costs, 'of'>) {
    this.#kv = kv
    this.#active = active
    this.#costs = costs
  }

  /** Number of a path's cells that are in the KV memory. The last one never counts, since its logits are needed. */
  held(request: EngineRequest, path: ArrayLike<number>): number {
    return this.#longest(request, path).length
  }

  /** Number of a path's cells that running sequences hold. */
  running(request: EngineRequest, path: ArrayLike<number>): number {
    return request.sharesPrompt && path.length > 0 ? this.#longestRunning(request, path).length : 0
  }

  /** Number of a path's cells that are in the KV memory or can be restored to it. */
  known(request: EngineRequest, path: ArrayLike<number>): number {
    if (!request.sharesPrompt) return 0
    const shelved = sharesOf(request, path).map(({ key, most }) => {
      const found = this.#kv.shelf.match(key, path)
      if (found === undefined) return 0
      const common = Math.min(found.length, most)
      return this.#kv.shared(key, path, common, found.cells, request.prompt.positions).length
    })
    return Math.max(this.held(request, path), ...shelved)
  }

  /**
   * Number of a path's cells that running sequences hold or are about to compute. A client does not wait for the prompt of
   * one that has cost more, whose turn comes later, and nobody waits for one that has stopped to read.
   */
  promised(request: EngineRequest, path: ArrayLike<number>): number {
    if (!request.sharesPrompt) return 0
    const most = mostShared(request, path)
    const cost = this.#costs.of(request.client)
    const sharers = this.#sharers(request).filter(
      (sequence) => !sequence.request.paused && this.#costs.of(sequence.request.client) <= cost,
    )
    return sharers.reduce((best, sequence) => {
      const promised = Math.min(
        most,
        equalCells(request, sequence.request),
        sequence.request.prompt.cells.length,
        sequence.cells.length,
      )
      const common = commonLength(sequence.cells, path, 0, promised)
      if (!this.#kv.stateful) return Math.max(best, common)
      return this.#kv.keepsStates ? Math.max(best, sequence.lastStop(common)) : best
    }, 0)
  }

  /** Fills a sequence's empty slot with the longest prefix of its path. @returns the number of cells that it holds now */
  give({ request, slot, cells }: Sequence): number {
    if (!request.sharesPrompt || cells.length === 0) return 0
    const { prompt } = request
    const { memory } = this.#kv
    const space = memory.cells - memory.held(this.#active().map((running) => running.slot))
    const known = this.held(request, cells)
    for (const { key, most } of sharesOf(request, cells)) {
      const recalled = this.#kv.recall(slot, key, cells, { known, most, space }, prompt.positions)
      if (recalled > 0) return recalled
    }
    // Looked up again, since an eviction may have removed the longest.
    const { slot: source, length, state } = this.#longest(request, cells)
    if (length === 0) return 0
    this.#kv.tree.touch(source)
    memory.share(source, slot, length, prompt.positions.after(length), state)
    return length
  }

  /** Stores a slot, which holds this path of the request, for prompts with the same prefix. */
  store(request: EngineRequest, path: Float64Array, slot: number): void {
    const { plainCells, prompt } = request
    // What the model alone has computed is everybody's.
    if (plainCells > 0 && plainCells < path.length)
      this.#kv.storePart(request.prefixKey(plainCells), path.subarray(0, plainCells), slot, prompt.positions)
    this.#kv.store(request.prefixKey(path.length), path, slot)
  }

  #longest(request: EngineRequest, path: ArrayLike<number>): HeldPrefix {
    if (!request.sharesPrompt || path.length === 0) return nothing
    let best = this.#longestRunning(request, path)
    for (const { key, most } of sharesOf(request, path)) {
      const stored = this.#kv.tree.match(key, path)
      if (stored === undefined) continue
      const common = Math.min(stored.length, most)
      const found = this.#kv.shared(key, path, common, stored.of, request.prompt.positions)
      if (found.length >= best.length) best = { slot: stored.sequence, ...found }
    }
    return best
  }

  #longestRunning(request: EngineRequest, path: ArrayLike<number>): HeldPrefix {
    let best: HeldPrefix = nothing
    const most = mostShared(request, path)
    for (const { slot, cells, filled, request: other } of this.#sharers(request)) {
      const common = commonLength(cells, path, 0, Math.min(filled, most, equalCells(request, other)))
      const found = this.#kv.shared(request.prefixKey(common), path, common, filled, request.prompt.positions)
      if (found.length > best.length) best = { slot, ...found }
    }
    return best
  }

  #sharers({ spec }: EngineRequest): Sequence[] {
    return this.#active().filter(({ request }) => request.spec.cachePrompt && request.spec.cacheKey === spec.cacheKey)
  }
}

/** The cells at the start of two requests that are computed with the same. */
const equalCells = (one: EngineRequest, other: EngineRequest): number =>
  one.prefixKey(Number.POSITIVE_INFINITY) === other.prefixKey(Number.POSITIVE_INFINITY)
    ? Number.POSITIVE_INFINITY
    : Math.min(one.plainCells, other.plainCells)

/** Under which keys a path's cells may be stored, and at most how many of them. */
function sharesOf(request: EngineRequest, path: ArrayLike<number>): { key: string; most: number }[] {
  const { plainCells } = request
  const most = mostShared(request, path)
  const whole = { key: request.prefixKey(Number.POSITIVE_INFINITY), most }
  if (plainCells === 0 || plainCells === Number.POSITIVE_INFINITY) return [whole]
  return [whole, { key: request.prefixKey(plainCells), most: Math.min(most, plainCells) }]
}

/**
 * Maximum number of a path's cells that may come from a cache: the last cell's logits are needed, and a mutual span is
 * shared as a whole or not at all.
 */
function mostShared({ spec, prompt }: EngineRequest, path: ArrayLike<number>): number {
  const most = prompt.positions.whole(Math.min(path.length - 1, spec.cachedMost ?? path.length))
  return prompt.spans.find(({ mutual, start, end }) => mutual && start < most && most < end)?.start ?? most
}
