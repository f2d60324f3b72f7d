import { availableParallelism } from 'node:os'
import type { Decoder } from '../language/index.ts'

/**
 * Shares the machine's cores between the decoder and the picture encoder: all to whoever is alone, half to each when
 * both run. ggml's threads spin while they wait for each other, so one thread more than there are free cores costs far
 * more than it brings, and a small model is fastest on few: what is fastest here is measured once, at load.
 */
export class Cores {
  readonly #all: number
  /** The fastest number of threads for a step of one row, and of many. */
  #one: number
  #many: number

  /** @param configured 0: all of the machine's */
  constructor(configured: number) {
    this.#all = configured || availableParallelism()
    this.#one = this.#all
    this.#many = this.#all
  }

  get all(): number {
    return this.#all
  }

  forDecoding(encoderBusy: boolean, rows: number): number {
    const best = rows > 1 ? this.#many : this.#one
    return encoderBusy ? Math.max(1, Math.min(best, this.#all - Math.floor(this.#all / 2))) : best
  }

  forEncoding(decoderBusy: boolean): number {
    return decoderBusy ? Math.max(1, Math.floor(this.#all / 2)) : this.#all
  }

  /** Times steps of one row and of `manyRows` at several numbers of threads, and keeps the fastest. Leaves the KV memory empty. */
  async calibrate(decoder: Decoder, manyRows: number): Promise<void> {
    this.#one = await this.#fastest(decoder, 1)
    this.#many = await this.#fastest(decoder, manyRows)
  }

  async #fastest(decoder: Decoder, rows: number): Promise<number> {
    const batch = decoder.newTokenBatch()
    const best = { threads: this.#all, ms: Infinity }
    try {
      for (let row = 0; row < Math.min(rows, batch.capacity); row++) batch.addToken(0, row, 0, row === rows - 1)
      for (const threads of counts(this.#all)) {
        decoder.setThreads(threads)
        for (let run = 0; run < runsEach; run++) {
          const start = performance.now()
          await decoder.decode(batch)
          const ms = performance.now() - start
          decoder.forget(0, 0)
          if (ms < best.ms) Object.assign(best, { threads, ms })
        }
      }
    } finally {
      batch.free()
    }
    return best.threads
  }
}

const runsEach = 4

/** 1, 2, 4 … and all. */
function counts(all: number): number[] {
  const powers = Array.from({ length: Math.floor(Math.log2(all)) + 1 }, (_, power) => 2 ** power)
  return powers.at(-1) === all ? powers : [...powers, all]
}
