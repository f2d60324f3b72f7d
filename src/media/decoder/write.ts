import sharp from 'sharp'
import type { ImageFile, Size } from './protocol.ts'

/** The size of a PNG above which an image is written as JPEG, which is not exact, in bytes. */
const mostExact = 1_000_000

/** Writes an image as a file: PNG, or JPEG if that would be large. @param rgb `[height, width, 3]` */
export async function writeImage({ width, height }: Size, rgb: Uint8Array): Promise<ImageFile> {
  const image = () => sharp(rgb, { limitInputPixels: false, raw: { width, height, channels: 3 } })
  const png = await image().png().toBuffer()
  if (png.length <= mostExact) return { format: 'png', bytes: png }
  return { format: 'jpeg', bytes: await image().jpeg({ quality: 90 }).toBuffer() }
}
