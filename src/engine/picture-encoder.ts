import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { entryOf, fromWire, startThread } from '../children/index.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { confinement } from '../native/index.ts'
import type { EncodeResult, EncoderStart, ToEncoder } from './encoder-thread.ts'
import type { PictureSpan } from './prompt-cells.ts'

export interface Encoded {
  /** `[tokens, width]` */
  embeddings: Float32Array
  /** Time that the encoder took. */
  ms: number
}

/** Pictures to embeddings: an LRU cache bounded in bytes before a thread that encodes one tile at a time. */
export class PictureEncoder {
  readonly #worker: Worker
  readonly #cacheBytes: number
  readonly #cores: EncoderCores
  readonly #confine: ReturnType<typeof confinement>
  #givesWay = false
  readonly #cache = new Map<string, Float32Array>()
  #bytes = 0
  #running: Job | undefined
  /** Pictures that the thread has scaled and keeps. */
  readonly #scaled = new Set<string>()

  private constructor(worker: Worker, threads: readonly number[], cacheBytes: number, cores: EncoderCores) {
    this.#worker = worker
    this.#cacheBytes = cacheBytes
    this.#cores = cores
    this.#confine = cores.shared && confinement(threads, cores.shared.all, cores.shared.decoding)
    worker.on('message', (result: EncodeResult) => this.#finish(result))
    // A thread that dies takes the process with it: the parent sees a crash, tells every request, and starts anew.
    worker.on('error', (error) => {
      throw error
    })
  }

  /**
   * @param cores asked before each picture, and told after it
   */
  static async open(start: EncoderStart, cacheBytes: number, cores: EncoderCores): Promise<PictureEncoder> {
    const worker = startThread(entryOf(import.meta.url, './encoder-thread.ts'), start)
    const [first]: [EncodeResult] = await Promise.race([
      once(worker, 'message') as Promise<[EncodeResult]>,
      once(worker, 'error').then(([error]) => {
        throw error
      }),
    ])
    if ('error' in first) throw fromWire(first.error)
    return new PictureEncoder(worker, 'ready' in first ? first.threads : [], cacheBytes, cores)
  }

  /** Whether a picture is being encoded now. */
  get busy(): boolean {
    return this.#running !== undefined
  }

  get cachedBytes(): number {
    return this.#bytes
  }

  /** Told whether the decoder runs, whose cores are left to it then: also in the middle of a tile. */
  giveWay(decoding: boolean): void {
    if (this.#givesWay === decoding) return
    this.#givesWay = decoding
    this.#confine?.(decoding)
  }

  /** Embeddings that are there already, which counts as their use. */
  cached(key: string): Float32Array | undefined {
    const embeddings = this.#cache.get(key)
    if (embeddings !== undefined) {
      this.#cache.delete(key)
      this.#cache.set(key, embeddings)
    }
    return embeddings
  }

  /** Whether the thread still has a tile's picture, so that its pixels are not needed. */
  has(span: PictureSpan): boolean {
    return this.#scaled.has(nameOf(span))
  }

  /**
   * Encodes a tile: one at a time.
   * @param rgb `[height, width, 3]` of the whole picture; null where the thread has it
   */
  encode(span: PictureSpan, rgb: Uint8Array | null): Promise<Encoded> {
    const encoded = deferred<Encoded>()
    const threads = this.#cores.next()
    this.#running = { span, threads, encoded }
    const { plan, tile } = span
    const name = nameOf(span)
    this.#send({ name, picture: rgb === null ? null : { rgb, plan }, tile, threads })
    // Behind all others: the one that went unused the longest gives way.
    this.#scaled.delete(name)
    this.#scaled.add(name)
    const [oldest] = this.#scaled
    if (this.#scaled.size > scaledKept && oldest !== undefined) this.#forget(oldest)
    return encoded.promise
  }

  /** The thread need not keep this picture any more. */
  letGo(span: PictureSpan): void {
    const name = nameOf(span)
    if (this.#scaled.has(name)) this.#forget(name)
  }

  #forget(name: string): void {
    this.#scaled.delete(name)
    this.#send({ forget: name })
  }

  #send(message: ToEncoder): void {
    this.#worker.postMessage(message)
  }

  #finish(result: EncodeResult): void {
    const job = this.#running
    if (job === undefined || 'ready' in result) return
    this.#running = undefined
    if ('error' in result) {
      // The thread may not have got as far as this picture: the next tile of it must bring it again.
      this.letGo(job.span)
      job.encoded.reject(fromWire(result.error))
    } else {
      this.#cores.took(job.threads, job.span.tile.tokens, result.ms)
      this.#store(job.span.key, result.embeddings)
      job.encoded.resolve(result)
    }
  }

  #store(key: string, embeddings: Float32Array): void {
    if (embeddings.byteLength > this.#cacheBytes) return
    this.#cache.set(key, embeddings)
    this.#bytes += embeddings.byteLength
    for (const [oldest, value] of this.#cache) {
      if (this.#bytes <= this.#cacheBytes) break
      this.#cache.delete(oldest)
      this.#bytes -= value.byteLength
    }
  }
}

/** How many threads a picture may use, and what came of it. */
interface EncoderCores {
  /** All cores, and how many of them the decoder uses while a picture is encoded; null: it computes elsewhere. */
  readonly shared: { all: number; decoding: number } | null
  next(): number
  took(threads: number, tokens: number, ms: number): void
}

interface Job {
  span: PictureSpan
  threads: number
  encoded: Deferred<Encoded>
}

/** Pictures that the thread keeps scaled: two requests may take turns. */
const scaledKept = 2

const nameOf = ({ picture, plan }: PictureSpan): string => `${picture.hash} ${plan.name}`
