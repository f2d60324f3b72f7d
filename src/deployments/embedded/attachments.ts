import type { ImageAttachment, ImageWork, PromptCount, PromptPiece } from '../../engine/index.ts'
import type { Frame, Image, Loaded, LoadedImages, LoadedVideo } from '../../media/index.ts'
import type { VideoFormat } from '../../prompt/index.ts'
import type { Attachment } from '../ask.ts'
import type { AnsweredImage, AnsweredVideo, PartCount, PromptUsage, Tally } from '../backend.ts'

/** An image as a piece of a prompt. */
export function imagePiece(pixels: Image, { detail, bounds }: Pick<Attachment, 'detail' | 'bounds'>): ImageAttachment {
  const { width, height, hash } = pixels
  return { kind: 'image', width, height, hash, detail, bounds, pixels }
}

type AttachmentCount = Exclude<PartCount, { kind: 'text' }>
type Tokens = Omit<PromptUsage, 'promptTokens' | 'cachedTokens'>

/** A piece as the engine counted it, and what it did for it when the answer was over. */
interface Told {
  piece: ImageAttachment
  tokens: number
  work: ImageWork | undefined
}

/** The attachments of a request: as pieces of its prompt, and as what is told of them. */
export class PromptAttachments {
  readonly #files: readonly (PromptImages | PromptVideo)[]

