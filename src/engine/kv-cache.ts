import type { Decoder } from '../language/index.ts'
import { KvMemory, type KvOwner } from './kv-memory.ts'
import type { Positions } from './positions.ts'
import { PrefixShelf } from './prefix-shelf.ts'
import { PrefixTree } from './prefix-tree.ts'

/** Sequences that are kept for their prefix when their answer is done. */
export const storedSequences = 64

/**
 * Share of the KV memory that stored sequences may hold; the others go on the shelf. Attention walks over all cells that
 * are in use, whosever they are: a token of a 135M model took 6.4 ms with none of 16384 stored, 6.8 with 1024, 7.6 with
 * 4096 and 8.9 with 8192.
 */
const storedShare = 1 / 16

/** A prefix must be this much longer than the one at hand to be put back, in cells, and as a share of what is moved. */
const worthRecalling = 16
const shareRecalled = 1 / 16

/**
 * Share of the weights' bytes that is copied at once while answers run, and what is larger forgotten: a step reads all
 * weights, and a copy reads and writes, so answers wait for one more step at most. A GPU's step is too short for any.
 */
const shareCopied = 1 / 2

/** The KV memory in slots, one for each sequence that runs or is stored, and what the stored ones begin with. */
export class KvCache {
  readonly memory: KvMemory
  readonly #tree = new PrefixTree()
  readonly #shelf: PrefixShelf
  readonly #freeSlots: number[]
  readonly #slots: number
  readonly #mostCopied: number

  /**
   * @param running sequences that run at once, at most
   * @param shelfBytes memory for prefixes that the KV memory has no room for
   */
  constructor(owner: KvOwner & Pick<Decoder, 'memory' | 'gpuLayers'>, running: number, shelfBytes: number) {
    this.memory = new KvMemory(owner)
    this.#shelf = new PrefixShelf(shelfBytes)
    this.#mostCopied = owner.gpuLayers > 0 ? 0 : owner.memory.weightsBytes * shareCopied
    this.#slots = running + storedSequences
    this.#freeSlots = Array.from({ length: this.#slots }, (_, slot) => slot)
  }

  get storedPrefixes(): number {
    return this.#tree.size
  }

  get storedCells(): number {
    return this.memory.held(this.#tree.sequences())
  }

  /** Whether any slot belongs to a sequence that runs. */
  get #running(): boolean {
    return this.#slots - this.#freeSlots.length > this.#tree.size
  }

  get shelvedBytes(): number {
    return this.#shelf.bytes
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

  /** Cells that a path has in common with what is on the shelf. */
  shelvedLength(key: string, path: ArrayLike<number>): number {
    return this.#shelf.match(key, path)?.length ?? 0
  }

  /**
   * Puts what the shelf has of a path into an empty slot, if that is more than the KV memory has of it and there is room.
   * @param cells that are in the KV memory anyway, that are wanted at most, and that running sequences leave
   * @returns cells that the slot holds now
   */
  recall(
    slot: number,
    key: string,
    path: ArrayLike<number>,
    cells: { known: number; most: number; room: number },
    positions: Positions,
  ): number {
    const found = this.#shelf.match(key, path)
    if (found === undefined) return 0
    const length = positions.whole(Math.min(found.length, cells.most))
    const worth = Math.max(worthRecalling, found.cells * shareRecalled)
    if (length < cells.known + worth || found.cells > cells.room) return 0
    while (this.memory.freeCells < found.cells && this.evict());
    return this.memory.restore(slot, found.state, found.cells, length, positions.time(length)) ? length : 0
  }

  /** Keeps a slot and what it holds for prompts that begin alike, in place of what it makes unneeded. */
  store(key: string, path: Float64Array, slot: number): void {
    for (const unneeded of this.#tree.insert(key, path, slot)) this.free(unneeded)
    const most = this.memory.cells * storedShare
    while (this.#tree.size > storedSequences || (this.#tree.size > 1 && this.storedCells > most)) this.evict()
  }

  /** Puts the stored sequence that went unused the longest on the shelf. @returns whether there was one */
  evict(): boolean {
    const oldest = this.#tree.evict()
    if (oldest === undefined) return false
    const { sequence: slot, key, path } = oldest
    const bytes = this.memory.savedBytes(slot)
    if (bytes <= this.#mostCopied || !this.#running) this.#shelf.put(key, path, bytes, () => this.memory.save(slot))
    this.free(slot)
    return true
  }
}
