import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The pixels of an image before encoding. */
export interface Pixels {
  readonly width: number
  readonly height: number
  readonly rgb: Uint8Array
}

/** Not a multiple of 8 or 16, and wider than high, so that a rotated or padded image is not mistaken for a correct one. */
export const [width, height] = [70, 52]

type Colour = readonly [number, number, number]

const paint = (colour: (x: number, y: number) => Colour): Pixels => {
  const rgb = new Uint8Array(width * height * 3)
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) rgb.set(colour(x, y), (y * width + x) * 3)
  return { width, height, rgb }
}

const grey = (light: (x: number, y: number) => number): Pixels =>
  paint((x, y) => [light(x, y), light(x, y), light(x, y)])

/** Twelve fields of one colour each, for palettes and run-length encodings. */
const fields = (turn: number): Pixels =>
  paint((x, y) => {
    const field = Math.floor((x * 4) / width) + 4 * Math.floor((y * 3) / height)
    return [(field * 67 + turn * 40) & 255, (field * 29 + 90) & 255, (field * 151 + turn * 90) & 255]
  })

const inCorner = (x: number, y: number): boolean => x < 20 && y < 12

/** The sources of the corpus. All corners of a source differ. */
export const sources = {
  rgb: paint((x, y) => (inCorner(x, y) ? [230, 20, 30] : [40 + x * 3, 20 + y * 4, 200 - x - y])),
  grey: grey((x, y) => (inCorner(x, y) ? 250 : 10 + x * 2 + y)),
  /** Four shades, which fit in two bits. */
  shades: grey((x) => Math.floor((x * 4) / width) * 85),
  bits: grey((x, y) => ((x * x + y * 3) % 7 < 3 || inCorner(x, y) ? 255 : 0)),
  flat: fields(0),
  frame1: fields(1),
  frame2: fields(2),
  frame3: fields(3),
}

export type SourceName = keyof typeof sources

const alphaAt = (x: number): number => Math.round((x * 255) / (width - 1))
const maskAt = (x: number, y: number): number => (((x >> 3) + (y >> 3)) % 2 === 0 ? 255 : 0)

const onWhite = ({ rgb }: Pixels, alpha: (x: number, y: number) => number): Pixels =>
  paint((x, y) => {
    const at = (y * width + x) * 3
    const a = alpha(x, y) / 255
    const blended = (channel: number): number => Math.round((rgb[at + channel] ?? 0) * a + 255 * (1 - a))
    return [blended(0), blended(1), blended(2)]
  })

/** A source with the alpha channel `alpha.pgm`, or `mask.pgm`, blended onto white. */
export const overWhite = (name: SourceName): Pixels => onWhite(sources[name], alphaAt)
export const maskedOverWhite = (name: SourceName): Pixels => onWhite(sources[name], maskAt)

/** Writes the sources in the formats that encoders read: `rgb.ppm`, `grey.pgm`, `bits.pbm`, 16-bit `deep.ppm`, `alpha.pgm`, `mask.pgm`. */
export function writeSources(folder: string): void {
  const write = (name: string, head: string, body: Uint8Array): void =>
    writeFileSync(join(folder, name), Buffer.concat([Buffer.from(head, 'latin1'), body]))
  const size = `${width} ${height}\n`
  const one = (light: (x: number, y: number) => number): Uint8Array =>
    Uint8Array.from({ length: width * height }, (_, i) => light(i % width, Math.floor(i / width)))
  const first = (name: SourceName) => (x: number, y: number) => sources[name].rgb[(y * width + x) * 3] ?? 0

  for (const name of ['rgb', 'flat', 'frame1', 'frame2', 'frame3'] as const)
    write(`${name}.ppm`, `P6\n${size}255\n`, sources[name].rgb)
  for (const name of ['grey', 'shades'] as const) write(`${name}.pgm`, `P5\n${size}255\n`, one(first(name)))
  const digits = Array.from(one(first('bits')), (light) => (light === 0 ? '1' : '0'))
  write('bits.pbm', `P1\n${size}`, Buffer.from(digits.join('').replace(/.{70}/g, '$&\n')))
  const deep = Buffer.alloc(sources.rgb.rgb.length * 2)
  // The low bytes differ from the high bytes. A decoder may round them, by at most one step.
  for (const [i, value] of sources.rgb.rgb.entries()) deep.writeUInt16BE(value * 256 + ((i * 37) & 255), i * 2)
  write('deep.ppm', `P6\n${size}65535\n`, deep)
  write('cmyk.raw', '', inks())
  write('alpha.pgm', `P5\n${size}255\n`, one(alphaAt))
  write('mask.pgm', `P5\n${size}255\n`, one(maskAt))
}

/** The colour source in CMYK by the simplest formula, with as much black as possible. */
function inks(): Uint8Array {
  const { rgb } = sources.rgb
  const samples = new Uint8Array(width * height * 4)
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    const light = Math.max(...rgb.subarray(from, from + 3), 1)
    const ink = (channel: number): number => Math.round(255 - ((rgb[from + channel] ?? 0) * 255) / light)
    samples.set([ink(0), ink(1), ink(2), 255 - light], to)
  }
  return samples
}

/** The largest and the mean difference between the samples of two images of the same size. */
export function distance(a: Pixels, b: Pixels): { max: number; mean: number } {
  if (a.width !== b.width || a.height !== b.height)
    throw new Error(`${a.width} x ${a.height} is compared with ${b.width} x ${b.height}`)
  let [max, sum] = [0, 0]
  for (const [i, value] of a.rgb.entries()) {
    const difference = Math.abs(value - (b.rgb[i] ?? 0))
    max = Math.max(max, difference)
    sum += difference
  }
  return { max, mean: sum / a.rgb.length }
}