  /** @param loaded in the order of `sources` */
  constructor(loaded: readonly Loaded[], sources: readonly Attachment[], format: VideoFormat) {
    this.#files = loaded.map((file, index) => {
      const source = sources[index]
      if (source === undefined) throw new Error('more was loaded than was sent')
      if (file.kind === 'audio') throw new Error('audio was loaded for a model that does not hear')
      return file.kind === 'image' ? new PromptImages(file, source) : new PromptVideo(file, source, format)
    })
  }

  /** What stands in the prompt for an attachment. */
  pieces(index: number): readonly PromptPiece[] {
    return this.#file(index).pieces
  }

  /** An attachment in a prompt that is shown as text. */
  text(index: number): string {
    return this.#file(index).text
  }

  /** The most frames of a video whose number the request leaves open. */
  get mostFrames(): number {
    return Math.max(0, ...this.#open().map(({ frames }) => frames.length))
  }

  /** Takes fewer frames of videos whose number the request leaves open, evenly: `most` of each. */
  takeFrames(most: number): void {
    for (const video of this.#open()) video.take(most)
  }

  /** Frees the frames that are not in the prompt. */
  letGoOfOthers(): void {
    for (const video of this.#open()) video.letGoOfOthers()
  }

  /** @param each tokens of each image and frame, in the order of the prompt */
  tokens(prompt: readonly PromptPiece[], each: readonly number[]): Tokens {
    const told = this.#told(prompt, each, [])
    const kinds = { image: [] as number[], video: [] as number[] }
    for (const [file, pieces] of told)
      kinds[file.kind].push(...(file.kind === 'image' ? pieces.map(({ tokens }) => tokens) : [sumOf(pieces)]))
    return { imageTokens: kinds.image, videoTokens: kinds.video }
  }

  /** Of all attachments that are in the prompt, whose oldest turns may have been dropped. */
  answered(
    prompt: readonly PromptPiece[],
    each: readonly number[],
    works: readonly ImageWork[],
  ): Pick<Tally, 'images' | 'videos'> {
    const told = [...this.#told(prompt, each, works)]
    return {
      images: told.flatMap(([file, pieces]) => (file.kind === 'image' ? file.answered(pieces) : [])),
      videos: told.flatMap(([file, pieces]) => (file.kind === 'video' ? file.answered(pieces) : [])),
    }
  }

  /** Counts each attachment by itself. */
  async counts(count: (pieces: readonly PromptPiece[]) => Promise<PromptCount>): Promise<AttachmentCount[]> {
    const pieces = this.#files.flatMap((file) => file.pieces)
    const { imageTokens } = await count(pieces)
    const told = this.#told(pieces, imageTokens, [])
    return this.#files.map((file, attachment) => ({ attachment, ...file.counted(told.get(file) ?? []) }))
  }

  #file(index: number): PromptImages | PromptVideo {
    const file = this.#files[index]
    if (file === undefined) throw new Error('the layout names an attachment that does not exist')
    return file
  }

  #open(): PromptVideo[] {
    return this.#files.filter((file): file is PromptVideo => file.kind === 'video' && file.isOpen)
  }

  /** The pieces of each file in the prompt, in its order. */
  #told(
    prompt: readonly PromptPiece[],
    each: readonly number[],
    works: readonly ImageWork[],
  ): Map<PromptImages | PromptVideo, Told[]> {
    const owners = new Map(this.#files.flatMap((file) => file.pieces.map((piece) => [piece, file] as const)))
    const told = new Map<PromptImages | PromptVideo, Told[]>()
    const pieces = prompt.filter((piece) => piece.kind === 'image')
    for (const [at, piece] of pieces.entries()) {
      const owner = owners.get(piece)
      if (owner === undefined) continue
      const own = told.get(owner) ?? []
      told.set(owner, own)
      own.push({ piece, tokens: each[at] ?? 0, work: works[at] })
    }
    return told
  }
}

const sumOf = (pieces: readonly Told[]): number => pieces.reduce((sum, { tokens }) => sum + tokens, 0)

class PromptImages {
  readonly kind = 'image'
  readonly pieces: readonly ImageAttachment[]
  readonly text: string
  readonly #file: LoadedImages
  readonly #source: Attachment

  constructor(file: LoadedImages, source: Attachment) {
    this.#file = file
    this.#source = source
    this.pieces = file.images.map((image) => imagePiece(image, source))
    this.text = '<image>'.repeat(file.images.length)
  }

  counted(told: readonly Told[]) {
    const images = told.map(({ piece: { width, height }, tokens }) => ({ width, height, tokens }))
    return { kind: this.kind, tokens: sumOf(told), images } as const
  }

  answered(told: readonly Told[]): AnsweredImage[] {
    const { images, fetchMs, decodeMs } = this.#file
    const { param } = this.#source
    return told.flatMap(({ piece, tokens, work }) => {
      const image = images.find((one) => one === piece.pixels)
      if (image === undefined || work === undefined) return []
      return { param, page: image.page, ...image.original, tokens, fetchMs, decodeMs, ...work }
    })
  }
}

/** Frames are read with fewer tokens than images, of which a video has many, unless the request says how. */
const readingOf = ({ detail, bounds }: Attachment): Pick<Attachment, 'detail' | 'bounds'> => ({
  detail: detail === 'auto' && bounds === undefined ? 'low' : detail,
  bounds,
})

class PromptVideo {
  readonly kind = 'video'
  readonly text = '<video>'
  readonly #file: LoadedVideo
  readonly #source: Attachment
  readonly #format: VideoFormat
  #frames: readonly Frame[]
  #pieces: readonly PromptPiece[] | undefined

  constructor(file: LoadedVideo, source: Attachment, format: VideoFormat) {
    this.#file = file
    this.#source = source
    this.#format = format
    this.#frames = file.frames
  }

  /** All that were loaded. */
  get frames(): readonly Frame[] {
    return this.#file.frames
  }

  get isOpen(): boolean {
    return this.#source.frames?.most === undefined
  }

  get pieces(): readonly PromptPiece[] {
    this.#pieces ??= this.#layOut()
    return this.#pieces
  }

  take(most: number): void {
    const { frames } = this
    const count = Math.min(most, frames.length)
    // The middles of equal parts.
    const middle = (part: number): number => Math.floor(((part + 0.5) * frames.length) / count)
    this.#frames = Array.from({ length: count }, (_, part) => frames[middle(part)]).filter((one) => one !== undefined)
    this.#pieces = undefined
  }

  letGoOfOthers(): void {
    const taken = new Set(this.#frames)
    for (const frame of this.frames) if (!taken.has(frame)) frame.letGo()
  }

  counted(told: readonly Told[]) {
    return { kind: this.kind, tokens: sumOf(told), frames: this.frames.length } as const
  }

  answered(told: readonly Told[]): AnsweredVideo {
    const { frames, seconds, fetchMs, decodeMs } = this.#file
    const [first] = this.#frames
    const times = new Map<object, number>(this.#frames.map((frame) => [frame, frame.time]))
    return {
      ...{ param: this.#source.param, seconds, width: first?.width ?? 0, height: first?.height ?? 0 },
      seen: told[0]?.work?.seen ?? { width: 0, height: 0 },
      tokens: sumOf(told),
      found: frames.length,
      frames: told.flatMap(({ piece, tokens, work }) =>
        work === undefined
          ? []
          : { time: times.get(piece.pixels) ?? 0, tokens, cached: work.cached, encodeMs: work.encodeMs },
      ),
      ...{ fetchMs, decodeMs },
    }
  }

  #layOut(): PromptPiece[] {
    const frames = this.#frames.map((frame) => imagePiece(frame, readingOf(this.#source)))
    const views = this.#frames.map(({ time }) => [time])
    return this.#format.layout({ views, seconds: this.#file.seconds }).flatMap((part): PromptPiece[] => {
      if (typeof part === 'string') return [{ kind: 'text', text: part, special: true }]
      const frame = frames[part]
      return frame === undefined ? [] : [frame]
    })
  }
}
