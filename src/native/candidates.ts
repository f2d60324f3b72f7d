import koffi from 'koffi'
import type { Pointer } from './function.ts'

/** Bytes of `llama_token_data` { int32 id; float logit; float p } and of `llama_token_data_array` { data, size, selected, sorted }. */
const rowBytes = 12
const arrayBytes = 32

/** A `llama_token_data_array` in native memory: every token of a vocabulary with its logit, for samplers to work on. */
export class Candidates {
  readonly pointer: Pointer
  readonly #rows: Pointer
  readonly #size: number
  readonly #ids: Int32Array
  readonly #logits: Float32Array
  readonly #array: BigInt64Array

  constructor(size: number) {
    this.#size = size
    this.#rows = koffi.alloc('uint8', size * rowBytes) as Pointer
    this.pointer = koffi.alloc('uint8', arrayBytes) as Pointer
    const rows = koffi.view(this.#rows, size * rowBytes)
    this.#ids = new Int32Array(rows)
    this.#logits = new Float32Array(rows)
    this.#array = new BigInt64Array(koffi.view(this.pointer, arrayBytes))
  }

  /** @param logits `[size]` */
  fill(logits: Float32Array): void {
    for (let id = 0; id < this.#size; id++) {
      this.#ids[id * 3] = id
      this.#logits[id * 3 + 1] = logits[id] as number
    }
    this.#array.set([this.#rows, BigInt(this.#size), -1n, 0n])
  }

  /** Some tokens only. @param bits a bit for each token @param others further tokens */
  fillSome(logits: Float32Array, bits: Uint32Array, others: readonly number[]): void {
    let rows = 0
    const add = (id: number): void => {
      this.#ids[rows * 3] = id
      this.#logits[rows * 3 + 1] = logits[id] as number
      rows++
    }
    for (let word = 0; word < bits.length; word++) {
      let left = bits[word] as number
      for (; left !== 0; left &= left - 1) add(word * 32 + 31 - Math.clz32(left & -left))
    }
    for (const id of others) if (((bits[id >>> 5] as number) >>> (id & 31)) % 2 === 0) add(id)
    this.#array.set([this.#rows, BigInt(rows), -1n, 0n])
  }

  /** Whether any token is left that may be chosen, before a chain has put them elsewhere. */
  get open(): boolean {
    const rows = Number(this.#array[1])
    for (let row = 0; row < rows; row++) if ((this.#logits[row * 3 + 1] as number) > -Infinity) return true
    return false
  }

  /** The token that the last sampler of a chain chose; null if it may not be chosen after all. */
  get selected(): number | null {
    const [data, size, selected] = this.#array as unknown as [Pointer, bigint, bigint]
    if (selected < 0n || selected >= size) return null
    // Samplers may put the rows elsewhere, so they are read from where they are now.
    const row = data + selected * BigInt(rowBytes)
    const logit: number = koffi.decode(row, 4, 'float')
    return logit > -Infinity ? koffi.decode(row, 'int32') : null
  }

  /**
   * Draws tokens from those that the chain has left, without the selected one, each by its probability.
   * @param points random numbers from 0 to before 1 @returns a token for each; none if no other is left
   */
  drawAgain(points: readonly number[]): number[] {
    const [data, size, selected] = this.#array as unknown as [Pointer, bigint, bigint]
    const count = Number(size)
    const skipped = Number(selected)
    const memory = koffi.view(data, count * rowBytes)
    const [ids, chances] = [new Int32Array(memory), new Float32Array(memory)]
    let all = 0
    for (let row = 0; row < count; row++) if (row !== skipped) all += chances[row * 3 + 2] as number
    if (!(all > 0)) return []
    const order = Array.from(points.keys()).sort((a, b) => (points[a] as number) - (points[b] as number))
    const drawn: number[] = []
    let [row, sum, last] = [0, 0, 0]
    for (const place of order) {
      const goal = (points[place] as number) * all
      for (; row < count && sum <= goal; row++) {
        const chance = row === skipped ? 0 : (chances[row * 3 + 2] as number)
        if (chance === 0) continue
        sum += chance
        last = ids[row * 3] as number
      }
      drawn[place] = last
    }
    return drawn
  }

  free(): void {
    koffi.free(this.#rows)
    koffi.free(this.pointer)
  }
}
