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
    const { cacheKey } = request.spec
    const shelved = this.#kv.shelf.match(cacheKey, path)
    const held = this.held(request, path)
    if (shelved === undefined) return held
    const common = Math.min(shelved.length, mostShared(request, path))
    return Math.max(this.#kv.shared(cacheKey, path, common, shelved.cells, request.prompt.positions).length, held)
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
      const promised = Math.min(most, sequence.request.prompt.cells.length, sequence.cells.length)
      const common = commonLength(sequence.cells, path, 0, promised)
      if (!this.#kv.stateful) return Math.max(best, common)
      return this.#kv.keepsStates ? Math.max(best, sequence.lastStop(common)) : best
    }, 0)
  }

  /** Fills a sequence's empty slot with the longest prefix of its path. @returns the number of cells that it holds now */
  give({ request, slot, cells }: Sequence): number {
    if (!request.sharesPrompt || cells.length === 0) return 0
    const { spec, prompt } = request
    const { memory } = this.#kv
    const space = memory.cells - memory.held(this.#active().map((running) => running.slot))
    const wanted = { known: this.held(request, cells), most: mostShared(request, cells), space }
    const recalled = this.#kv.recall(slot, spec.cacheKey, cells, wanted, prompt.positions)
    if (recalled > 0) return recalled
    // Looked up again, since an eviction may have removed the longest.
    const { slot: source, length, state } = this.#longest(request, cells)
    if (length === 0) return 0
    this.#kv.tree.touch(source)
    memory.share(source, slot, length, prompt.positions.after(length), state)
    return length
  }

  #longest(request: EngineRequest, path: ArrayLike<number>): HeldPrefix {
    if (!request.sharesPrompt || path.length === 0) return nothing
    const { cacheKey } = request.spec
    const running = this.#longestRunning(request, path)
    const stored = this.#kv.tree.match(cacheKey, path)
    if (stored === undefined) return running
    const common = Math.min(stored.length, mostShared(request, path))
    const found = this.#kv.shared(cacheKey, path, common, stored.of, request.prompt.positions)
    return running.length > found.length ? running : { slot: stored.sequence, ...found }
  }

  #longestRunning(request: EngineRequest, path: ArrayLike<number>): HeldPrefix {
    let best: HeldPrefix = nothing
    const most = mostShared(request, path)
    for (const { slot, cells, filled } of this.#sharers(request)) {
      const common = commonLength(cells, path, 0, Math.min(filled, most))
      const found = this.#kv.shared(request.spec.cacheKey, path, common, filled, request.prompt.positions)
      if (found.length > best.length) best = { slot, ...found }
    }
    return best
  }

  #sharers({ spec }: EngineRequest): Sequence[] {
    return this.#active().filter(({ request }) => request.spec.cachePrompt && request.spec.cacheKey === spec.cacheKey)
  }
}

/**
 * Maximum number of a path's cells that may come from a cache: the last cell's logits are needed, and a mutual span is
 * shared as a whole or not at all.
 */
function mostShared({ spec, prompt }: EngineRequest, path: ArrayLike<number>): number {
  const most = prompt.positions.whole(Math.min(path.length - 1, spec.cachedMost ?? path.length))
  return prompt.spans.find(({ mutual, start, end }) => mutual && start < most && most < end)?.start ?? most
}
