import type { Worker } from 'node:worker_threads'
import { fromWire, startThread } from '../children/index.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { cancelled, OrielError, shuttingDown } from '../errors.ts'
import { programFile } from '../places.ts'
import type { ImageAttachment, ImageView } from './generation.ts'
import type { PreviewResult, PreviewStart, PreviewTask } from './preview-thread.ts'

/** Time after which a thread without work ends, in ms. */
const idleMs = 30_000

/**
 * Computes what an encoder gets of images, on a thread of this process that is started on demand: the encoder's own thread
 * has the images of answers, and needs the weights.
 */
export class Previews {
  readonly #projector: string | null
  #thread: Worker | undefined
  /** In the order of the thread. */
  #asked: Deferred<readonly ImageView[]>[] = []
  #idle: NodeJS.Timeout | undefined
  #closed = false

  /** @param projector path of the vision GGUF; null for a model that takes no images */
  constructor(projector: string | null) {
    this.#projector = projector
  }

  /** @throws as `Engine.preview` */
  async preview(
    { width, height, detail, bounds, pixels }: ImageAttachment,
    mostPixels: number,
  ): Promise<readonly ImageView[]> {
    const rgb = await pixels.decode()
    if (this.#closed) throw shuttingDown()
    if (rgb.byteLength === 0) throw cancelled()
    const asked = deferred<readonly ImageView[]>()
    this.#asked.push(asked)
    const task: PreviewTask = { image: { width, height, detail, bounds }, rgb, mostPixels }
    this.#running().postMessage(task, [rgb.buffer as ArrayBuffer])
    return asked.promise
  }

  close(): void {
    this.#closed = true
    this.#end(shuttingDown())
  }

  #running(): Worker {
    clearTimeout(this.#idle)
    if (this.#thread !== undefined) return this.#thread
    if (this.#projector === null) throw new Error('a model without images has no previews')
    const start: PreviewStart = { file: this.#projector }
    const thread = startThread(programFile('engine/preview-thread'), start)
    thread.on('message', (result: PreviewResult) => {
      const asked = this.#asked.shift()
      if ('error' in result) asked?.reject(fromWire(result.error))
      else asked?.resolve(result.views)
      if (this.#asked.length === 0) this.#idle = setTimeout(() => this.#end(), idleMs).unref()
    })
    thread.on('error', (cause) => this.#end(failed(cause)))
    thread.unref()
    this.#thread = thread
    return thread
  }

  #end(error: OrielError = failed()): void {
    void this.#thread?.terminate()
    this.#thread = undefined
    clearTimeout(this.#idle)
    for (const { reject } of this.#asked.splice(0)) reject(error)
  }
}

const failed = (cause?: unknown): OrielError =>
  new OrielError('internal', 'The preview met an unexpected error.', { cause })
