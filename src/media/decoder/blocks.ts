/** The blocks of which image files consist: chunks of PNG and WebP, extensions and frames of GIF. */

/** It ends before `end`, which is behind the end of a file that is cut. */
export interface Block {
  readonly type: string
  readonly at: number
  readonly end: number
}

/** Chunks that affect the pixels of a PNG, or their colours. */
export const pngPixelChunks = ['IHDR', 'PLTE', 'IDAT', 'IEND', 'tRNS', 'gAMA', 'cHRM', 'sRGB', 'iCCP', 'cICP', 'sBIT']

/** Each has its length before its type, and a check sum behind its data. */
export function* pngBlocks(bytes: Buffer): Generator<Block> {
  for (let at = 8; at + 12 <= bytes.length; ) {
    const end = at + 12 + bytes.readUInt32BE(at)
    yield { type: bytes.toString('latin1', at + 4, at + 8), at, end }
    at = end
  }
}

/** Chunks of RIFF, of an even length. @param length of the file, as its header has it */
export function* webpBlocks(bytes: Buffer, length = bytes.length): Generator<Block> {
  for (let at = 12; at + 8 <= length; ) {
    const size = bytes.readUInt32LE(at + 4)
    const end = at + 8 + size + (size & 1)
    yield { type: bytes.toString('latin1', at, at + 4), at, end }
    at = end
  }
}

const gifTypes: Readonly<Record<number, string>> = { 33: 'extension', 44: 'frame', 59: 'trailer' }

/** Blocks of GIF89a. Extensions and frames end with sub-blocks, the last of them empty. After another one it cannot go on. */
export function* gifBlocks(bytes: Buffer): Generator<Block> {
  const endOfSubBlocks = (from: number): number => {
    let at = from
    for (let size = bytes[at]; size !== undefined && size > 0; size = bytes[at]) at += size + 1
    return at + 1
  }
  for (let at = endOfGifHead(bytes); at < bytes.length; ) {
    const type = gifTypes[bytes[at] ?? 0] ?? 'unknown'
    if (type === 'trailer' || type === 'unknown') return yield { type, at, end: at + 1 }
    const end = endOfSubBlocks(type === 'extension' ? at + 2 : at + 11 + colorTableBytes(bytes[at + 9] ?? 0))
    yield { type, at, end }
    at = end
  }
}

/** Where the first block begins. */
export const endOfGifHead = (bytes: Buffer): number => 13 + colorTableBytes(bytes[10] ?? 0)

const colorTableBytes = (flags: number): number => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0)
