import type { AttachmentWork, PromptCount, PromptPiece } from '../../engine/index.ts'
import type { Loaded } from '../../media/index.ts'
import type { ContentPart } from '../../prompt/index.ts'
import type { Attachment, PlainPart } from '../ask.ts'
import { PromptAudio } from './audio.ts'
import { PromptImages } from './images.ts'
import type { Answered, AttachmentCount, PromptFile, Tokens, Told } from './prompt-file.ts'
import { PromptVideo, type VideoReading } from './videos.ts'

/** The attachments of a request, in the order of the request. */
export class PromptAttachments {
  readonly #files: readonly PromptFile[]
  /** Videos whose number of frames the request leaves open. */
  readonly #open: readonly PromptVideo[]

  /** @param loaded in the order of `sources` */
  constructor(loaded: readonly Loaded[], sources: readonly Attachment[], reading: VideoReading) {
    this.#files = loaded.map((file, index) => {
      const source = sources[index]
      if (source === undefined) throw new Error('more was loaded than was sent')
      if (file.kind === 'image') return new PromptImages(file, source)
      return file.kind === 'audio' ? new PromptAudio(file, source) : new PromptVideo(file, source, reading)
    })
    this.#open = this.#files.filter((file): file is PromptVideo => file instanceof PromptVideo && file.isOpen)
  }

  /** What stands in the prompt for an attachment. */
  pieces(index: number): readonly PromptPiece[] {
    return this.#file(index).pieces
  }

  /** An attachment in a prompt that is shown as text. */
  text(index: number): string {
    return this.#file(index).text
  }

  /** Whether any of these parts is a video whose number of frames the request leaves open. */
  haveOpen(parts: readonly (PlainPart | ContentPart)[]): boolean {
    return parts.some(
      (part) => 'attachment' in part && this.#open.some((video) => video === this.#file(part.attachment)),
    )
  }

  /** The most frames of a video whose number the request leaves open. */
  get mostFrames(): number {
    return Math.max(0, ...this.#open.map(({ frames }) => frames.length))
  }

  /** Takes fewer frames of videos whose number the request leaves open, evenly: `most` of each. */
  takeFrames(most: number): void {
    for (const video of this.#open) video.take(most)
  }

  /** Frees the frames that are not in the prompt. */
  letGoOfOthers(): void {
    for (const video of this.#open) video.letGoOfOthers()
  }

  /** @param each tokens of each piece, in the order of the prompt */
  tokens(prompt: readonly PromptPiece[], each: readonly number[]): Tokens {
    const parts = this.#told(prompt, each).map(([file, told]) => file.tokens(told))
    return {
      imageTokens: parts.flatMap(({ imageTokens = [] }) => imageTokens),
      videoTokens: parts.flatMap(({ videoTokens = [] }) => videoTokens),
      audioTokens: parts.flatMap(({ audioTokens = [] }) => audioTokens),
    }
  }

  /** Of all attachments that are in the prompt, whose oldest turns may have been dropped. */
  answered(prompt: readonly PromptPiece[], each: readonly number[], works: readonly AttachmentWork[]): Answered {
    const parts = this.#told(prompt, each, works).map(([file, told]) => file.answered(told))
    return {
      images: parts.flatMap(({ images = [] }) => images),
      videos: parts.flatMap(({ videos = [] }) => videos),
      audio: parts.flatMap(({ audio = [] }) => audio),
    }
  }

  /** Counts each attachment by itself. */
  async counts(count: (pieces: readonly PromptPiece[]) => Promise<PromptCount>): Promise<AttachmentCount[]> {
    const pieces = this.#files.flatMap((file) => file.pieces)
    const told = new Map(this.#told(pieces, (await count(pieces)).attachmentTokens))
    return this.#files.map((file, attachment) => ({ attachment, ...file.counted(told.get(file) ?? []) }))
  }

  #file(index: number): PromptFile {
    const file = this.#files[index]
    if (file === undefined) throw new Error('the layout names an attachment that does not exist')
    return file
  }

  /** The pieces of each file in the prompt, in its order. */
  #told(
    prompt: readonly PromptPiece[],
    each: readonly number[],
    works: readonly AttachmentWork[] = [],
  ): [PromptFile, Told[]][] {
    const owners = new Map(this.#files.flatMap((file) => file.pieces.map((piece) => [piece, file] as const)))
    const told = new Map<PromptFile, Told[]>()
    const pieces = prompt.filter((piece) => piece.kind === 'image' || piece.kind === 'audio')
    for (const [at, piece] of pieces.entries()) {
      const owner = owners.get(piece)
      if (owner === undefined) continue
      const own = told.get(owner) ?? []
      told.set(owner, own)
      own.push({ piece, tokens: each[at] ?? 0, work: works[at] })
    }
    return [...told]
  }
}
