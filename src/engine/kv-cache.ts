import type { Decoder } from '../language/index.ts'
import { Checkpoints } from './checkpoints.ts'
import { KvMemory, type KvOwner } from './kv-memory.ts'
import type { Positions } from './positions.ts'
import { PrefixShelf } from './prefix-shelf.ts'
import { PrefixTree } from './prefix-tree.ts'

/**
 * Share of the KV memory that stored sequences may hold; the rest goes on the shelf. Attention reads all cells in use,
 * including those of other sequences: a token of a 135M model took 6.4 ms with no stored cells, 6.8 with 1024, 7.6 with
 * 4096 and 8.9 with 8192.
 */
const storedShare = 1 / 16

/**
 * A prefix is restored from the shelf if it is longer than the one in the KV memory by this many cells and by this share
 * of the cells that are copied.
 */
const worthRecalling = 16
const shareRecalled = 1 / 16

/**
 * Maximum size of a copy while answers run, as a share of the weights' bytes; a larger prefix is dropped. A step reads all
 * weights once and a copy reads and writes, so answers are delayed by one step at most. With a GPU steps are too short for
 * any copy.
 */
const shareCopied = 1 / 2

type Owner = KvOwner & Pick<Decoder, 'memory' | 'gpuLayers' | 'stateful' | 'stateBytes' | 'saveState'>

/** Cells that another sequence can share, and the state there if the one that holds them has that of another time. */
export interface SharedPrefix {
  readonly length: number
  readonly state: Uint8Array | null
}

/** The KV memory in slots, one for each running or stored sequence, and the prefixes of the stored ones. */
export class KvCache {
  readonly memory: KvMemory
  /** The prefixes of stored sequences, by their slots. */
  readonly tree = new PrefixTree()
  readonly shelf: PrefixShelf
  /** null for a decoder without a state. */
  readonly #checkpoints: Checkpoints | null
  #keepsStates: boolean
  readonly #owner: Owner
  readonly #freeSlots: number[]
  readonly #slots: number
  readonly #mostStored: number
  readonly #mostCopied: number

  /**
   * @param running maximum number of running sequences
   * @param stored maximum number of sequences that are kept for their prefix when their answer is complete
   * @param bytes kept outside the KV memory: evicted prefixes, and states
   */
  constructor(owner: Owner, running: number, stored: number, bytes: number) {
    this.#owner = owner
    this.memory = new KvMemory(owner)
    this.shelf = new PrefixShelf(owner.stateful ? bytes / 2 : bytes)
    this.#checkpoints = owner.stateful ? new Checkpoints(bytes / 2) : null
    this.#keepsStates = owner.stateful
    this.#mostStored = stored
    this.#mostCopied = owner.gpuLayers > 0 ? 0 : owner.memory.weightsBytes * shareCopied
    this.#slots = running + stored
    this.#freeSlots = Array.from({ length: this.#slots }, (_, slot) => slot)
  }

  get storedCells(): number {
    return this.memory.held(this.tree.sequences())
  }

  /** Whether only whole sequences, and those at checkpoints, can be shared. */
  get stateful(): boolean {
    return this.#checkpoints !== null
  }

  /** Whether there is room for the states of its decoder. */
  get keepsStates(): boolean {
    return this.#keepsStates
  }

  /** Bytes kept outside the KV memory. */
  get bytes(): number {
    return this.shelf.bytes + (this.#checkpoints?.bytes ?? 0)
  }

  /** Whether any slot belongs to a running sequence. */
  get #running(): boolean {
    return this.#slots - this.#freeSlots.length > this.tree.size
  }

  take(): number {
    const slot = this.#freeSlots.pop()
    // There are as many slots as the bounds of running and stored sequences allow together.
    if (slot === undefined) throw new Error('no slot is free')
    return slot
  }

  free(slot: number): void {
    this.memory.forget(slot)
    this.#freeSlots.push(slot)
  }

  /**
   * The part of a prefix that can be shared: to where time advances, and for a decoder with a state to a checkpoint, or
   * the whole sequence that holds it.
   * @param common cells of the path that the sequence holds
   * @param of number of cells that the sequence holds
   */
  shared(key: string, path: ArrayLike<number>, common: number, of: number, positions: Positions): SharedPrefix {
    const length = positions.whole(common)
    if (this.#checkpoints === null || length === of) return { length, state: null }
    return this.#checkpoints.longest(key, path, length) ?? { length: 0, state: null }
  }

  /** Keeps the state of a slot at the end of `path`, all of which it holds. Not to be called during a decode. */
  async keep(key: string, path: Float64Array, slot: number): Promise<void> {
    if (this.#checkpoints === null || this.#checkpoints.has(key, path)) return
    this.#keepsStates = this.#checkpoints.takes(this.#owner.stateBytes(slot))
    if (this.#keepsStates) this.#checkpoints.put(key, path, await this.#owner.saveState(slot))
  }

  /**
   * Restores a prefix from the shelf into an empty slot, if it is worth the copy and there is space.
   * @param cells `known`: cells of the path in the KV memory; `most`: maximum number of cells to restore; `space`: cells
   * that running sequences leave free
   * @returns the number of cells that the slot holds now; 0 if nothing was restored
   */
  recall(
    slot: number,
    key: string,
    path: ArrayLike<number>,
    cells: { known: number; most: number; space: number },
    positions: Positions,
  ): number {
    const found = this.shelf.match(key, path)
    if (found === undefined) return 0
    const { length, state } = this.shared(key, path, Math.min(found.length, cells.most), found.cells, positions)
    const worth = Math.max(worthRecalling, found.cells * shareRecalled)
    if (length < cells.known + worth || found.cells > cells.space) return 0
    while (this.memory.freeCells < found.cells && this.evict());
    if (!this.memory.restore(slot, found.copy, found.cells, length, positions.after(length), state)) return 0
    this.shelf.touch(found.id)
    return length
  }

  /** Stores a slot for prompts with the same prefix, and frees the slots that it makes redundant. */
  store(key: string, path: Float64Array, slot: number): void {
    for (const redundant of this.tree.insert(key, path, slot)) this.free(redundant)
    const most = this.memory.cells * storedShare
    while (this.tree.size > this.#mostStored || (this.tree.size > 1 && this.storedCells > most)) this.evict()
  }

  /** Stores the first cells of a slot that holds more. */
  storePart(key: string, path: Float64Array, source: number, positions: Positions): void {
    // Without the state there they are of no use.
    if (this.stateful || this.tree.match(key, path)?.length === path.length) return
    if (this.#freeSlots.length === 0 && !this.evict()) return
    const slot = this.take()
    this.memory.share(source, slot, path.length, positions.time(path.length))
    this.store(key, path, slot)
  }

  /** Moves the least recently used stored sequence to the shelf. @returns false if there is none */
  evict(): boolean {
    const oldest = this.tree.evict()
    if (oldest === undefined) return false
    const { sequence: slot, key, path } = oldest
    const bytes = this.#owner.savedBytes(slot)
    if (bytes <= this.#mostCopied || !this.#running) this.shelf.put(key, path, bytes, () => this.#owner.save(slot))
    this.free(slot)
    return true
  }
}
