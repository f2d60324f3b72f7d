import { constants, deflateRawSync, deflateSync } from 'node:zlib'

/** Small files that decode to something huge. Each must be refused by its header, before anything is decompressed. */

const u16 = (value: number): Buffer => Buffer.from([value & 255, value >> 8])
const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer)
const big32 = (value: number): Buffer => Buffer.from(u32(value)).reverse()

/** A PNG chunk with a correct checksum: libpng accepts a wrong one only in ancillary chunks. */
export function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  let crc = -1
  for (const byte of body) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1
  }
  return Buffer.concat([big32(data.length), body, big32(~crc >>> 0)])
}

const pngHead = (width: number, height: number, depth: number): Buffer =>
  Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', Buffer.concat([big32(width), big32(height), Buffer.from([depth, 0, 0, 0, 0])])),
  ])
/** Black, of one bit a pixel. */
export const png = (width: number, height: number, ...more: Buffer[]): Buffer =>
  Buffer.concat([
    pngHead(width, height, 1),
    ...more,
    chunk('IDAT', deflateSync(Buffer.alloc(Math.ceil(width / 8 + 1) * height))),
    chunk('IEND', Buffer.alloc(0)),
  ])

/** 100 MB of zeros in 100 kB. */
const zeros = (): Buffer => deflateSync(Buffer.alloc(100_000_000))

function gif(width: number, height: number, frames: number): Buffer {
  const place = Buffer.concat([Buffer.from([0x2c, 0, 0, 0, 0]), u16(width), u16(height)])
  const frame = Buffer.concat([place, Buffer.from([0, 2, 2, 0x44, 1, 0])])
  const head = [Buffer.from('GIF89a'), u16(width), u16(height), Buffer.from([0x80, 0, 0, 0, 0, 0, 255, 255, 255])]
  return Buffer.concat([...head, Buffer.alloc(frame.length * frames, frame), Buffer.from([0x3b])])
}

type Entry = [tag: number, type: 3 | 4, value: number]
const directory = (entries: readonly Entry[], next: number): Buffer =>
  Buffer.concat([
    u16(entries.length),
    ...entries.map(([tag, type, value]) => Buffer.concat([u16(tag), u16(type), u32(1), u32(value)])),
    u32(next),
  ])
const entriesOf = (width: number, height: number): Entry[] => [
  [256, 4, width],
  [257, 4, height],
  [258, 3, 8],
  [259, 3, 1],
  [262, 3, 1],
  [273, 4, 8],
  [277, 3, 1],
  [278, 4, height],
  [279, 4, width * height],
]
/** A TIFF with consecutive directories; `next` returns the offset that each one refers to as the next. */
function tiff(count: number, next: (index: number, at: (index: number) => number) => number, size = 2): Buffer {
  const length = directory(entriesOf(1, 1), 0).length
  const at = (index: number): number => 16 + index * length
  const all = Array.from({ length: count }, (_, index) => directory(entriesOf(size, size), next(index, at)))
  return Buffer.concat([Buffer.from('II*\0'), u32(16), Buffer.alloc(8), ...all])
}

function bmp(width: number, height: number, compression: number): Buffer {
  const head = [
    u32(40),
    u32(width),
    u32(height),
    u16(1),
    u16(8),
    u32(compression),
    u32(0),
    u32(0),
    u32(0),
    u32(0),
    u32(0),
  ]
  return Buffer.concat([
    Buffer.from('BM'),
    u32(0),
    u32(0),
    u32(54 + 1024),
    ...head,
    Buffer.alloc(1024),
    Buffer.from([0, 1]),
  ])
}

/** The header of a JPEG without its data. */
const jpeg = (width: number, height: number): Buffer => {
  const size = Buffer.from([8, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0])
  const scan = Buffer.from([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0])
  const table = Buffer.concat([Buffer.from([0xff, 0xdb, 0, 67, 0]), Buffer.alloc(64, 1)])
  return Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    table,
    Buffer.from([0xff, 0xc0, 0, 11]),
    size,
    scan,
    Buffer.alloc(64),
  ])
}

/** The header of a lossless WebP without its data: 14 bits for each dimension. */
const webp = (width: number, height: number): Buffer => {
  const bits = (width - 1) | ((height - 1) << 14)
  const data = Buffer.concat([Buffer.from([0x2f]), u32(bits >>> 0), Buffer.alloc(15)])
  return Buffer.concat([Buffer.from('RIFF'), u32(12 + data.length), Buffer.from('WEBPVP8L'), u32(data.length), data])
}

const box = (type: string, ...content: Buffer[]): Buffer => {
  const body = Buffer.concat(content)
  return Buffer.concat([big32(body.length + 8), Buffer.from(type, 'latin1'), body])
}
const fullBox = (type: string, ...content: Buffer[]): Buffer => box(type, Buffer.alloc(4), ...content)
const pair = (value: number): Buffer => Buffer.from([value >> 8, value & 255])

