import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { LRUCache } from 'lru-cache'
import { fromWire, startThread } from '../children/index.ts'
import { type Deferred, deferred } from '../deferred.ts'
import type { Choice, Modality } from '../encoders/index.ts'
import { confinement } from '../native/index.ts'
import { programFile } from '../places.ts'
import type {
  EncodedPart,
  EncodeResult,
  EncoderReady,
  EncoderThreadStart,
  EncodeTask,
  ToEncoder,
} from './encoder-thread.ts'
import type { AttachmentSpan } from './prompt-cells.ts'

/** The embeddings of spans that were encoded before, by their keys. */
export type EmbeddingCache = LRUCache<string, Float32Array>

/** @param bytes maximum size, at least 1 */
export const embeddingCache = (bytes: number): EmbeddingCache =>
  new LRUCache({ maxSize: bytes, sizeCalculation: ({ byteLength }) => byteLength })

/** Encodes images and sounds, part by part, while the decoder runs. */
export interface AttachmentEncoder {
  /** Whether it uses cores: a part is being encoded, or it is still being opened. */
  readonly busy: boolean
  /** Bytes of embeddings in the cache. */
  readonly cachedBytes: number
  /** Embeddings of a span that was encoded before. The call counts as a use of the cache entry. */
  cached(key: string): Float32Array | undefined
  /**
   * Whether a span must wait: what its adapter makes of the encoder is being opened, and `encode` is not to be called before.
   * Resolves when it may be, or the span is to be looked at again. null: it need not wait.
   */
  opening(span: AttachmentSpan): Promise<void> | null
  /** Whether the encoder still holds a span's attachment, so that its bytes are not needed. */
  has(span: AttachmentSpan): boolean
  /**
   * Encodes a tile or a chunk, or hears a stretch of its sound: then it is to be called again. Must not be called while `busy`.
   * @param bytes of the whole attachment, in memory of its own that the call takes; null if the encoder holds it
   * @throws OrielError `internal`
   */
  encode(span: AttachmentSpan, bytes: Uint8Array | null): Promise<EncodedPart>
  /** A span's attachment is no longer needed. */
  letGo(span: AttachmentSpan): void
  /** Computes with other forms from now on, and forgets the embeddings of before. Must not be called while `busy`. */
  adopt(choice: Choice, modality: Modality): void
  /** Leaves the decoder's cores to it while it runs. May be called in the middle of a part. */
  giveWay(decoding: boolean): void
}

/** Encoders that can be used, and what is known of them only then. */
export interface OpenedEncoder extends AttachmentEncoder, Pick<EncoderReady, 'runtimes' | 'uncalibrated'> {
  /** Ends its thread, and gives its memory back. It must not encode any more. */
  close(): void
}

/** How many threads a part may use, and how long it took with them. */
export interface EncoderCores {
  /** All cores, and how many of them the decoder uses meanwhile; null if the decoder runs on a GPU. */
  readonly shared: { all: number; decoding: number } | null
  /** Called before each part. @returns number of threads */
  next(kind: AttachmentSpan['kind']): number
  /** Called after each part, with the time that encoding it took. */
  took(kind: AttachmentSpan['kind'], threads: number, tokens: number, ms: number): void
}

/** A thread that may be waiting for its model. */
interface Thread {
  worker: Worker
  /** Rejects with what it has died of. */
  died: Promise<never>
}

