import koffi from 'koffi'
import type { Pointer } from './function.ts'
import type { NativeBatch } from './llama.ts'

/** The position of a row. Models whose positions have one axis use the time only. */
export interface Position {
  time: number
  row: number
  column: number
  /** The number of the image in models with XD-RoPE. */
  image: number
}

/** Axes of a position in models with M-RoPE. */
const axesOfGrids = 4

/**
 * A `llama_batch` whose arrays are in native memory and are written through typed views, so that nothing is converted in a
 * call. It holds either tokens or embeddings, as the C API requires. Each row belongs to one sequence.
 */
export class Batch {
  readonly capacity: number
  readonly width: number
  readonly #tokens: Numbers<Int32Array>
  /** Without numbers in a batch of tokens. */
  readonly #embeddings: Numbers<Float32Array>
  readonly #positions: Numbers<Int32Array>
  /** Axes of a row's position. Tokens have one in all models: llama.cpp uses it for all axes. */
  readonly #axes: number
  readonly #counts: Numbers<Int32Array>
  readonly #sequences: Numbers<Int32Array>
  readonly #sequencePointers: Numbers<BigUint64Array>
  readonly #wanted: Numbers<Int8Array>
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
    this.#tokens = numbers(Int32Array, capacity)
    this.#embeddings = numbers(Float32Array, capacity * width)
    this.#positions = numbers(Int32Array, capacity * this.#axes)
    this.#counts = numbers(Int32Array, capacity)
    this.#sequences = numbers(Int32Array, capacity)
    this.#sequencePointers = numbers(BigUint64Array, capacity)
    this.#wanted = numbers(Int8Array, capacity)
    this.#counts.view.fill(1)
    const { view } = this.#sequencePointers
    for (let row = 0; row < capacity; row++) view[row] = this.#sequences.pointer + BigInt(row * 4)
  }

  clear(): void {
    this.#size = 0
  }

  /** @param wanted whether logits are computed for the row @returns the row's index, for `Decoder.logits` */
  addToken(token: number, time: number, sequence: number, wanted: boolean): number {
    this.#tokens.view[this.#size] = token
    this.#positions.view[this.#size] = time
    return this.#add(sequence, wanted)
  }

  /** @param embedding `[width]` */
  addEmbedding(embedding: Float32Array, position: Position, sequence: number, wanted: boolean): number {
    this.#embeddings.view.set(embedding, this.#size * this.width)
    this.#places[this.#size] = position
    this.#positions.view[this.#size] = position.time
    return this.#add(sequence, wanted)
  }

  native(): NativeBatch {
    // The positions are stored axis by axis, each as long as the batch is.
    if (this.#axes > 1)
      for (let row = 0; row < this.#size; row++) {
        const place = this.#places[row]
        this.#positions.view[this.#size + row] = place?.row ?? 0
        this.#positions.view[2 * this.#size + row] = place?.column ?? 0
        this.#positions.view[3 * this.#size + row] = place?.image ?? 0
      }
    return {
      n_tokens: this.#size,
      token: this.width > 0 ? null : this.#tokens.pointer,
      embd: this.width > 0 ? this.#embeddings.pointer : null,
      pos: this.#positions.pointer,
      n_seq_id: this.#counts.pointer,
      seq_id: this.#sequencePointers.pointer,
      logits: this.#wanted.pointer,
    }
  }

  #add(sequence: number, wanted: boolean): number {
    if (this.#size === this.capacity) throw new RangeError('the batch is full')
    this.#sequences.view[this.#size] = sequence
    this.#wanted.view[this.#size] = wanted ? 1 : 0
    return this.#size++
  }
}

/** Numbers in native memory, and the view that writes them. */
interface Numbers<View> {
  pointer: Pointer
  view: View
}

function numbers<View>(
  type: { new (memory: ArrayBuffer): View; BYTES_PER_ELEMENT: number },
  count: number,
): Numbers<View> {
  const bytes = Math.max(1, count) * type.BYTES_PER_ELEMENT
  const pointer = koffi.alloc('uint8', bytes) as Pointer
  return { pointer, view: new type(koffi.view(pointer, bytes)) }
}
