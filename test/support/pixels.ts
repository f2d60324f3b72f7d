import type { ImageAttachment } from '../../src/engine/index.ts'
import { asImages, type Image, type Loaded, type LoadedImages } from '../../src/media/index.ts'

/** Pixels that are decoded. */
export const pixels = (rgb: Uint8Array, letGo = () => {}) =>
  ({ rgb, decode: async () => rgb, letGo }) satisfies ImageAttachment['pixels']

export interface Decoded extends Omit<LoadedImages, 'images'> {
  images: (Image & { rgb: Uint8Array })[]
}

/** A file that had to be decoded. */
export function decoded(loaded: Loaded): Decoded {
  const { images, ...file } = asImages(loaded)
  const isDecoded = (image: Image): image is Image & { rgb: Uint8Array } => image.rgb !== null
  if (!images.every(isDecoded)) throw new Error('an image was not decoded')
  return { ...file, images: [...images] }
}
