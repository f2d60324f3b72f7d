import { type OpenFile, type Raster, singlePicture } from './opened-file.ts'
import { finishRaster } from './raster.ts'

/** PBM, PGM and PPM, in text and binary, and PAM, after the manuals of Netpbm. Of several in a file the first is read. */
export const openPnm: OpenFile = async (bytes) => {
  const header = bytes[1] === 0x37 ? readPamHeader(bytes) : readHeader(bytes)
  const { width, height, depth, most, pixelsAt, kind } = header
  if (!(width > 0 && height > 0 && most > 0 && most < 65536 && depth >= 1 && depth <= 4)) throw broken('header')
  // Samples that are not there would cost memory before they are missed.
  if (pixelsAt + leastBytes(header) > bytes.length) throw broken('not complete')
  const samples = { text: textSamples, bits: bitSamples, binary: binarySamples }[kind]
  return singlePicture(
    { width, height },
    async (): Promise<Raster> => ({ width, height, channels: depth, data: samples(bytes, header) }),
    finishRaster,
  )
}

interface PnmHeader {
  width: number
  height: number
  depth: 1 | 2 | 3 | 4
  /** The sample that means full light. */
  most: number
  kind: 'text' | 'bits' | 'binary'
  /** In bitmaps 1 is black. */
  inverted: boolean
  pixelsAt: number
}

const broken = (why: string): Error => new Error(`pnm: ${why}`)

function readHeader(bytes: Buffer): PnmHeader {
  const type = (bytes[1] ?? 0) - 0x30
  const bitmap = type === 1 || type === 4
  const words = new Words(bytes, 2)
  const width = words.next()
  const height = words.next()
  const most = bitmap ? 1 : words.next()
  const kind = type <= 3 ? 'text' : bitmap ? 'bits' : 'binary'
  // One white space ends the header; whatever follows it is a sample already.
  return {
    width,
    height,
    most,
    kind,
    depth: type === 3 || type === 6 ? 3 : 1,
    inverted: bitmap,
    pixelsAt: words.at + 1,
  }
}

function readPamHeader(bytes: Buffer): PnmHeader {
  const head = bytes.toString('latin1', 0, 4096)
  const end = /^ENDHDR[ \t]*\n/m.exec(head)
  if (end === null) throw broken('header')
  const value = (name: string): number =>
    Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(head.slice(0, end.index))?.[1])
  const depth = value('DEPTH')
  if (depth !== 1 && depth !== 2 && depth !== 3 && depth !== 4) throw broken('depth')
  const pixelsAt = end.index + end[0].length
  return {
    width: value('WIDTH'),
    height: value('HEIGHT'),
    most: value('MAXVAL'),
    depth,
    kind: 'binary',
    inverted: false,
    pixelsAt,
  }
}

function leastBytes({ width, height, depth, most, kind }: PnmHeader): number {
  if (kind === 'bits') return Math.ceil(width / 8) * height
  const samples = width * height * depth
  // Text may leave out white space only between bits.
  return kind === 'text' ? samples * (most === 1 ? 1 : 2) - 2 : samples * (most > 255 ? 2 : 1)
}

function textSamples(bytes: Buffer, { width, height, depth, most, inverted, pixelsAt }: PnmHeader): Uint8Array {
  const data = new Uint8Array(width * height * depth)
  const words = new Words(bytes, pixelsAt)
  for (let i = 0; i < data.length; i++) data[i] = inverted ? 255 * (1 - words.nextBit()) : scaled(words.next(), most)
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

function binarySamples(bytes: Buffer, { width, height, depth, most, pixelsAt }: PnmHeader): Uint8Array {
  const count = width * height * depth
  if (most === 255) return bytes.subarray(pixelsAt, pixelsAt + count)
  const data = new Uint8Array(count)
  for (let i = 0; i < count; i++)
    data[i] = scaled(most > 255 ? bytes.readUInt16BE(pixelsAt + i * 2) : (bytes[pixelsAt + i] ?? 0), most)
  return data
}

const scaled = (sample: number, most: number): number => Math.round((Math.min(sample, most) * 255) / most)

/** Numbers in text, with white space and comments between them. */
class Words {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  next(): number {
    this.#skip()
    const from = this.at
    let value = 0
    for (let digit = this.#digit(); digit >= 0; digit = this.#digit()) {
      value = value * 10 + digit
      this.at++
    }
    if (this.at === from || this.at - from > 9) throw broken('number')
    return value
  }

  nextBit(): number {
    this.#skip()
    const bit = this.#digit()
    if (bit !== 0 && bit !== 1) throw broken('bit')
    this.at++
    return bit
  }

  #digit(): number {
    const digit = (this.#bytes[this.at] ?? 0) - 0x30
    return digit >= 0 && digit <= 9 ? digit : -1
  }

  #skip(): void {
    for (;;) {
      const byte = this.#bytes[this.at]
      if (byte === 0x23) while (this.at < this.#bytes.length && this.#bytes[this.at] !== 0x0a) this.at++
      else if (byte === 0x20 || (byte !== undefined && byte >= 9 && byte <= 13)) this.at++
      else return
    }
  }
}
