import { endOfGifHead, gifBlocks, pngBlocks, pngPixelChunks, webpBlocks } from './blocks.ts'

/**
 * Files without what does not show: where and by whom a picture was taken, its previews, comments, and whatever follows its
 * end, such as the rest of a picture that was cropped. Nothing is decoded.
 */

/** A range of bytes that is kept. */
type Span = readonly [from: number, to: number]

/** @returns null if the structure is damaged, or none that every reader knows: then the file has to be written anew */
export function bareFile(format: string, bytes: Buffer): Buffer | null {
  const spans = keepers[format]?.(bytes) ?? null
  if (spans === null) return null
  const bare = Buffer.concat(spans.map(([from, to]) => bytes.subarray(from, to)))
  return format === 'webp' ? relabelled(bare) : bare
}

const keepers: Readonly<Record<string, (bytes: Buffer) => Span[] | null>> = {
  png: keptOfPng,
  jpeg: keptOfJpeg,
  webp: keptOfWebp,
  gif: keptOfGif,
}

/** With the shape of the pixels. */
const pngChunks = new Set([...pngPixelChunks, 'pHYs'])

function keptOfPng(bytes: Buffer): Span[] | null {
  const kept: Span[] = [[0, 8]]
  for (const { type, at, end } of pngBlocks(bytes)) {
    if (end > bytes.length) return null
    if (pngChunks.has(type)) kept.push([at, end])
    if (type === 'IEND') return kept
  }
  return null
}

const [startOfScan, endOfImage] = [0xda, 0xd9]
/** Huffman coding, sequential or progressive. Arithmetic coding and what is rarer is read by few programs. */
const usualFrames = [0xc0, 0xc1, 0xc2]
const isFrame = (marker: number): boolean => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)

function keptOfJpeg(bytes: Buffer): Span[] | null {
  const kept: Span[] = [[0, 2]]
  let hasScan = false
  for (let at = 2; at + 4 <= bytes.length || hasScan; ) {
    const marker = bytes[at + 1]
    if (bytes[at] !== 0xff || marker === undefined) return null
    if (marker === 0xff) {
      at++
      continue
    }
    if (marker === endOfImage) return hasScan ? [...kept, [at, at + 2]] : null
    // Marks without data have no place between segments.
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd8) || at + 4 > bytes.length) return null
    if (isFrame(marker) && !usualFrames.includes(marker)) return null
    const next = at + 2 + bytes.readUInt16BE(at + 2)
    if (next > bytes.length) return null
    const to = marker === startOfScan ? endOfScan(bytes, next) : next
    if (to === null) return null
    hasScan ||= marker === startOfScan
    if (showsInJpeg(marker, bytes, at + 4)) kept.push([at, to])
    at = to
  }
  return null
}

/** Of the segments of applications: the label of a JPEG, its colour profile, and what its channels are. */
function showsInJpeg(marker: number, bytes: Buffer, data: number): boolean {
  const is = (name: string): boolean => bytes.toString('latin1', data, data + name.length) === name
  if (marker === 0xe0) return is('JFIF\0')
  if (marker === 0xe2) return is('ICC_PROFILE\0')
  if (marker === 0xee) return is('Adobe')
  return marker < 0xe0 || (marker > 0xef && marker !== 0xfe)
}

/** In the data of a scan 0xff is followed by 0 or the number of a restart; otherwise a segment begins. */
function endOfScan(bytes: Buffer, from: number): number | null {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at)) {
    const next = bytes[at + 1]
    if (next === undefined) return null
    if (next !== 0 && !(next >= 0xd0 && next <= 0xd7) && next !== 0xff) return at
    at += next === 0xff ? 1 : 2
  }
  return null
}

const webpChunks = new Set(['VP8 ', 'VP8L', 'VP8X', 'ALPH', 'ICCP'])

function keptOfWebp(bytes: Buffer): Span[] | null {
  const kept: Span[] = [[0, 12]]
  const length = Math.min(bytes.length, 8 + bytes.readUInt32LE(4))
  let hasImage = false
  for (const { type, at, end } of webpBlocks(bytes, length)) {
    if (end > length) return null
    hasImage ||= type === 'VP8 ' || type === 'VP8L'
    if (webpChunks.has(type)) kept.push([at, end])
  }
  return hasImage ? kept : null
}

/** Says in the header of a WebP what is left of it. */
function relabelled(webp: Buffer): Buffer {
  webp.writeUInt32LE(webp.length - 8, 4)
  // Two flags of the extended form: it has EXIF, it has XMP.
  if (webp.toString('latin1', 12, 16) === 'VP8X') webp[20] = (webp[20] ?? 0) & ~0x0c
  return webp
}

const frameControl = 0xf9

function keptOfGif(bytes: Buffer): Span[] | null {
  const kept: Span[] = [[0, endOfGifHead(bytes)]]
  for (const { type, at, end } of gifBlocks(bytes)) {
    if (type === 'unknown' || end > bytes.length) return null
    if (type !== 'extension' || bytes[at + 1] === frameControl) kept.push([at, end])
    if (type === 'trailer') return kept
  }
  return null
}
