import { createHash } from 'node:crypto'
import sharp from 'sharp'
import type { MediaConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { sniff } from './format.ts'
import type { Picture } from './picture.ts'

const formats = 'png, jpeg, gif, tiff, webp and avif'

// A buffer that says it is SVG may name files and take minutes; nothing here ever needs it.
sharp.block({ operation: ['VipsForeignLoadSvg'] })
// Every picture is new, so libvips' own cache would only hold memory.
sharp.cache(false)

/**
 * Decodes a file of any known format, upright, on white, as sRGB. Runs on libvips' threads.
 * @param longestEdge no more than twice this, in pixels, comes back: what no model looks at need not travel
 * @throws OrielError `unsupported_media`, `unreadable_media`, `too_large`
 */
export async function decode(
  bytes: Buffer,
  config: MediaConfig,
  longestEdge: number,
): Promise<Omit<Picture, 'original' | 'page'>> {
  const format = sniff(bytes)
  if (!['png', 'jpeg', 'gif', 'tiff', 'webp', 'avif'].includes(format)) {
    const found = format === 'unknown' ? 'of no kind that is known' : `${format.toUpperCase()}`
    throw new OrielError(
      'unsupported_media',
      `The picture cannot be read: its data is ${found}, and ${formats} are read.`,
      {
        code: 'unsupported_image',
      },
    )
  }
  try {
    const source = sharp(bytes, { failOn: 'truncated', limitInputPixels: false, sequentialRead: true })
    const { width, height } = await source.metadata()
    if (width * height > config.maxPixels)
      throw new OrielError(
        'too_large',
        `The picture is too large: ${width} x ${height} pixels, and a picture may have ${config.maxPixels} pixels in all.`,
        { code: 'image_too_large' },
      )
    let upright = source.autoOrient()
    if (Math.max(width, height) > 2 * longestEdge)
      upright = upright.resize(2 * longestEdge, 2 * longestEdge, { fit: 'inside', kernel: 'cubic' })
    const { data, info } = await upright
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    return { width: info.width, height: info.height, rgb: data, hash: hashOf(data, info.width, info.height) }
  } catch (error) {
    if (error instanceof OrielError) throw error
    throw new OrielError(
      'unreadable_media',
      `The picture cannot be decoded: its ${format} data is damaged or not complete.`,
      {
        code: 'invalid_image',
        cause: error,
      },
    )
  }
}

function hashOf(rgb: Uint8Array, width: number, height: number): string {
  return createHash('sha1').update(`${width}x${height}x3 `).update(rgb).digest('base64')
}
