import { OrielError } from '../../errors.ts'
import type { ImageFormat } from '../format.ts'
import { gifBlocks, pngBlocks, pngPixelChunks, webpBlocks } from './blocks.ts'

/** Reads the structure of files without decoding them, to count pages and to leave out what is expensive to decode. */

/** The limit for pages or frames in a file. Even counting more of them takes a decoder too long. */
export const maxPagesInFile = 5000

/** @throws OrielError `too_large` for more than `maxPagesInFile` */
export function checkPages(count: number): void {
  if (count > maxPagesInFile)
    throw new OrielError(
      'too_large',
      `The file has more than ${maxPagesInFile} pages or frames, the limit for one file.`,
      { code: 'image_too_large' },
    )
}

/**
 * Counts the pages or frames of a GIF, WebP or TIFF file.
 * @throws OrielError `too_large` for more than `maxPagesInFile`
 */
export function countPages(format: ImageFormat, bytes: Buffer): number {
  let count = 0
  for (const _ of pagesOf(format, bytes)) checkPages(++count)
  return Math.max(1, count)
}

/** Each frame of an animated WebP is an ANMF chunk. */
function* pagesOf(format: ImageFormat, bytes: Buffer): Generator<void> {
  if (format === 'gif') for (const { type } of gifBlocks(bytes)) if (type === 'frame') yield
  if (format === 'webp') for (const { type } of webpBlocks(bytes)) if (type === 'ANMF') yield
  if (format === 'tiff') yield* tiffPages(bytes)
}

/** The chain of directories of TIFF 6 and BigTIFF. The count ends where the chain repeats a directory. */
function* tiffPages(bytes: Buffer): Generator<void> {
  if (bytes.length < 16) return
  const little = bytes[0] === 0x49
  const short = (at: number): number => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at))
  const long = (at: number): number => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at))
  const huge = (at: number): number => Number(little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at))
  const big = short(2) === 43
  const seen = new Set<number>()
  let at = big ? huge(8) : long(4)
  while (at > 0 && !seen.has(at) && at + (big ? 8 : 2) <= bytes.length) {
    seen.add(at)
    yield
    const next = big ? at + 8 + huge(at) * 20 : at + 2 + short(at) * 12
    if (next + (big ? 8 : 4) > bytes.length) return
    at = big ? huge(next) : long(next)
  }
}

/** Other chunks of a PNG only cost time: a text chunk may inflate to gigabytes. */
const needed = new Set([...pngPixelChunks, 'eXIf'])

/** Removes the other chunks from a PNG. In a damaged file, chunks are removed up to the damage. */
export function withoutExtraChunks(bytes: Buffer): Buffer {
  const kept = [bytes.subarray(0, 8)]
  let from = 8
  for (const { type, at, end } of pngBlocks(bytes)) {
    if (needed.has(type)) continue
    if (at > from) kept.push(bytes.subarray(from, at))
    from = end
  }
  if (from === 8) return bytes
  kept.push(bytes.subarray(from))
  return Buffer.concat(kept)
}

/** Labels an AVIF sequence as a still image, which it begins with: libvips reads only the brand of still images. */
export function asStill(bytes: Buffer): Buffer {
  if (bytes.toString('latin1', 8, 12) === 'avif') return bytes
  const still = Buffer.from(bytes)
  still.write('avif', 8, 'latin1')
  return still
}