function newThread(): Thread {
  const worker = startThread(programFile('engine/encoder-thread'), null)
  const died = new Promise<never>((_, reject) => {
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the encoder thread ended with code ${code}`)))
  })
  // It may die before anybody asks.
  died.catch(() => {})
  return { worker, died }
}

let prepared: Thread | undefined

/** Starts the thread of this process's encoders, which reads its code while the process waits for its model. */
export function prepareEncoder(): void {
  prepared = newThread()
}

/** The model has no encoders. */
export function dropEncoder(): void {
  void prepared?.worker.terminate()
  prepared = undefined
}

/**
 * Starts the encoders of a model on a thread of their own.
 * @param cache gets what they encode
 * @throws OrielError for a file that cannot be loaded
 */
export async function startEncoder(
  start: EncoderThreadStart,
  cache: EmbeddingCache,
  cores: EncoderCores,
): Promise<OpenedEncoder> {
  const { worker, died } = prepared ?? newThread()
  prepared = undefined
  worker.postMessage(start)
  const [first]: [EncodeResult] = await Promise.race([once(worker, 'message') as Promise<[EncodeResult]>, died])
  if ('error' in first) {
    void worker.terminate()
    throw fromWire(first.error)
  }
  if (!('ready' in first)) throw new Error('the encoder thread encodes before it is ready')
  return encoderOn(worker, first.ready, cache, cores)
}

interface Job {
  span: AttachmentSpan
  threads: number
  encoded: Deferred<EncodedPart>
}

/**
 * Images, and sounds, that the thread holds: two requests may take turns. `EncodeTurns` begins no third sound while
 * one is being heard, so that it is never forgotten.
 */
const mostHeld = 2

function encoderOn(
  worker: Worker,
  { runtimes, uncalibrated, threads: ids }: EncoderReady,
  cache: EmbeddingCache,
  cores: EncoderCores,
): OpenedEncoder {
  const send = (message: ToEncoder, moved: ArrayBuffer[] = []): void => worker.postMessage(message, moved)
  const confinementOf = (threads: readonly number[]) =>
    cores.shared && confinement(threads, cores.shared.all, cores.shared.decoding)
  let confine = confinementOf(ids)
  /** Attachments that the thread holds. */
  const kept = () => new LRUCache<string, true>({ max: mostHeld, dispose: (_, name) => send({ forget: name }) })
  const held = { image: kept(), audio: kept() }
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
      // The thread may have failed before it prepared the attachment: the next part must bring the bytes again.
      held[job.span.kind].delete(nameOf(job.span))
      job.encoded.reject(fromWire(result.error))
    } else {
      const { kind, key, start, end } = job.span
      if (result.embeddings !== null) {
        cores.took(kind, job.threads, end - start, result.ms)
        cache.set(key, result.embeddings)
      }
      job.encoded.resolve(result)
    }
  })
  // The death of the thread is a crash of the process: the parent fails the requests and starts another process.
  worker.on('error', (error) => {
    throw error
  })

  return {
    runtimes,
    uncalibrated,
    get busy() {
      return running !== undefined
    },
    get cachedBytes() {
      return cache.calculatedSize
    },
    cached: (key) => cache.get(key),
    opening: () => null,
    has: (span) => held[span.kind].has(nameOf(span)),
    encode(span, bytes) {
      const encoded = deferred<EncodedPart>()
      const threads = cores.next(span.kind)
      running = { span, threads, encoded }
      const name = nameOf(span)
      send({ name, threads, ...taskOf(span, bytes) }, bytes === null ? [] : [bytes.buffer as ArrayBuffer])
      held[span.kind].set(name, true)
      return encoded.promise
    },
    letGo: (span) => void held[span.kind].delete(nameOf(span)),
    adopt(choice, modality) {
      cache.clear()
      send({ adopt: choice, modality })
    },
    giveWay(decoding) {
      if (givesWay === decoding) return
      givesWay = decoding
      confine?.(decoding)
    },
    close: () => send({ close: true }),
  }
}

type PartOf<Task> = Task extends EncodeTask ? Omit<Task, 'name' | 'threads'> : never

function taskOf(span: AttachmentSpan, bytes: Uint8Array | null): PartOf<EncodeTask> {
  if (span.kind === 'image') {
    const { attachment, plan, tile } = span
    const { width, height } = attachment
    return { kind: 'image', image: bytes && { width, height, rgb: bytes, plan }, tile }
  }
  return { kind: 'audio', samples: bytes && floatsIn(bytes), chunk: span.chunk }
}

/** @param bytes 32-bit floats */
const floatsIn = ({ buffer, byteOffset, byteLength }: Uint8Array): Float32Array =>
  new Float32Array(buffer, byteOffset, byteLength / Float32Array.BYTES_PER_ELEMENT)

const nameOf = ({ attachment, plan }: AttachmentSpan): string => `${attachment.hash} ${plan.name}`
