import { OrielError } from '../../errors.ts'
import type { ImageFormat } from '../format.ts'

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
  const pages = format === 'gif' ? gifFrames(bytes) : format === 'webp' ? webpFrames(bytes) : tiffPages(format, bytes)
  let count = 0
  for (const _ of pages) checkPages(++count)
  return Math.max(1, count)
}

/** Blocks of GIF89a: extensions begin with 0x21, frames with 0x2c; both end with sub-blocks, the last of them empty. */
function* gifFrames(bytes: Buffer): Generator<void> {
  const table = (flags: number): number => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0)
  const subBlocks = (from: number): number => {
    let at = from
    for (let size = bytes[at]; size !== undefined && size > 0; size = bytes[at]) at += size + 1
    return at + 1
  }
  let at = 13 + table(bytes[10] ?? 0)
  for (let kind = bytes[at]; kind === 0x21 || kind === 0x2c; kind = bytes[at])
    if (kind === 0x21) at = subBlocks(at + 2)
    else {
      yield
      at = subBlocks(at + 11 + table(bytes[at + 9] ?? 0))
    }
}

/** RIFF chunks: each frame of an animation is an ANMF chunk. */
function* webpFrames(bytes: Buffer): Generator<void> {
  for (let at = 12; at + 8 <= bytes.length; ) {
    if (bytes.toString('latin1', at, at + 4) === 'ANMF') yield
    const size = bytes.readUInt32LE(at + 4)
    at += 8 + size + (size & 1)
  }
}

/** The chain of directories of TIFF 6 and BigTIFF. The count ends where the chain repeats a directory. */
function* tiffPages(format: ImageFormat, bytes: Buffer): Generator<void> {
  if (format !== 'tiff' || bytes.length < 16) return
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

/** The PNG chunks that affect pixels or colours. Others only cost time: a text chunk may inflate to gigabytes. */
const needed = new Set(['IHDR', 'PLTE', 'IDAT', 'IEND', 'tRNS', 'gAMA', 'cHRM', 'sRGB', 'iCCP', 'cICP', 'sBIT', 'eXIf'])

/** Removes the other chunks from a PNG. In a damaged file, chunks are removed up to the damage. */
export function withoutExtraChunks(bytes: Buffer): Buffer {
  const kept = [bytes.subarray(0, 8)]
  let from = 8
  let at = 8
  while (at + 12 <= bytes.length) {
    const next = at + 12 + bytes.readUInt32BE(at)
    if (!needed.has(bytes.toString('latin1', at + 4, at + 8))) {
      if (at > from) kept.push(bytes.subarray(from, at))
      from = next
    }
    at = next
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
