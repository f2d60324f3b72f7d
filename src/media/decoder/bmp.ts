import { type OpenFile, type Raster, singleImage } from './opened-file.ts'
import { finishRaster } from './raster.ts'

/** BMP with every header from BITMAPCOREHEADER to BITMAPV5HEADER, and both run-length encodings. */
export const openBmp: OpenFile = async (bytes) => {
  const header = readHeader(bytes)
  const { width, height } = header
  return singleImage({ width, height }, async () => decode(bytes, header), finishRaster)
}

interface BmpHeader {
  width: number
  height: number
  topDown: boolean
  bits: number
  encoding: 'plain' | 'rle4' | 'rle8' | 'masks'
  /** Red, green, blue, alpha; 0 for a missing channel. */
  masks: readonly [number, number, number, number]
  /** RGB of each index. */
  palette: Uint8Array
  pixelsAt: number
}

const damaged = (why: string): Error => new Error(`bmp: ${why}`)

function readHeader(bytes: Buffer): BmpHeader {
  const headerBytes = bytes.readUInt32LE(14)
  const core = headerBytes === 12
  const width = core ? bytes.readUInt16LE(18) : bytes.readInt32LE(18)
  const signedHeight = core ? bytes.readUInt16LE(20) : bytes.readInt32LE(22)
  const bits = bytes.readUInt16LE(core ? 24 : 28)
  const compression = core || headerBytes < 20 ? 0 : bytes.readUInt32LE(30)
  const height = Math.abs(signedHeight)
  if (width <= 0 || height === 0) throw damaged('no size')
  if (![1, 2, 4, 8, 16, 24, 32].includes(bits)) throw damaged('bits')
  const encoding = encodingOf(compression, bits)
  const masks = masksOf(bytes, headerBytes, encoding === 'masks', bits, compression)
  const maskBytes = encoding === 'masks' && headerBytes === 40 ? (compression === 6 ? 16 : 12) : 0
  const pixelsAt = bytes.readUInt32LE(10)
  const colours = core || headerBytes < 36 ? 0 : bytes.readUInt32LE(46)
  const palette = paletteOf(bytes, 14 + headerBytes + maskBytes, pixelsAt, bits, core ? 3 : 4, colours)
  return { width, height, topDown: signedHeight < 0, bits, encoding, masks, palette, pixelsAt }
}

function encodingOf(compression: number, bits: number): BmpHeader['encoding'] {
  if (compression === 0) return 'plain'
  if (compression === 1 && bits === 8) return 'rle8'
  if (compression === 2 && bits === 4) return 'rle4'
  if ((compression === 3 || compression === 6) && (bits === 16 || bits === 32)) return 'masks'
  throw damaged('compression')
}

function masksOf(
  bytes: Buffer,
  headerBytes: number,
  given: boolean,
  bits: number,
  compression: number,
): BmpHeader['masks'] {
  if (!given) return bits === 16 ? [0x7c00, 0x3e0, 0x1f, 0] : [0xff0000, 0xff00, 0xff, 0]
  const at = (index: number): number => bytes.readUInt32LE(54 + index * 4)
  return [at(0), at(1), at(2), headerBytes >= 56 || compression === 6 ? at(3) : 0]
}

function paletteOf(bytes: Buffer, at: number, end: number, bits: number, entry: number, colours: number): Uint8Array {
  if (bits > 8) return new Uint8Array(0)
  const available = Math.floor((Math.min(end, bytes.length) - at) / entry)
  const count = Math.min(colours || 2 ** bits, 2 ** bits, Math.max(0, available))
  // An index beyond the palette is black, as in other decoders.
  const palette = new Uint8Array(2 ** bits * 3)
  for (let i = 0; i < count; i++)
    for (let c = 0; c < 3; c++) palette[i * 3 + c] = bytes.readUInt8(at + i * entry + 2 - c)
  return palette
}

function decode(bytes: Buffer, header: BmpHeader): Raster {
  if (header.encoding === 'rle4' || header.encoding === 'rle8') return indexed(header, runLength(bytes, header))
  const { width, height, bits } = header
  const stride = Math.ceil((width * bits) / 32) * 4
  if (header.pixelsAt + stride * height > bytes.length) throw damaged('incomplete')
  if (bits <= 8) return indexed(header, unpack(bytes, header, stride))
  return masked(bytes, header, stride)
}

