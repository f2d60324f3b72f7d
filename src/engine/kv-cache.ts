import { KvMemory, type KvOwner } from './kv-memory.ts'
import { PrefixTree } from './prefix-tree.ts'

/** Sequences that are kept for their prefix when their answer is done. */
export const storedSequences = 64

/**
 * Share of the KV memory that stored sequences may hold. Attention walks over all cells that are in use, whosever they
 * are: with most of them stored, a step of a 135M model took twice as long.
 */
const storedShare = 1 / 4

/** The KV memory in slots, one for each sequence that runs or is stored, and what the stored ones begin with. */
export class KvCache {
  readonly memory: KvMemory
  readonly #tree = new PrefixTree()
  readonly #freeSlots: number[]

  /** @param running sequences that run at once, at most */
  constructor(owner: KvOwner, running: number) {
    this.memory = new KvMemory(owner)
    this.#freeSlots = Array.from({ length: running + storedSequences }, (_, slot) => slot)
  }

  get storedPrefixes(): number {
    return this.#tree.size
  }

  get storedCells(): number {
    return this.memory.held(this.#tree.sequences())
  }

  take(): number {
    const slot = this.#freeSlots.pop()
    // Running sequences and stored ones are both bounded, and there are as many slots as both together.
    if (slot === undefined) throw new Error('there are more sequences than slots')
    return slot
  }

  free(slot: number): void {
    this.memory.forget(slot)
    this.#freeSlots.push(slot)
  }

  /** The longest stored prefix of a path, which counts as its use. @param key its isolation key */
  match(key: string, path: ArrayLike<number>): { slot: number; length: number } | undefined {
    const found = this.#tree.match(key, path)
    return found && { slot: found.sequence, length: found.length }
  }

  /** Keeps a slot and what it holds for prompts that begin alike, in place of what it makes unneeded. */
  store(key: string, path: Float64Array, slot: number): void {
    for (const unneeded of this.#tree.insert(key, path, slot)) this.free(unneeded)
    const most = this.memory.cells * storedShare
    while (this.#tree.size > storedSequences || (this.#tree.size > 1 && this.storedCells > most)) this.evict()
  }

  /** Forgets the stored sequence that went unused the longest. @returns whether there was one */
  evict(): boolean {
    const slot = this.#tree.evict()
    if (slot !== undefined) this.free(slot)
    return slot !== undefined
  }
}
