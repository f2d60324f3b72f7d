import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { type Deferred, deferred } from '../deferred.ts'
import { startThread } from '../thread.ts'
import type { EncodeResult, EncoderStart, EncodeTask } from './encoder-thread.ts'
import type { PictureSpan } from './prompt-cells.ts'
import { fromWire } from './protocol.ts'

export interface Encoded {
  /** `[tokens, width]` */
  embeddings: Float32Array
  /** Time that the encoder took; 0 for a picture that was there already. */
  ms: number
}

/**
 * Pictures to embeddings: an LRU cache bounded in bytes before a thread that encodes one picture at a time. Whoever asks
 * for a picture that is being encoded waits for that same run.
 */
export class PictureEncoder {
  readonly #worker: Worker
  readonly #cacheBytes: number
  readonly #cores: EncoderCores
  readonly #cache = new Map<string, Float32Array>()
  readonly #waiting: Job[] = []
  readonly #jobs = new Map<string, Job>()
  #bytes = 0
  #running: Job | undefined
  /** The picture that the thread has scaled last. */
  #sent = ''

  private constructor(worker: Worker, cacheBytes: number, cores: EncoderCores) {
    this.#worker = worker
    this.#cacheBytes = cacheBytes
    this.#cores = cores
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
    const worker = startThread(new URL('./encoder-thread.ts', import.meta.url), start)
    const [first]: [EncodeResult] = await Promise.race([
      once(worker, 'message') as Promise<[EncodeResult]>,
      once(worker, 'error').then(([error]) => {
        throw error
      }),
    ])
    if ('error' in first) throw fromWire(first.error)
    return new PictureEncoder(worker, cacheBytes, cores)
  }

  /** Whether a picture is being encoded now. */
  get busy(): boolean {
    return this.#running !== undefined
  }

  get cachedBytes(): number {
    return this.#bytes
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

  /**
   * Encodes a picture, or joins a run that somebody else began.
   * @param signal leaves the run; a picture that nobody waits for any more is not begun
   */
  async encode(span: PictureSpan, rgb: Uint8Array, signal: AbortSignal): Promise<Encoded> {
    const known = this.cached(span.key)
    if (known !== undefined) return { embeddings: known, ms: 0 }
    return this.join(span.key, signal) ?? this.#begin(span, rgb, signal)
  }

  /** @returns undefined when nobody asked for this picture */
  join(key: string, signal: AbortSignal): Promise<Encoded> | undefined {
    const job = this.#jobs.get(key)
    return job === undefined ? undefined : this.#follow(job, signal)
  }

  #begin(span: PictureSpan, rgb: Uint8Array, signal: AbortSignal): Promise<Encoded> {
    const encoded = deferred<Encoded>()
    encoded.promise.catch(() => {})
    const job: Job = { span, rgb, threads: 1, followers: 0, encoded }
    this.#jobs.set(span.key, job)
    this.#waiting.push(job)
    const followed = this.#follow(job, signal)
    this.#next()
    return followed
  }

  #follow(job: Job, signal: AbortSignal): Promise<Encoded> {
    job.followers++
    const leave = (): void => {
      job.followers--
      const at = job.followers === 0 ? this.#waiting.indexOf(job) : -1
      if (at < 0) return
      this.#waiting.splice(at, 1)
      this.#jobs.delete(job.span.key)
      job.encoded.reject(new Error('nobody waits for this picture any more'))
    }
    signal.addEventListener('abort', leave, { once: true })
    if (signal.aborted) leave()
    return job.encoded.promise.finally(() => signal.removeEventListener('abort', leave))
  }

  #next(): void {
    if (this.#running !== undefined) return
    const job = this.#waiting.shift()
    if (job === undefined) return
    this.#running = job
    job.threads = this.#cores.next()
    const { picture, plan, tile } = job.span
    const sent = `${picture.hash} ${plan.name}`
    const task: EncodeTask = {
      picture: sent === this.#sent ? null : { rgb: job.rgb, plan },
      tile,
      threads: job.threads,
    }
    this.#sent = sent
    this.#worker.postMessage(task)
  }

  #finish(result: EncodeResult): void {
    const job = this.#running
    if (job === undefined || 'ready' in result) return
    this.#running = undefined
    this.#jobs.delete(job.span.key)
    if ('error' in result) {
      // The thread may not have got as far as this picture: the next tile of it must bring it again.
      this.#sent = ''
      job.encoded.reject(fromWire(result.error))
    } else {
      this.#cores.took(job.threads, job.span.tile.tokens, result.ms)
      this.#store(job.span.key, result.embeddings)
      job.encoded.resolve(result)
    }
    this.#next()
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
  next(): number
  took(threads: number, tokens: number, ms: number): void
}

interface Job {
  span: PictureSpan
  /** `[height, width, 3]` of the whole picture */
  rgb: Uint8Array
  threads: number
  /** Requests that wait for it. */
  followers: number
  encoded: Deferred<Encoded>
}