/** An AVIF that is a grid of tiles. All tiles are the same item, which is a grid of the first item. */
function grids(edge: number, side: number): Buffer {
  const count = Math.min(side * side, 65_535)
  const grid = Buffer.concat([Buffer.from([0, 1, side - 1, side - 1]), big32(edge), big32(edge)])
  const infe = (id: number, type: string): Buffer =>
    box('infe', Buffer.from([2, 0, 0, 0]), pair(id), pair(0), Buffer.from(`${type}\0`, 'latin1'))
  const tiles = (from: number, to: number): Buffer =>
    box('dimg', pair(from), pair(count), Buffer.concat(Array.from({ length: count }, () => pair(to))))
  const location = (id: number): Buffer =>
    Buffer.concat([pair(id), pair(1), pair(0), pair(1), big32(0), big32(grid.length)])
  const meta = fullBox(
    'meta',
    fullBox('hdlr', Buffer.alloc(4), Buffer.from('pict'), Buffer.alloc(13)),
    fullBox('pitm', pair(1)),
    box('iloc', Buffer.from([1, 0, 0, 0, 0x44, 0]), pair(2), location(1), location(2)),
    fullBox('iinf', pair(2), infe(1, 'grid'), infe(2, 'grid')),
    fullBox('iref', tiles(1, 2), tiles(2, 1)),
    box(
      'iprp',
      box('ipco', fullBox('ispe', big32(edge), big32(edge))),
      fullBox('ipma', big32(2), pair(1), Buffer.from([1, 0x81]), pair(2), Buffer.from([1, 0x81])),
    ),
    box('idat', grid),
  )
  return Buffer.concat([box('ftyp', Buffer.from('avif\0\0\0\0avifmif1miaf')), meta])
}

export const bombs: readonly [what: string, file: () => Buffer][] = [
  ['a png of 50,000 x 50,000', () => png(50_000, 50_000)],
  [
    'a png of 2,147,483,647 x 2,147,483,647',
    () => Buffer.concat([pngHead(2 ** 31 - 1, 2 ** 31 - 1, 16), chunk('IDAT', Buffer.alloc(64))]),
  ],
  ['a gif of 65,535 x 65,535', () => gif(65_535, 65_535, 1)],
  ['a gif of 300,000 frames', () => gif(2, 2, 300_000)],
  ['a jpeg of 65,500 x 65,500', () => jpeg(65_500, 65_500)],
  ['a webp of 16,383 x 16,383', () => webp(16_383, 16_383)],
  ['a bmp of 2,000,000,000 x 2', () => bmp(2_000_000_000, 2, 0)],
  ['a run-length encoded bmp of 50,000 x 50,000', () => bmp(50_000, 50_000, 1)],
  ['a truncated pbm of 50,000 x 50,000', () => Buffer.from('P4\n50000 50000\n\0\0')],
  [
    'a pam of 999,999,999 x 999,999,999',
    () => Buffer.from('P7\nWIDTH 999999999\nHEIGHT 999999999\nDEPTH 4\nMAXVAL 255\nENDHDR\n'),
  ],
  ['a tiff of 2,000,000 x 2,000,000', () => tiff(1, () => 0, 2_000_000)],
  ['a tiff of 30,000 pages', () => tiff(30_000, (index, at) => (index < 29_999 ? at(index + 1) : 0))],
  ['an avif of 65,535 x 65,535 in 256 x 256 tiles, each of them a grid itself', () => grids(65_535, 256)],
  ['an avif of 30,000 x 30,000 in 16 x 16 tiles, each of them a grid itself', () => grids(30_000, 16)],
  [
    'an svg with entities',
    () => Buffer.from(`<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "${'a'.repeat(1000)}">]><svg>&a;</svg>`),
  ],
]

/** A PDF of one small page in some kilobytes, whose content is spaces that were compressed twice. */
export function swollenPdf(megabytes: number): Buffer {
  const piece = deflateRawSync(Buffer.alloc(1_000_000, ' '), { finishFlush: constants.Z_FULL_FLUSH })
  const [head, end] = [Buffer.from([0x78, 0x9c]), Buffer.from([3, 0, 0, 0, 0, 0])]
  const content = deflateSync(Buffer.concat([head, ...Array.from({ length: megabytes }, () => piece), end]))
  const objects = [
    Buffer.from('<< /Type /Catalog /Pages 2 0 R >>'),
    Buffer.from('<< /Type /Pages /Count 1 /Kids [3 0 R] >>'),
    Buffer.from('<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] /Contents 4 0 R >>'),
    Buffer.concat([
      Buffer.from(`<< /Length ${content.length} /Filter [/FlateDecode /FlateDecode] >>\nstream\n`),
      content,
      Buffer.from('\nendstream'),
    ]),
  ]
  const parts = [Buffer.from('%PDF-1.4\n')]
  const places: string[] = []
  for (const [index, object] of objects.entries()) {
    const at = parts.reduce((sum, { length }) => sum + length, 0)
    places.push(`${String(at).padStart(10, '0')} 00000 n \n`)
    parts.push(Buffer.from(`${index + 1} 0 obj\n`), object, Buffer.from('\nendobj\n'))
  }
  const start = parts.reduce((sum, { length }) => sum + length, 0)
  const table = `xref\n0 5\n0000000000 65535 f \n${places.join('')}trailer << /Size 5 /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`
  return Buffer.concat([...parts, Buffer.from(table)])
}

/** Small images with a large burden that decoders ignore: they may be read. */
export const burdened: readonly [what: string, file: () => Buffer][] = [
  [
    'a png with 2 GB of text',
    () => {
      const text = chunk('zTXt', Buffer.concat([Buffer.from('Comment\0\0'), zeros()]))
      return png(64, 64, ...Array.from({ length: 20 }, () => text))
    },
  ],
  [
    'a png with a colour profile of 100 MB',
    () => png(64, 64, chunk('iCCP', Buffer.concat([Buffer.from('ICC\0\0'), zeros()]))),
  ],
  ['a tiff whose directory refers to itself', () => tiff(1, (index, at) => at(index))],
  ['a tiff whose directories form a cycle', () => tiff(100, (index, at) => at((index + 1) % 100))],
]
