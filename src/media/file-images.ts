import { MessageChannel } from 'node:worker_threads'
import { cancelled, OrielError } from '../errors.ts'
import type { Image } from './attachment.ts'
import type { DecodedImage } from './decoder/decoder-process.ts'
import type { ImageHead } from './decoder/protocol.ts'
import type { Hold } from './limits.ts'

/** Images of a file that was decoded just now. @param hold bounds the memory of their pixels */
export const decodedImages = (decoded: readonly DecodedImage[], hold: Hold): Image[] =>
  decoded.map(({ rgb, ...head }) => {
    const image = new FileImage(head)
    image.take(rgb, hold)
    return image
  })

/** A file that was decoded for an earlier request. */
interface KnownFile {
  readonly heads: readonly ImageHead[]
  /** Decodes these pages of it: `"3,7"`. */
  decode(pages: string): Promise<readonly DecodedImage[]>
  /** None of its images will be decoded any more. */
  letGo(): void
}

/**
 * Images of a file that was decoded for an earlier request. When one is needed, so are mostly those behind it, because
 * caches keep the beginning of a prompt: they are decoded together, and each only once.
 * @param hold called when there are pixels
 */
export function seenImages({ heads, decode, letGo }: KnownFile, hold: () => Hold): Image[] {
  const settle = (): void => {
    if (!images.some(({ isOpen }) => isOpen)) letGo()
  }
  const images: FileImage[] = heads.map((head, index) => {
    const open = (): void => {
      const wanted = images.slice(index).filter(({ isOpen }) => isOpen)
      const decoding = decode(wanted.map(({ page }) => page).join(','))
      for (const [at, image] of wanted.entries()) {
        image.coming = decoding.then((decoded) => {
          const { rgb, hash } = decoded[at] ?? {}
          if (rgb === undefined || hash !== image.hash) throw changed()
          return image.take(rgb, hold())
        })
        // Nobody may ask for it.
        image.coming.catch(() => {})
      }
      settle()
    }
    return new FileImage(head, open, settle)
  })
  return images
}

/** An image of a file, with its pixels or without them. */
class FileImage implements Image {
  readonly width: number
  readonly height: number
  readonly hash: string
  readonly original: Image['original']
  readonly page: number
  rgb: Uint8Array | null = null
  /** The pixels, while they are being decoded and afterwards. */
  coming: Promise<Uint8Array> | undefined
  readonly #open: () => void
  readonly #onLetGo: () => void
  #free = (): void => {}
  #gone = false

  /** @param open decodes the file, so that `coming` is set @param onLetGo called when it will not be decoded any more */
  constructor(head: ImageHead, open = (): void => {}, onLetGo = (): void => {}) {
    this.width = head.width
    this.height = head.height
    this.hash = head.hash
    this.original = head.original
    this.page = head.page
    this.#open = open
    this.#onLetGo = onLetGo
  }

  /** Whether its pixels may be asked for, and have not been. */
  get isOpen(): boolean {
    return !this.#gone && this.rgb === null && this.coming === undefined
  }

  async decode(): Promise<Uint8Array> {
    if (this.isOpen) this.#open()
    const rgb = this.rgb ?? (await this.coming)
    if (this.#gone || rgb === undefined) throw cancelled()
    return rgb
  }

  /** Has its pixels from now on. @throws OrielError `overloaded` */
  take(rgb: Uint8Array, hold: Hold): Uint8Array {
    const gone = (): void => {
      this.#gone = true
      free(rgb)
    }
    if (this.#gone) gone()
    else this.#free = hold(this.width * this.height, gone)
    this.rgb = rgb
    return rgb
  }

  letGo(): void {
    if (this.#gone) return
    this.#gone = true
    this.rgb ??= new Uint8Array()
    this.#free()
    this.#onLetGo()
  }
}

/** A closed port. A buffer that is transferred to it is freed. */
const { port1: closedPort, port2 } = new MessageChannel()
port2.close()
closedPort.close()

/** Frees the memory of an array at once, which leaves it empty. The garbage collector may take minutes to do so. */
function free({ buffer }: Uint8Array): void {
  // Another thread may have taken it.
  if (buffer.byteLength > 0) closedPort.postMessage(null, [buffer as ArrayBuffer])
}

const changed = (): OrielError =>
  new OrielError('internal', 'The image was decoded again, and its pixels are not the same.', {
    code: 'image_changed',
  })
