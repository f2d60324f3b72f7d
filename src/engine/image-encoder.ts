import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { LRUCache } from 'lru-cache'
import { fromWire, startThread } from '../children/index.ts'
import { type Deferred, deferred } from '../deferred.ts'
import type { Choice } from '../encoders/index.ts'
import { confinement } from '../native/index.ts'
import { programFile } from '../places.ts'
import type { EncodeResult, EncoderReady, EncoderThreadStart, ToEncoder } from './image-encoder-thread.ts'
import type { AttachmentSpan } from './prompt-cells.ts'

interface Encoded {
  /** `[tokens, width]` */
  embeddings: Float32Array
  /** Time that the encoder took. */
  ms: number
}

/** Encodes images, tile by tile, while the decoder runs. Every modality has its own encoder. */
export interface ImageEncoder {
  /** Whether it uses cores: a tile is being encoded, or it is still being opened. */
  readonly busy: boolean
  /** Bytes of embeddings in the cache. */
  readonly cachedBytes: number
  /** Embeddings of a span that was encoded before. The call counts as a use of the cache entry. */
  cached(key: string): Float32Array | undefined
  /** Whether the encoder still holds a span's image, so that its pixels are not needed. */
  has(span: AttachmentSpan): boolean
  /**
   * Encodes a tile. Must not be called while `busy`.
   * @param rgb `[height, width, 3]` of the whole image, in memory of its own that the call takes; null if the encoder holds it
   * @throws OrielError `internal`
   */
  encode(span: AttachmentSpan, rgb: Uint8Array | null): Promise<Encoded>
  /** A span's image is no longer needed. */
  letGo(span: AttachmentSpan): void
  /** Computes with other forms from now on, and forgets the embeddings of before. Must not be called while `busy`. */
  adopt(choice: Choice): void
  /** Leaves the decoder's cores to it while it runs. May be called in the middle of a tile. */
  giveWay(decoding: boolean): void
}

/** An encoder that can be used, and what is known of it only then. */
export interface OpenedEncoder extends ImageEncoder {
  /** The runtime in use: ggml, if ONNX Runtime cannot be loaded. */
  readonly runtime: 'onnx' | 'ggml'
  /** Whether the forms of its matrices are yet to be chosen. */
  readonly isUncalibrated: boolean
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

const newThread = (): Worker => startThread(programFile('engine/image-encoder-thread'), null)

let prepared: Worker | undefined

/** Starts the thread of this process's encoder, which reads its code while the process waits for its model. */
export function prepareImageEncoder(): void {
  prepared = newThread()
}

/** The model has no encoder. */
export function dropImageEncoder(): void {
  void prepared?.terminate()
  prepared = undefined
}

/**
 * Starts an image encoder on a thread of its own, with a cache of embeddings.
 * @param cacheBytes maximum size of the cache, at least 1
 * @throws OrielError for a vision file that cannot be loaded
 */
export async function startImageEncoder(
  start: EncoderThreadStart,
  cacheBytes: number,
  cores: EncoderCores,
): Promise<OpenedEncoder> {
  const worker = prepared ?? newThread()
  prepared = undefined
  worker.postMessage(start)
  const [first]: [EncodeResult] = await Promise.race([
    once(worker, 'message') as Promise<[EncodeResult]>,
    once(worker, 'error').then(([error]) => {
      throw error
    }),
  ])
  if ('error' in first) throw fromWire(first.error)
  if (!('ready' in first)) throw new Error('the encoder thread encodes before it is ready')
  return encoderOn(worker, first.ready, cacheBytes, cores)
}

interface Job {
  span: AttachmentSpan
  threads: number
  encoded: Deferred<Encoded>
}

/** Images that the thread keeps scaled: two requests may take turns. */
const scaledKept = 2

function encoderOn(
  worker: Worker,
  { runtime, isUncalibrated, threads: ids }: EncoderReady,
  cacheBytes: number,
  cores: EncoderCores,
): OpenedEncoder {
  const send = (message: ToEncoder, moved: ArrayBuffer[] = []): void => worker.postMessage(message, moved)
  const confinementOf = (threads: readonly number[]) =>
    cores.shared && confinement(threads, cores.shared.all, cores.shared.decoding)
  let confine = confinementOf(ids)
  const cache = new LRUCache<string, Float32Array>({
    maxSize: cacheBytes,
    sizeCalculation: ({ byteLength }) => byteLength,
  })
  /** Images that the thread holds scaled. */
  const scaled = new LRUCache<string, true>({ max: scaledKept, dispose: (_, name) => send({ forget: name }) })
  let givesWay = false
  let running: Job | undefined

  worker.on('message', (result: EncodeResult) => {
    if ('ready' in result) {
      confine = confinementOf(result.ready.threads)
      if (givesWay) confine?.(true)
      return
    }
    const job = running
    if (job === undefined) return
    running = undefined
    if ('error' in result) {
      // The thread may have failed before it scaled the image: the next tile must bring the pixels again.
      scaled.delete(nameOf(job.span))
      job.encoded.reject(fromWire(result.error))
    } else {
      cores.took(job.threads, job.span.tile.tokens, result.ms)
      cache.set(job.span.key, result.embeddings)
      job.encoded.resolve(result)
    }
  })
  // The death of the thread is a crash of the process: the parent fails the requests and starts another process.
  worker.on('error', (error) => {
    throw error
  })

  return {
    runtime,
    isUncalibrated,
    get busy() {
      return running !== undefined
    },
    get cachedBytes() {
      return cache.calculatedSize
    },
    cached: (key) => cache.get(key),
    has: (span) => scaled.has(nameOf(span)),
    encode(span, rgb) {
      const encoded = deferred<Encoded>()
      const threads = cores.next()
      running = { span, threads, encoded }
      const { plan, tile, attachment } = span
      const name = nameOf(span)
      const image = rgb === null ? null : { width: attachment.width, height: attachment.height, rgb, plan }
      send({ name, image, tile, threads }, rgb === null ? [] : [rgb.buffer as ArrayBuffer])
      scaled.set(name, true)
      return encoded.promise
    },
    letGo: (span) => void scaled.delete(nameOf(span)),
    adopt(choice) {
      cache.clear()
      send({ adopt: choice })
    },
    giveWay(decoding) {
      if (givesWay === decoding) return
      givesWay = decoding
      confine?.(decoding)
    },
  }
}

const nameOf = ({ attachment, plan }: AttachmentSpan): string => `${attachment.hash} ${plan.name}`
