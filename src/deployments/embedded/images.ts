import type { ImageAttachment, PromptPiece } from '../../engine/index.ts'
import type { Image, Loaded } from '../../media/index.ts'
import type { Ask, Attachment } from '../ask.ts'
import type { PromptImage } from './answer-events.ts'

/** An image as a piece of a prompt. */
export function imagePiece(pixels: Image, { detail, bounds }: Pick<Attachment, 'detail' | 'bounds'>): ImageAttachment {
  const { width, height, hash } = pixels
  return { kind: 'image', width, height, hash, detail, bounds, pixels }
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
  const files = new Map<object, (tokens: number) => PromptImage>(
    loaded.flatMap((file, index) => {
      const param = attachments[index]?.param ?? ''
      return file.images.map((image) => {
        const { page, original } = image
        const sent = (tokens: number): PromptImage => ({
          ...{ param, page, ...original, tokens, fetchMs: file.fetchMs },
          // It may be decoded only when the engine asks for its pixels.
          get decodeMs() {
            return file.decodeMs
          },
        })
        return [image, sent] as const
      })
    }),
  )
  const pixels = pieces.flatMap((piece) => (piece.kind === 'image' ? [piece.pixels] : []))
  return pixels.flatMap((image, at) => files.get(image)?.(tokens[at] ?? 0) ?? [])
}
