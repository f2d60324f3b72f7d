import { ThreadOnDemand } from '../children/index.ts'
import { cancelled, shuttingDown } from '../errors.ts'
import type { ImageAttachment, ImageView } from './generation.ts'
import type { PreviewResult, PreviewStart, PreviewTask } from './preview-thread.ts'

/**
 * Computes what an encoder gets of images, on a thread of this process that is started on demand: the encoder's own thread
 * has the images of answers, and needs the weights.
 */
export class Previews {
  readonly #thread: ThreadOnDemand<PreviewTask, PreviewResult> | null

  /** @param projector path of the vision GGUF; null for a model that takes no images */
  constructor(projector: string | null) {
    const data = projector === null ? null : ({ file: projector } satisfies PreviewStart)
    this.#thread =
      data &&
      new ThreadOnDemand({ program: 'engine/preview-thread', data, failure: 'The preview met an unexpected error.' })
  }

  /** @throws as `Engine.preview` */
  async preview(
    { width, height, detail, bounds, pixels }: ImageAttachment,
    mostPixels: number,
  ): Promise<readonly ImageView[]> {
    if (this.#thread === null) throw new Error('a model without images has no previews')
    const rgb = await pixels.decode()
    if (this.#thread.isClosed) throw shuttingDown()
    if (rgb.byteLength === 0) throw cancelled()
    const task: PreviewTask = { image: { width, height, detail, bounds }, rgb, mostPixels }
    return (await this.#thread.ask(task, [rgb.buffer as ArrayBuffer])).views
  }

  close(): void {
    this.#thread?.close()
  }
}
