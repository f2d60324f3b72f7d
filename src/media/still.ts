import { OrielError } from '../errors.ts'
import { pngBlocks } from './decoder/blocks.ts'
import { decodeDataUrl } from './decoder/data-url.ts'
import { sniffImage } from './format.ts'

/** A picture as PNG or JPEG, of which the header is known. */
export interface Still {
  readonly format: 'png' | 'jpeg'
  /** Pixels, before the picture is turned as its metadata say. */
  readonly width: number
  readonly height: number
  readonly bytes: Buffer
}

/**
 * Reads the header of a PNG or JPEG, and looks whether the file is whole. Nothing is decoded, so it may be asked outside of
 * a decoder process.
 * @param url a `data:` URL, or base64
 * @throws OrielError `invalid` for malformed base64; `unsupported_media` for another format; `unreadable_media`
 */
export const stillOfUrl = (url: string): Still => stillOf(decodeDataUrl(url, 'image'))

/** The same for the bytes of a file. */
export function stillOf(bytes: Buffer): Still {
  const sniffed = sniffImage(bytes)
  const format = sniffed.known ? sniffed.format : null
  if (format !== 'png' && format !== 'jpeg')
    throw new OrielError(
      'unsupported_media',
      `The image is ${sniffed.known ? format : sniffed.looksLike}; PNG and JPEG are allowed.`,
      { code: 'unsupported_image' },
    )
  const size = format === 'png' ? sizeOfPng(bytes) : sizeOfJpeg(bytes)
  if (size === null || size.width === 0 || size.height === 0)
    throw new OrielError(
      'unreadable_media',
      `The image cannot be decoded: its ${format} data is damaged or incomplete.`,
      {
        code: 'invalid_image',
      },
    )
  return { format, ...size, bytes }
}

type Size = Pick<Still, 'width' | 'height'>

/** @returns null if its header is missing, or its end */
function sizeOfPng(bytes: Buffer): Size | null {
  let size: Size | null = null
  let hasPixels = false
  for (const { type, at, end } of pngBlocks(bytes)) {
    if (end > bytes.length || (size === null && type !== 'IHDR')) return null
    if (type === 'IHDR') {
      if (end - at !== 12 + 13) return null
      size = { width: bytes.readUInt32BE(at + 8), height: bytes.readUInt32BE(at + 12) }
    }
    hasPixels ||= type === 'IDAT'
    if (type === 'IEND') return hasPixels ? size : null
  }
  return null
}

const startOfScan = 0xda
const endOfImage = Buffer.from([0xff, 0xd9])
const isFrame = (marker: number): boolean => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)

/** @returns null if its header is missing, or its end */
function sizeOfJpeg(bytes: Buffer): Size | null {
  let size: Size | null = null
  for (let at = 2; at + 4 <= bytes.length; ) {
    const marker = bytes[at + 1] ?? 0
    if (bytes[at] !== 0xff) return null
    if (marker === 0xff) {
      at++
      continue
    }
    const end = at + 2 + bytes.readUInt16BE(at + 2)
    if (marker < 0xc0 || end > bytes.length) return null
    if (isFrame(marker)) {
      if (end - at < 9) return null
      size = { width: bytes.readUInt16BE(at + 7), height: bytes.readUInt16BE(at + 5) }
    }
    if (marker === startOfScan) return bytes.lastIndexOf(endOfImage) >= end ? size : null
    at = end
  }
  return null
}
