import type { ImageAttachment, PromptPiece } from '../../engine/index.ts'
import type { Image, Loaded } from '../../media/index.ts'
import type { Ask, Attachment } from '../ask.ts'
import type { PromptImage } from './answer-events.ts'

/** An image as a piece of a prompt. */
export function imagePiece(pixels: Image, detail: Attachment['detail']): ImageAttachment {
  const { width, height, hash } = pixels
  return { kind: 'image', width, height, hash, detail, pixels }
}

/**
 * The images of a prompt in its order, which need not have all that were loaded: the oldest turns may have been dropped.
 * @param tokens of each image
 */
export function imagesIn(
  pieces: readonly PromptPiece[],
  loaded: readonly Loaded[],
  { attachments }: Pick<Ask, 'attachments'>,
  tokens: readonly number[],
): PromptImage[] {
  const files = new Map<object, Omit<PromptImage, 'tokens'>>(
    loaded.flatMap(({ images, fetchMs, decodeMs }, index) => {
      const param = attachments[index]?.param ?? ''
      return images.map((image) => [image, { param, page: image.page, ...image.original, fetchMs, decodeMs }] as const)
    }),
  )
  const pixels = pieces.flatMap((piece) => (piece.kind === 'image' ? [piece.pixels] : []))
  return pixels.flatMap((image, at) => {
    const file = files.get(image)
    return file === undefined ? [] : { ...file, tokens: tokens[at] ?? 0 }
  })
}
