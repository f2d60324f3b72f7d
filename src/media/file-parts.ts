import { cancelled, OrielError } from '../errors.ts'
import { free } from '../free.ts'
import type { Frame, Sound } from './attachment.ts'
import type { Part } from './decoder/parts.ts'
import { type ImageHead, type PartHead, type SoundHead, soundRate } from './decoder/protocol.ts'
import type { Hold } from './limits.ts'

/** What is loaded of a file: its images, or its frames and sound. */
export type FilePart = FileImage | FileSound

/** Parts of a file that was decoded just now. @param hold bounds the memory of their data */
export const decodedParts = (decoded: readonly Part[], hold: Hold): FilePart[] =>
  decoded.map(({ head, data }) => {
    const part = partOf(head)
    part.take(data, hold)
    return part
  })

/** A file that was decoded for an earlier request. */
interface KnownFile {
  readonly heads: readonly PartHead[]
  /** Decodes these parts of it. */
  decode(wanted: readonly PartHead[]): Promise<readonly Part[]>
  /** None of its parts will be decoded any more. */
  letGo(): void
}

/**
 * Parts of a file that was decoded for an earlier request. When one is needed, so are mostly those behind it, because
 * caches keep the beginning of a prompt: they are decoded together, and each only once.
 * @param hold called when there is data
 */
export function seenParts({ heads, decode, letGo }: KnownFile, hold: () => Hold): FilePart[] {
  const settle = (): void => {
    if (!parts.some(({ isOpen }) => isOpen)) letGo()
  }
  const parts: FilePart[] = heads.map((head, index) => {
    const open = (): void => {
      const wanted = parts.slice(index).filter(({ isOpen }) => isOpen)
      const decoding = decode(wanted.map(({ head }) => head))
      for (const [at, part] of wanted.entries()) {
        part.coming = decoding.then((decoded) => {
          const { head, data } = decoded[at] ?? {}
          if (data === undefined || head?.hash !== part.hash) throw changed()
          return part.take(data, hold())
        })
        // Nobody may ask for it.
        part.coming.catch(() => {})
      }
      settle()
    }
    return partOf(head, open, settle)
  })
  return parts
}

/** A sound of which only the length is known. */
export const undecodedSound = (samples: number): FileSound =>
  new FileSound(
    { kind: 'sound', hash: '', samples },
    () => {
      throw new Error('only the length of the sound was to be known')
    },
    () => {},
  )

/** @param open decodes the file, so that `coming` is set @param onLetGo called when it will not be decoded any more */
const partOf = (head: PartHead, open = (): void => {}, onLetGo = (): void => {}): FilePart =>
  head.kind === 'image' ? new FileImage(head, open, onLetGo) : new FileSound(head, open, onLetGo)

/** A part of a file, with its data or without it. */
abstract class DataOfFile<Head extends PartHead> {
  readonly head: Head
  readonly hash: string
  /** The data, while it is being decoded and afterwards. */
  coming: Promise<Uint8Array> | undefined
  protected data: Uint8Array | null = null
  readonly #open: () => void
  readonly #onLetGo: () => void
  #free = (): void => {}
  #gone = false

  constructor(head: Head, open: () => void, onLetGo: () => void) {
    this.head = head
    this.hash = head.hash
    this.#open = open
    this.#onLetGo = onLetGo
  }

  /** Whether its data may be asked for, and has not been. */
  get isOpen(): boolean {
    return !this.#gone && this.data === null && this.coming === undefined
  }

  /** Has its data from now on. @throws OrielError `overloaded` */
  take(data: Uint8Array, hold: Hold): Uint8Array {
    const gone = (): void => {
      this.#gone = true
      free(data)
    }
    if (this.#gone) gone()
    else this.#free = hold(pixelsLike(data), gone)
    this.data = data
    return data
  }

  letGo(): void {
    if (this.#gone) return
    this.#gone = true
    this.data ??= new Uint8Array()
    this.#free()
    this.#onLetGo()
  }

  protected async bytes(): Promise<Uint8Array> {
    if (this.isOpen) this.#open()
    const data = this.data ?? (await this.coming)
    if (this.#gone || data === undefined) throw cancelled()
    return data
  }
}

export class FileImage extends DataOfFile<ImageHead> implements Frame {
  // Properties of its own, because rasters are spread.
  readonly width = this.head.width
  readonly height = this.head.height
  readonly original = this.head.original
  readonly page = this.head.page
  readonly time = this.head.time

  get rgb(): Uint8Array | null {
    return this.data
  }

  decode(): Promise<Uint8Array> {
    return this.bytes()
  }
}

export class FileSound extends DataOfFile<SoundHead> implements Sound {
  readonly samples = this.head.samples
  readonly seconds = this.head.samples / soundRate

  async decode(): Promise<Float32Array> {
    const { buffer, byteOffset } = await this.bytes()
    return new Float32Array(buffer, byteOffset, this.samples)
  }
}

/** Memory that bytes take, as a number of pixels. */
export const pixelsLike = ({ length }: Uint8Array): number => Math.ceil(length / 3)

const changed = (): OrielError =>
  new OrielError('internal', 'The file was decoded again, and its pixels or samples are not the same.', {
    code: 'image_changed',
  })
