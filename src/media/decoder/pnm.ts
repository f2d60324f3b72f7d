import { type OpenFile, type Raster, singleImage } from './opened-file.ts'
import { finishRaster } from './raster.ts'

/** PBM, PGM and PPM, in text and binary, and PAM, as Netpbm's manuals describe them. Only the first image is read. */
export const openPnm: OpenFile = async (bytes) => {
  const header = bytes[1] === 0x37 ? readPamHeader(bytes) : readHeader(bytes)
  const { width, height, depth, max, pixelsAt, kind } = header
  if (!(width > 0 && height > 0 && max > 0 && max < 65536 && depth >= 1 && depth <= 4)) throw damaged('header')
  // Checked first: a short file with a large size in its header would cost much memory before the end is found missing.
  if (pixelsAt + minBytes(header) > bytes.length) throw damaged('incomplete')
  const samples = { text: textSamples, bits: bitSamples, binary: binarySamples }[kind]
  return singleImage(
    { width, height },
    async (): Promise<Raster> => ({ width, height, channels: depth, data: samples(bytes, header) }),
    finishRaster,
  )
}

interface PnmHeader {
  width: number
  height: number
  depth: 1 | 2 | 3 | 4
  /** The value of a sample at full intensity. */
  max: number
  kind: 'text' | 'bits' | 'binary'
  /** Whether 1 is black, as in bitmaps. */
  inverted: boolean
  pixelsAt: number
}

const damaged = (why: string): Error => new Error(`pnm: ${why}`)

function readHeader(bytes: Buffer): PnmHeader {
  const type = (bytes[1] ?? 0) - 0x30
  const bitmap = type === 1 || type === 4
  const text = new TextReader(bytes, 2)
  const [width, height, max] = [text.next(), text.next(), bitmap ? 1 : text.next()]
  const kind = type <= 3 ? 'text' : bitmap ? 'bits' : 'binary'
  const depth = type === 3 || type === 6 ? 3 : 1
  // One white-space character ends the header; the next byte is a sample.
  return { width, height, max, kind, depth, inverted: bitmap, pixelsAt: text.at + 1 }
}

function readPamHeader(bytes: Buffer): PnmHeader {
  const head = bytes.toString('latin1', 0, 4096)
  const end = /^ENDHDR[ \t]*\n/m.exec(head)
  if (end === null) throw damaged('header')
  const value = (name: string): number =>
    Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(head.slice(0, end.index))?.[1])
  const [width, height, depth, max] = [value('WIDTH'), value('HEIGHT'), value('DEPTH'), value('MAXVAL')]
  if (depth !== 1 && depth !== 2 && depth !== 3 && depth !== 4) throw damaged('depth')
  return { width, height, max, depth, kind: 'binary', inverted: false, pixelsAt: end.index + end[0].length }
}

function minBytes({ width, height, depth, max, kind }: PnmHeader): number {
  if (kind === 'bits') return Math.ceil(width / 8) * height
  const samples = width * height * depth
  // Only bits may stand in text without white space between them.
  return kind === 'text' ? samples * (max === 1 ? 1 : 2) - 2 : samples * (max > 255 ? 2 : 1)
}

function textSamples(bytes: Buffer, { width, height, depth, max, inverted, pixelsAt }: PnmHeader): Uint8Array {
  const data = new Uint8Array(width * height * depth)
  const text = new TextReader(bytes, pixelsAt)
  for (let i = 0; i < data.length; i++) data[i] = inverted ? 255 * (1 - text.next(bit)) : scaled(text.next(), max)
  return data
}

function bitSamples(bytes: Buffer, { width, height, pixelsAt }: PnmHeader): Uint8Array {
  const data = new Uint8Array(width * height)
  const stride = Math.ceil(width / 8)
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const byte = bytes[pixelsAt + y * stride + (x >> 3)] ?? 0
      data[to++] = (byte >> (7 - (x & 7))) & 1 ? 0 : 255
    }
  return data
}

function binarySamples(bytes: Buffer, { width, height, depth, max, pixelsAt }: PnmHeader): Uint8Array {
  const count = width * height * depth
  if (max === 255) return bytes.subarray(pixelsAt, pixelsAt + count)
  const data = new Uint8Array(count)
  for (let i = 0; i < count; i++)
    data[i] = scaled(max > 255 ? bytes.readUInt16BE(pixelsAt + i * 2) : (bytes[pixelsAt + i] ?? 0), max)
  return data
}

const scaled = (sample: number, max: number): number => Math.round((Math.min(sample, max) * 255) / max)

/** After any white space and comments. */
const number = /(?:[\t-\r ]|#[^\n]*\n)*(\d{1,9})(?!\d)/y
const bit = /(?:[\t-\r ]|#[^\n]*\n)*([01])/y

/** Reads numbers separated by white space and comments, and bits, which need no separator. */
class TextReader {
  readonly #text: string
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#text = bytes.toString('latin1')
    this.at = at
  }

  next(pattern = number): number {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.#text)
    if (found === null) throw damaged('number')
    this.at = pattern.lastIndex
    return Number(found[1])
  }
}