/** The row of the file that contains row `y` of the image. */
const fileRow = ({ topDown, height }: BmpHeader, y: number): number => (topDown ? y : height - 1 - y)

function unpack(bytes: Buffer, header: BmpHeader, stride: number): Uint8Array {
  const { width, height, bits, pixelsAt } = header
  const indices = new Uint8Array(width * height)
  const perByte = 8 / bits
  const mask = 2 ** bits - 1
  for (let y = 0, to = 0; y < height; y++) {
    const row = pixelsAt + fileRow(header, y) * stride
    for (let x = 0; x < width; x++) {
      const byte = bytes[row + Math.floor(x / perByte)] ?? 0
      indices[to++] = (byte >> (8 - bits - (x % perByte) * bits)) & mask
    }
  }
  return indices
}

/** Codes of two bytes: a count and an index, or 0 and an escape code. Skipped pixels have index 0. */
function runLength(bytes: Buffer, header: BmpHeader): Uint8Array {
  const { width, height, encoding } = header
  const indices = new Uint8Array(width * height)
  const nibbles = encoding === 'rle4'
  let [x, y, at] = [0, 0, header.pixelsAt]
  const put = (index: number): void => {
    if (x < width && y < height) indices[fileRow(header, y) * width + x] = index
    x++
  }
  const nth = (byte: number, i: number): number => (nibbles ? (i & 1 ? byte & 15 : byte >> 4) : byte)
  while (at + 2 <= bytes.length) {
    const [count, code] = [bytes.readUInt8(at), bytes.readUInt8(at + 1)]
    at += 2
    if (count > 0) for (let i = 0; i < count; i++) put(nth(code, i))
    else if (code === 0) [x, y] = [0, y + 1]
    else if (code === 1) return indices
    else if (code === 2) {
      x += bytes.readUInt8(at)
      y += bytes.readUInt8(at + 1)
      at += 2
    } else {
      const length = nibbles ? Math.ceil(code / 2) : code
      if (at + length > bytes.length) break
      for (let i = 0; i < code; i++) put(nth(bytes.readUInt8(at + (nibbles ? i >> 1 : i)), i))
      at += length + (length & 1)
    }
  }
  if (y < height - 1) throw damaged('incomplete')
  return indices
}

function indexed({ width, height, palette }: BmpHeader, indices: Uint8Array): Raster {
  const data = new Uint8Array(width * height * 3)
  for (let i = 0, to = 0; i < indices.length; i++) {
    const from = (indices[i] ?? 0) * 3
    data[to++] = palette[from] ?? 0
    data[to++] = palette[from + 1] ?? 0
    data[to++] = palette[from + 2] ?? 0
  }
  return { width, height, channels: 3, data }
}

function masked(bytes: Buffer, header: BmpHeader, stride: number): Raster {
  const { width, height, pixelsAt, bits } = header
  const channels = header.masks.map(channelOf)
  const pixelBytes = bits / 8
  const data = new Uint8Array(width * height * 4)
  let opaque = 0
  for (let y = 0, to = 0; y < height; y++) {
    const row = pixelsAt + fileRow(header, y) * stride
    for (let x = 0; x < width; x++) {
      const pixel = bytes.readUIntLE(row + x * pixelBytes, pixelBytes)
      for (const { shift, max } of channels)
        data[to++] = max === 0 ? 255 : Math.round((((pixel >>> shift) & max) * 255) / max)
      opaque |= data[to - 1] ?? 0
    }
  }
  // Many programs declare an alpha mask and leave the channel zero. A fully transparent image is then meant to be opaque.
  if (opaque === 0) for (let at = 3; at < data.length; at += 4) data[at] = 255
  return { width, height, channels: 4, data }
}

function channelOf(mask: number): { shift: number; max: number } {
  if (mask === 0) return { shift: 0, max: 0 }
  const shift = 31 - Math.clz32(mask & -mask)
  return { shift, max: mask >>> shift }
}
