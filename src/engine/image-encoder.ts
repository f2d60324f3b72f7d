import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { LRUCache } from 'lru-cache'
import { entryOf, fromWire, startThread } from '../children/index.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { confinement } from '../native/index.ts'
import type { EncodeResult, EncoderStart, ToEncoder } from './image-encoder-thread.ts'
import type { AttachmentSpan } from './prompt-cells.ts'

interface Encoded {
  /** `[tokens, width]` */
  embeddings: Float32Array
  /** Time that the encoder took. */
  ms: number
}

/** Images to embeddings, tile by tile, beside the decoder. Every modality has an encoder of its own. */
export interface ImageEncoder {
  /** What computes in fact: ggml takes the place of an ONNX Runtime that cannot be loaded. */
  readonly runtime: 'onnx' | 'ggml'
  /** Whether a tile is being encoded. */
  readonly busy: boolean
  /** Bytes of embeddings in the cache. */
  readonly cachedBytes: number
  /** Embeddings of a span that was encoded before. The call counts as a use of the cache entry. */
  cached(key: string): Float32Array | undefined
  /** Whether the encoder still holds a span's image, so that its pixels are not needed. */
  has(span: AttachmentSpan): boolean
  /**
   * Encodes a tile. Must not be called while `busy`.
   * @param rgb `[height, width, 3]` of the whole image; null if the encoder holds it
   * @throws OrielError `internal`
   */
  encode(span: AttachmentSpan, rgb: Uint8Array | null): Promise<Encoded>
  /** Tells that a span's image is no longer needed. */
  letGo(span: AttachmentSpan): void
  /** Tells whether the decoder is running, which then has its cores to itself. It may change in the middle of a tile. */
  giveWay(decoding: boolean): void
}

/** How many threads a tile may use, and how long it took with them. */
export interface EncoderCores {
  /** All cores, and how many of them the decoder uses meanwhile; null if the decoder runs on a GPU. */
  readonly shared: { all: number; decoding: number } | null
  /** Called before each tile. @returns number of threads */
  next(): number
  /** Called after each tile. */
  took(threads: number, tokens: number, ms: number): void
}

/**
 * Starts an image encoder on a thread of its own, with a cache of embeddings.
 * @param cacheBytes maximum size of the cache, at least 1
 * @throws OrielError for a vision file that cannot be loaded
 */
export async function openImageEncoder(
  start: EncoderStart,
  cacheBytes: number,
  cores: EncoderCores,
): Promise<ImageEncoder> {
  const worker = startThread(entryOf(import.meta.url, './image-encoder-thread.ts'), start)
  const [first]: [EncodeResult] = await Promise.race([
    once(worker, 'message') as Promise<[EncodeResult]>,
    once(worker, 'error').then(([error]) => {
      throw error
    }),
  ])
  if ('error' in first) throw fromWire(first.error)
  if (!('ready' in first)) throw new Error('the encoder thread encodes before it is ready')
  return new ImageEncoderThread(worker, first, cacheBytes, cores)
}

interface Job {
  span: AttachmentSpan
  threads: number
  encoded: Deferred<Encoded>
}

/** Images that the thread keeps scaled: two requests may take turns. */
const scaledKept = 2

class ImageEncoderThread implements ImageEncoder {
  readonly runtime: 'onnx' | 'ggml'
  readonly #worker: Worker
  readonly #cores: EncoderCores
  readonly #confine: ReturnType<typeof confinement>
  readonly #cache: LRUCache<string, Float32Array>
  /** Images that the thread holds scaled. */
  readonly #scaled: LRUCache<string, true>
  #givesWay = false
  #running: Job | undefined

  constructor(
    worker: Worker,
    { runtime, threads }: Pick<ImageEncoder, 'runtime'> & { threads: readonly number[] },
    cacheBytes: number,
    cores: EncoderCores,
  ) {
    this.runtime = runtime
    this.#worker = worker
    this.#cores = cores
    this.#confine = cores.shared && confinement(threads, cores.shared.all, cores.shared.decoding)
    this.#cache = new LRUCache({ maxSize: cacheBytes, sizeCalculation: ({ byteLength }) => byteLength })
    this.#scaled = new LRUCache({ max: scaledKept, dispose: (_, name) => this.#send({ forget: name }) })
    worker.on('message', (result: EncodeResult) => this.#finish(result))
    // The death of the thread is a crash of the process: the parent fails the requests and starts another process.
    worker.on('error', (error) => {
      throw error
    })
  }

  get busy(): boolean {
    return this.#running !== undefined
  }

  get cachedBytes(): number {
    return this.#cache.calculatedSize
  }

  cached(key: string): Float32Array | undefined {
    return this.#cache.get(key)
  }

  has(span: AttachmentSpan): boolean {
    return this.#scaled.has(nameOf(span))
  }

  encode(span: AttachmentSpan, rgb: Uint8Array | null): Promise<Encoded> {
    const encoded = deferred<Encoded>()
    const threads = this.#cores.next()
    this.#running = { span, threads, encoded }
    const { plan, tile } = span
    const name = nameOf(span)
    this.#send({ name, image: rgb === null ? null : { rgb, plan }, tile, threads })
    this.#scaled.set(name, true)
    return encoded.promise
  }

  letGo(span: AttachmentSpan): void {
    this.#scaled.delete(nameOf(span))
  }

  giveWay(decoding: boolean): void {
    if (this.#givesWay === decoding) return
    this.#givesWay = decoding
    this.#confine?.(decoding)
  }

  #send(message: ToEncoder): void {
    this.#worker.postMessage(message)
  }

  #finish(result: EncodeResult): void {
    const job = this.#running
    if (job === undefined || 'ready' in result) return
    this.#running = undefined
    if ('error' in result) {
      // The thread may have failed before it scaled the image: the next tile must bring the pixels again.
      this.letGo(job.span)
      job.encoded.reject(fromWire(result.error))
    } else {
      this.#cores.took(job.threads, job.span.tile.tokens, result.ms)
      this.#cache.set(job.span.key, result.embeddings)
      job.encoded.resolve(result)
    }
  }
}

const nameOf = ({ attachment, plan }: AttachmentSpan): string => `${attachment.hash} ${plan.name}`
