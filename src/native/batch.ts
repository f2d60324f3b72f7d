import koffi from 'koffi'
import type { Pointer } from './function.ts'
import type { NativeBatch } from './llama.ts'

/** The position of a row. Models whose positions have one axis use the time only. */
export interface Position {
  time: number
  row: number
  column: number
}

/** Axes of a position in models with M-RoPE: time, row, column, and an unused one. */
const axesOfGrids = 4

/**
 * A `llama_batch` whose arrays are in native memory and are written through typed views, so that nothing is converted in a
 * call. It holds either tokens or embeddings, as the C API requires. Each row belongs to one sequence.
 */
export class Batch {
  readonly capacity: number
  readonly width: number
  readonly #tokens: Pointer
  readonly #embeddings: Pointer | null
  readonly #positions: Pointer
  /** Axes of a row's position. Tokens have one in all models: llama.cpp uses it for all axes. */
  readonly #axes: number
  readonly #counts: Pointer
  readonly #sequences: Pointer
  readonly #sequencePointers: Pointer
  readonly #wanted: Pointer
  readonly #views: {
    tokens: Int32Array
    embeddings: Float32Array
    positions: Int32Array
    sequences: Int32Array
    wanted: Int8Array
  }
  readonly #places: Position[] = []
  #size = 0

  /**
   * @param width numbers in one embedding; 0 for a batch of tokens
   * @param grids whether the model's positions have rows and columns
   */
  constructor(capacity: number, width: number, grids = false) {
    this.capacity = capacity
    this.width = width
    this.#axes = grids && width > 0 ? axesOfGrids : 1
    this.#tokens = koffi.alloc('int32', capacity) as Pointer
    this.#embeddings = width > 0 ? (koffi.alloc('float', capacity * width) as Pointer) : null
    this.#positions = koffi.alloc('int32', capacity * this.#axes) as Pointer
    this.#counts = koffi.alloc('int32', capacity) as Pointer
    this.#sequences = koffi.alloc('int32', capacity) as Pointer
    this.#sequencePointers = koffi.alloc('void*', capacity) as Pointer
    this.#wanted = koffi.alloc('int8', capacity) as Pointer
    this.#views = {
      tokens: new Int32Array(koffi.view(this.#tokens, capacity * 4)),
      embeddings: this.#embeddings
        ? new Float32Array(koffi.view(this.#embeddings, capacity * width * 4))
        : new Float32Array(),
      positions: new Int32Array(koffi.view(this.#positions, capacity * this.#axes * 4)),
      sequences: new Int32Array(koffi.view(this.#sequences, capacity * 4)),
      wanted: new Int8Array(koffi.view(this.#wanted, capacity)),
    }
    new Int32Array(koffi.view(this.#counts, capacity * 4)).fill(1)
    const pointers = new BigUint64Array(koffi.view(this.#sequencePointers, capacity * 8))
    for (let row = 0; row < capacity; row++) pointers[row] = this.#sequences + BigInt(row * 4)
  }

  get size(): number {
    return this.#size
  }

  get space(): number {
    return this.capacity - this.#size
  }

  clear(): void {
    this.#size = 0
  }

  /** @param wanted whether logits are computed for the row @returns the row's index, for `Decoder.logits` */
  addToken(token: number, time: number, sequence: number, wanted: boolean): number {
    this.#views.tokens[this.#size] = token
    this.#views.positions[this.#size] = time
    return this.#add(sequence, wanted)
  }

  /** @param embedding `[width]` */
  addEmbedding(embedding: Float32Array, position: Position, sequence: number, wanted: boolean): number {
    this.#views.embeddings.set(embedding, this.#size * this.width)
    this.#places[this.#size] = position
    this.#views.positions[this.#size] = position.time
    return this.#add(sequence, wanted)
  }

  native(): NativeBatch {
    // The positions are stored axis by axis, each as long as the batch is.
    if (this.#axes > 1)
      for (let row = 0; row < this.#size; row++) {
        const place = this.#places[row]
        this.#views.positions[this.#size + row] = place?.row ?? 0
        this.#views.positions[2 * this.#size + row] = place?.column ?? 0
        this.#views.positions[3 * this.#size + row] = 0
      }
    return {
      n_tokens: this.#size,
      token: this.#embeddings ? null : this.#tokens,
      embd: this.#embeddings,
      pos: this.#positions,
      n_seq_id: this.#counts,
      seq_id: this.#sequencePointers,
      logits: this.#wanted,
    }
  }

  #add(sequence: number, wanted: boolean): number {
    if (this.space === 0) throw new RangeError('the batch is full')
    this.#views.sequences[this.#size] = sequence
    this.#views.wanted[this.#size] = wanted ? 1 : 0
    return this.#size++
  }
}
