import type { EngineAttachment, ImageAttachment } from '../../engine/index.ts'
import type { Image, LoadedImages } from '../../media/index.ts'
import type { Attachment } from '../ask.ts'
import type { PromptFile, Told } from './prompt-file.ts'

/** How an image is read. */
export type Reading = Pick<Attachment, 'detail' | 'bounds'>

/** An image as a piece of a prompt. */
export function imagePiece(pixels: Image, { detail, bounds }: Reading): ImageAttachment {
  const { width, height, hash } = pixels
  return { kind: 'image', width, height, hash, detail, bounds, pixels }
}

/** An image, or the pages of a document. */
export class PromptImages implements PromptFile {
  readonly pieces: readonly EngineAttachment[]
  readonly text: string
  readonly #file: LoadedImages
  readonly #source: Attachment

  constructor(file: LoadedImages, source: Attachment) {
    this.#file = file
    this.#source = source
    this.pieces = file.images.map((image) => imagePiece(image, source))
    this.text = '<image>'.repeat(file.images.length)
  }

  tokens(told: readonly Told[]) {
    return { imageTokens: told.map(({ tokens }) => tokens) }
  }

  counted(told: readonly Told[]) {
    const images = this.#of(told).map(([{ width, height }, { tokens }]) => ({ width, height, tokens }))
    return { kind: 'image', tokens: sumOf(told), images } as const
  }

  answered(told: readonly Told[]) {
    const { fetchMs, decodeMs } = this.#file
    const { param } = this.#source
    const images = this.#of(told).flatMap(([{ page, original }, { tokens, work }]) => {
      if (work?.kind !== 'image') return []
      const { kind: _, ...done } = work
      return [{ param, page, ...original, tokens, fetchMs, decodeMs, ...done }]
    })
    return { images }
  }

  #of(told: readonly Told[]): [Image, Told][] {
    return told.flatMap((one): [Image, Told][] => {
      const image = this.#file.images[this.pieces.indexOf(one.piece)]
      return image === undefined ? [] : [[image, one]]
    })
  }
}

export const sumOf = (told: readonly Told[]): number => told.reduce((sum, { tokens }) => sum + tokens, 0)
