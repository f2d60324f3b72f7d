import { PrefixTree } from './prefix-tree.ts'

interface Shelved {
  /** The KV of the prefix, and the state of a hybrid decoder, as llama.cpp writes them. */
  readonly copy: Uint8Array
  readonly cells: number
}

/** A prefix on the shelf that begins with `length` cells of a path. */
interface ShelfMatch extends Shelved {
  readonly id: number
  readonly length: number
}

/**
 * Prefixes that were evicted from the KV memory, copied to ordinary memory. The least recently used are dropped when the
 * bound is reached. Restoring 500 tokens of a 135M model takes 3 ms; computing them again takes half a second.
 */
export class PrefixShelf {
  readonly #mostBytes: number
  readonly #tree = new PrefixTree()
  readonly #shelved = new Map<number, Shelved>()
  bytes = 0
  #next = 0

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  /** The prefix that has the most cells in common with a path. */
  match(key: string, path: ArrayLike<number>): ShelfMatch | undefined {
    const found = this.#tree.match(key, path)
    const shelved = found && this.#shelved.get(found.sequence)
    return shelved && { ...shelved, id: found.sequence, length: found.length }
  }

  /** Makes a prefix the most recently used one. @param id from `match` */
  touch(id: number): void {
    this.#tree.touch(id)
  }

  /**
   * @param bytes size of the copy
   * @param save makes the copy; not called if the shelf holds the prefix already or it exceeds the bound
   */
  put(key: string, path: Float64Array, bytes: number, save: () => Uint8Array): void {
    if (bytes > this.#mostBytes) return
    const known = this.#tree.match(key, path)
    if (known?.length === path.length) {
      this.#tree.touch(known.sequence)
      return
    }
    while (this.bytes + bytes > this.#mostBytes) {
      const oldest = this.#tree.evict()
      if (oldest === undefined) break
      this.#drop(oldest.sequence)
    }
    const copy = save()
    const id = this.#next++
    for (const redundant of this.#tree.insert(key, path, id)) this.#drop(redundant)
    this.#shelved.set(id, { copy, cells: path.length })
    this.bytes += copy.byteLength
  }

  #drop(id: number): void {
    this.bytes -= this.#shelved.get(id)?.copy.byteLength ?? 0
    this.#shelved.delete(id)
  }
}
