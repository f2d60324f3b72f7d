import { LRUCache } from 'lru-cache'

/** The state of a sequence at the end of `path`. */
interface Checkpoint {
  /** Isolation key of the prompts that may use it. */
  readonly key: string
  readonly path: Float64Array
  readonly state: Uint8Array
}

/** Each look-up passes all of them. */
const mostKept = 256

/**
 * States of a hybrid decoder at points of prompts where others may go on: the ends of images and of turns. Such a decoder's
 * state is of a sequence's end only, so a part of a sequence can be shared where its state was kept. They belong to paths,
 * not to sequences: any sequence with the same cells may go on from them. The least recently used are dropped.
 */
export class Checkpoints {
  readonly #kept: LRUCache<number, Checkpoint>
  #next = 0

  /** @param mostBytes of all states together */
  constructor(mostBytes: number) {
    this.#kept = new LRUCache({
      max: mostKept,
      maxSize: Math.max(1, Math.floor(mostBytes)),
      sizeCalculation: ({ path, state }) => path.byteLength + state.byteLength,
    })
  }

  /** Whether a state of this size can be kept. */
  takes(bytes: number): boolean {
    return bytes < this.#kept.maxSize
  }

  get bytes(): number {
    return this.#kept.calculatedSize
  }

  /** The last checkpoint of a path with at most `most` cells before it. */
  longest(key: string, path: ArrayLike<number>, most: number): { length: number; state: Uint8Array } | undefined {
    const found = this.#find(key, path, ({ length }) => length <= most)
    const state = found === undefined ? undefined : this.#kept.get(found.id)?.state
    return found === undefined || state === undefined ? undefined : { length: found.length, state }
  }

  has(key: string, path: ArrayLike<number>): boolean {
    return this.#find(key, path, ({ length }) => length === path.length) !== undefined
  }

  put(key: string, path: Float64Array, state: Uint8Array): void {
    this.#kept.set(this.#next++, { key, path, state })
  }

  #find(key: string, path: ArrayLike<number>, isWanted: (path: Float64Array) => boolean) {
    let best: { id: number; length: number } | undefined
    for (const [id, kept] of this.#kept.entries())
      if (kept.key === key && kept.path.length > (best?.length ?? 0) && isWanted(kept.path) && begins(path, kept.path))
        best = { id, length: kept.path.length }
    return best
  }
}

/** Whether a path begins with these cells. Paths of one application differ at their ends, so these are compared first. */
function begins(path: ArrayLike<number>, cells: Float64Array): boolean {
  if (cells.length > path.length) return false
  for (let at = cells.length - 1; at >= 0; at--) if (cells[at] !== path[at]) return false
  return true
}
