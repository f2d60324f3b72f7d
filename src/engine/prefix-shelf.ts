import { PrefixTree } from './prefix-tree.ts'

interface Shelved {
  /** All that the KV memory held for the prefix, as llama.cpp writes it. */
  readonly state: Uint8Array
  /** Cells of it. */
  readonly cells: number
}

/**
 * Prefixes that the KV memory has no room for, copied to ordinary memory: those that went unused the longest make room.
 * Putting 500 tokens of a 135M model back takes 3 ms; computing them again, half a second.
 */
export class PrefixShelf {
  readonly #mostBytes: number
  readonly #tree = new PrefixTree()
  readonly #shelved = new Map<number, Shelved>()
  #bytes = 0
  #next = 0

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** What begins with the most cells of a path, and how many those are. It counts as its use. */
  match(key: string, path: ArrayLike<number>): (Shelved & { length: number }) | undefined {
    const found = this.#tree.match(key, path)
    const shelved = found && this.#shelved.get(found.sequence)
    return shelved && { ...shelved, length: found.length }
  }

  /** @param save copies the prefix, if it is not here already: so many bytes */
  put(key: string, path: Float64Array, bytes: number, save: () => Uint8Array): void {
    if (bytes > this.#mostBytes || this.#tree.match(key, path)?.length === path.length) return
    while (this.#bytes + bytes > this.#mostBytes) {
      const oldest = this.#tree.evict()
      if (oldest === undefined) break
      this.#drop(oldest.sequence)
    }
    const state = save()
    const id = this.#next++
    for (const covered of this.#tree.insert(key, path, id)) this.#drop(covered)
    this.#shelved.set(id, { state, cells: path.length })
    this.#bytes += state.byteLength
  }

  #drop(id: number): void {
    this.#bytes -= this.#shelved.get(id)?.state.byteLength ?? 0
    this.#shelved.delete(id)
  }
}
