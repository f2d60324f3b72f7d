import sharp, { type Sharp } from 'sharp'
import type { ImageFile, Size } from './protocol.ts'

/** The size of a PNG above which an image is written as JPEG, which is not exact, in bytes. */
const mostExact = 1_000_000

/** Writes an image as a file: PNG, or JPEG if that would be large. @param rgb `[height, width, 3]` */
export async function writeImage(size: Size, rgb: Uint8Array): Promise<ImageFile> {
  const png = await pixels(size, rgb).png().toBuffer()
  if (png.length <= mostExact) return { format: 'png', bytes: png }
  return { format: 'jpeg', bytes: await pixels(size, rgb).jpeg({ quality: 90 }).toBuffer() }
}

/**
 * Writes an image for a program that reads no more than so many bytes: exactly if it is drawn, such as a screenshot or a page,
 * as JPEG if it is a photograph, which is five times smaller. If it is still too large, it loses quality first, then pixels.
 */
export async function writeWithin(
  { width, height, rgb }: Size & { readonly rgb: Uint8Array },
  mostBytes: number,
): Promise<WrittenFile> {
  const size = { width, height }
  if (isDrawn(size, rgb)) {
    const png = await pixels(size, rgb).png().toBuffer()
    if (png.length <= mostBytes) return { format: 'png', bytes: png }
  }
  let bytes = await jpeg(pixels(size, rgb), finest)
  if (bytes.length > mostBytes) bytes = await jpeg(pixels(size, rgb), coarsest)
  for (let edge = Math.max(width, height); bytes.length > mostBytes && edge > leastEdge; ) {
    // A little more than in proportion, since fine detail takes most bytes.
    edge = Math.max(leastEdge, Math.floor(edge * Math.min(0.9, 0.95 * Math.sqrt(mostBytes / bytes.length))))
    bytes = await jpeg(pixels(size, rgb).resize(edge, edge, { fit: 'inside', kernel: 'cubic' }), coarsest)
  }
  return { format: 'jpeg', bytes }
}

interface WrittenFile extends ImageFile {
  readonly bytes: Buffer
}

/** Quality of JPEG. At the finer one letters on a photograph keep their edges. */
const [finest, coarsest] = [92, 80]
/** No image is shrunk further, in pixels. */
const leastEdge = 64
/** Images of fewer pixels are always written exactly. */
const fewPixels = 65_536
/** Rows of which one is looked at. */
const rowsApart = 7

/** Whether most pixels equal their left neighbours, as no camera takes them. */
function isDrawn({ width, height }: Size, rgb: Uint8Array): boolean {
  if (width * height <= fewPixels) return true
  let [same, seen] = [0, 0]
  for (let y = 0; y < height; y += rowsApart)
    for (let at = (y * width + 1) * 3, end = (y + 1) * width * 3; at < end; at += 3) {
      seen++
      if (rgb[at] === rgb[at - 3] && rgb[at + 1] === rgb[at - 2] && rgb[at + 2] === rgb[at - 1]) same++
    }
  return same > seen / 2
}

export const jpeg = (image: Sharp, quality: number): Promise<Buffer> =>
  image.jpeg({ quality, chromaSubsampling: quality === finest ? '4:4:4' : '4:2:0' }).toBuffer()

const pixels = ({ width, height }: Size, rgb: Uint8Array): Sharp =>
  sharp(rgb, { limitInputPixels: false, raw: { width, height, channels: 3 } })
