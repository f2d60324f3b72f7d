import sharp from 'sharp'
import { pngBlocks, pngPixelChunks } from './blocks.ts'
import type { Raster } from './opened-file.ts'

/** An animated PNG (third edition of the PNG specification). libvips reads only the first image of such a file. */
export interface Animation {
  readonly width: number
  readonly height: number
  /** The chunks before the first frame's data that affect pixels: the PNG of each frame begins with them. */
  readonly head: readonly Chunk[]
  readonly frames: readonly AnimationFrame[]
}

interface Chunk {
  readonly type: string
  readonly data: Buffer
}

interface AnimationFrame {
  readonly width: number
  readonly height: number
  readonly left: number
  readonly top: number
  /** What happens to the frame's area before the next frame is drawn. */
  readonly dispose: 'keep' | 'clear' | 'restore'
  readonly blend: 'replace' | 'over'
  readonly data: Buffer[]
}

/** Other chunks would be copied into each frame, and a text may inflate to gigabytes. */
const shown = new Set(pngPixelChunks)

/** @param maxFrames reading stops after one frame more. @returns undefined for a PNG that is not animated */
export function readAnimation(bytes: Buffer, maxFrames: number): Animation | undefined {
  const head: Chunk[] = []
  const frames: AnimationFrame[] = []
  let announced = false
  for (const { type, at, end } of pngBlocks(bytes)) {
    const data = bytes.subarray(at + 8, end - 4)
    if (type === 'acTL') announced = true
    else if (type === 'fcTL') {
      if (!announced || frames.length > maxFrames) break
      frames.push(frameOf(data))
    } else if (type === 'IDAT') {
      if (!announced) return undefined
      frames.at(-1)?.data.push(data)
    } else if (type === 'fdAT') frames.at(-1)?.data.push(data.subarray(4))
    else if (shown.has(type) && frames.every((frame) => frame.data.length === 0)) head.push({ type, data })
  }
  const [first] = head
  if (first?.type !== 'IHDR' || frames.length === 0) return undefined
  const [width, height] = [first.data.readUInt32BE(0), first.data.readUInt32BE(4)]
  const fits = frames.every((frame) => frame.left + frame.width <= width && frame.top + frame.height <= height)
  return fits ? { width, height, head, frames } : undefined
}

/** Yields the canvas after each frame up to `last`, always in the same memory. */
export async function* playAnimation({ width, height, head, frames }: Animation, last: number): AsyncGenerator<Raster> {
  const canvas = Buffer.alloc(width * height * 4)
  for (const frame of frames.slice(0, last + 1)) {
    const rows = rowsOf(frame, width)
    const before = frame.dispose === 'restore' ? rows.map(([at, end]) => Buffer.from(canvas.subarray(at, end))) : []
    const pixels = await sharp(pngOf(head, frame), { limitInputPixels: false, failOn: 'error' })
      .toColourspace('srgb')
      .ensureAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer()
    for (const [row, [at, end]] of rows.entries()) {
      const drawn = pixels.subarray(row * frame.width * 4, (row + 1) * frame.width * 4)
      if (frame.blend === 'replace') drawn.copy(canvas, at)
      else blendOver(canvas.subarray(at, end), drawn)
    }
    yield { width, height, channels: 4, data: canvas }
    for (const [row, [at, end]] of rows.entries())
      if (frame.dispose === 'clear') canvas.fill(0, at, end)
      else before[row]?.copy(canvas, at)
  }
}

const frameOf = (data: Buffer): AnimationFrame => ({
  width: data.readUInt32BE(4),
  height: data.readUInt32BE(8),
  left: data.readUInt32BE(12),
  top: data.readUInt32BE(16),
  dispose: (['keep', 'clear', 'restore'] as const)[data.readUInt8(24)] ?? 'keep',
  blend: data.readUInt8(25) === 1 ? 'over' : 'replace',
  data: [],
})

/** The byte range on the canvas of each row of a frame. */
const rowsOf = ({ width, height, left, top }: AnimationFrame, stride: number): [at: number, end: number][] =>
  Array.from({ length: height }, (_, row) => {
    const at = ((top + row) * stride + left) * 4
    return [at, at + width * 4]
  })

/** A frame as a separate PNG. */
function pngOf(head: readonly Chunk[], { width, height, data }: AnimationFrame): Buffer {
  const pieces: Buffer[] = [Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')]
  for (const chunk of head) {
    const own = Buffer.from(chunk.data)
    if (chunk.type === 'IHDR') {
      own.writeUInt32BE(width, 0)
      own.writeUInt32BE(height, 4)
    }
    pieces.push(chunkOf(chunk.type, own))
  }
  pieces.push(chunkOf('IDAT', Buffer.concat(data)), chunkOf('IEND', Buffer.alloc(0)))
  return Buffer.concat(pieces)
}

/** Length, type, data and checksum of a PNG chunk. */
function chunkOf(type: string, data: Buffer): Buffer {
  const chunk = Buffer.alloc(data.length + 12)
  chunk.writeUInt32BE(data.length)
  chunk.write(type, 4, 'latin1')
  data.copy(chunk, 8)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), data.length + 8)
  return chunk
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1
  return value
})

/** Node has `zlib.crc32` only from 20.15 on. */
function crc32(bytes: Buffer): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (crcTable[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}

/** Porter and Duff's "over" operator, for alpha that is not premultiplied. */
function blendOver(below: Buffer, above: Buffer): void {
  for (let at = 0; at < above.length; at += 4) {
    const [a, b] = [(above[at + 3] ?? 0) / 255, (below[at + 3] ?? 0) / 255]
    const alpha = a + b * (1 - a)
    if (alpha === 0) continue
    for (let channel = at; channel < at + 3; channel++)
      below[channel] = Math.round(((above[channel] ?? 0) * a + (below[channel] ?? 0) * b * (1 - a)) / alpha)
    below[at + 3] = Math.round(alpha * 255)
  }
}
