import type { Decoder } from '../language/index.ts'

/** The part of a decoder that moves KV. */
export type KvOwner = Pick<
  Decoder,
  'cells' | 'share' | 'forget' | 'savedBytes' | 'save' | 'restore' | 'restoreState' | 'truncate'
>

/**
 * The KV memory with a reference count for every cell: llama.cpp shares cells between sequences in place, but does not
 * tell which ones are in use. A cell is free again when the last sequence that holds it is forgotten.
 */
export class KvMemory {
  readonly #owner: KvOwner
  /** For each cell, how many sequences hold it. */
  readonly #holders: Uint16Array
  readonly #free: number[]
  /** For each slot, its cells in the order of their positions. */
  readonly #slots = new Map<number, number[]>()

  constructor(owner: KvOwner) {
    this.#owner = owner
    this.#holders = new Uint16Array(owner.cells)
    this.#free = Array.from({ length: owner.cells }, (_, cell) => owner.cells - 1 - cell)
  }

  get cells(): number {
    return this.#holders.length
  }

  get freeCells(): number {
    return this.#free.length
  }

  /** Number of different cells that these slots hold together. */
  held(slots: Iterable<number>): number {
    const seen = new Uint8Array(this.#holders.length)
    let count = 0
    for (const slot of slots)
      for (const cell of this.#slots.get(slot) ?? []) {
        if (seen[cell] === 0) count++
        seen[cell] = 1
      }
    return count
  }

  /** Records that a decode has appended `count` cells to `slot`. */
  extend(slot: number, count: number): void {
    const cells = this.#slots.get(slot) ?? []
    for (let added = 0; added < count; added++) {
      const cell = this.#free.pop()
      if (cell === undefined) throw new Error('the KV memory holds more cells than it has')
      this.#holders[cell] = 1
      cells.push(cell)
    }
    this.#slots.set(slot, cells)
  }

  /**
   * Shares the first `count` cells of `source`, which are those before `time`, with the empty slot `target`.
   * @param state of a hybrid decoder there, if that of the source is of another time
   */
  share(source: number, target: number, count: number, time: number, state: Uint8Array | null = null): void {
    const cells = (this.#slots.get(source) ?? []).slice(0, count)
    if (cells.length < count || this.#slots.has(target))
      throw new Error('a prefix is shared that the source does not hold')
    for (const cell of cells) this.#holders[cell] = (this.#holders[cell] ?? 0) + 1
    this.#slots.set(target, cells)
    this.#owner.share(source, target, time)
    if (state !== null) this.#owner.restoreState(target, state)
  }

  /**
   * Restores the first `count` cells of a saved slot, which are those before `time`, into an empty slot.
   * @param saved number of cells in `copy`; all of them must fit for a moment
   * @param state as for `share`
   * @returns whether there was space
   */
  restore(
    slot: number,
    copy: Uint8Array,
    saved: number,
    count: number,
    time: number,
    state: Uint8Array | null = null,
  ): boolean {
    if (saved > this.freeCells || !this.#owner.restore(slot, copy)) return false
    this.extend(slot, saved)
    if (state !== null) this.#owner.restoreState(slot, state)
    if (count < saved) this.truncate(slot, count, time)
    return true
  }

  /** Keeps the first `count` cells of a slot, which are those before `time`. */
  truncate(slot: number, count: number, time: number): void {
    this.#drop(this.#slots.get(slot)?.splice(count) ?? [])
    this.#owner.truncate(slot, time)
  }

  forget(slot: number): void {
    this.#drop(this.#slots.get(slot) ?? [])
    this.#slots.delete(slot)
    this.#owner.forget(slot)
  }

  #drop(cells: readonly number[]): void {
    for (const cell of cells) {
      const holders = (this.#holders[cell] ?? 0) - 1
      this.#holders[cell] = holders
      if (holders === 0) this.#free.push(cell)
    }
  }
}
