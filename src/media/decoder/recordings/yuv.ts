import type { Size } from '../protocol.ts'
import { toSdr } from './hdr.ts'

/** How the pixels of a decoded frame lie in memory: a plane of luma, and two of chroma below it. */
export interface Planes extends Size {
  readonly data: Uint8Array
  /** Each sample takes one byte for 8 bits, otherwise two. */
  readonly bits: 8 | 10 | 12
  /** How often chroma is halved in each direction; null: there is none. */
  readonly chroma: { readonly x: 0 | 1; readonly y: 0 | 1 } | null
}

export interface Colours {
  readonly matrix: 'bt601' | 'bt709' | 'bt2020' | 'rgb'
  readonly fullRange: boolean
  /** What HDR needs to become sRGB. Null: it is SDR. */
  readonly hdr: 'pq' | 'hlg' | null
}

/** By the names of WebCodecs and of FFmpeg. A video that says none is like others of its size. */
export const matrixOf = (name: string, height: number): Colours['matrix'] =>
  matrices.get(name) ?? (height >= 720 ? 'bt709' : 'bt601')

const matrices = new Map<string, Colours['matrix']>([
  ['rgb', 'rgb'],
  ['bt709', 'bt709'],
  ['bt470bg', 'bt601'],
  ['smpte170m', 'bt601'],
  ['bt2020-ncl', 'bt2020'],
  ['bt2020nc', 'bt2020'],
])

/** The share of red and of blue in luma. */
const shares = { bt601: [0.299, 0.114], bt709: [0.2126, 0.0722], bt2020: [0.2627, 0.0593], rgb: [0, 0] } as const

/** @returns `[height, width, 3]` */
export function rgbOf(planes: Planes, colours: Colours): Uint8Array {
  const { width, height, data, bits, chroma } = planes
  const { matrix, fullRange, hdr } = colours
  const samples = bits === 8 ? data : new Uint16Array(data.buffer, data.byteOffset, data.byteLength >> 1)
  const unit = 1 << (bits - 8)
  const peak = 255 * unit
  const [black, lumaRange, chromaRange] = fullRange
    ? [0, (1 << bits) - 1, (1 << bits) - 1]
    : [16 * unit, 219 * unit, 224 * unit]
  const middle = 128 * unit
  const [red, blue] = shares[matrix]
  const green = 1 - red - blue
  // Of a sample to a number from 0 to `scale`.
  const scale = hdr === null ? 255 : 1
  const ofLuma = scale / lumaRange
  const toRed = ((2 - 2 * red) * scale) / chromaRange
  const toBlue = ((2 - 2 * blue) * scale) / chromaRange
  const [greenOfBlue, greenOfRed] = [(toBlue * blue) / green, (toRed * red) / green]
  const { x: shiftX, y: shiftY } = chroma ?? { x: 0, y: 0 }
  const chromaWidth = (width + shiftX) >> shiftX
  const chromaHeight = (height + shiftY) >> shiftY
  const firstU = width * height
  const firstV = firstU + chromaWidth * chromaHeight
  const rgb = hdr === null ? new Uint8ClampedArray(width * height * 3) : new Float32Array(width * height * 3)
  let to = 0
  for (let y = 0; y < height; y++) {
    const row = y * width
    const chromaRow = (y >> shiftY) * chromaWidth
    for (let x = 0; x < width; x++) {
      const luma = ((samples[row + x] ?? 0) - black) * ofLuma
      if (chroma === null) {
        rgb[to] = rgb[to + 1] = rgb[to + 2] = luma
      } else if (matrix === 'rgb') {
        // The planes are green, blue and red.
        rgb[to] = ((samples[firstV + row + x] ?? 0) / peak) * 255
        rgb[to + 1] = ((samples[row + x] ?? 0) / peak) * 255
        rgb[to + 2] = ((samples[firstU + row + x] ?? 0) / peak) * 255
      } else {
        const at = chromaRow + (x >> shiftX)
        const u = (samples[firstU + at] ?? 0) - middle
        const v = (samples[firstV + at] ?? 0) - middle
        rgb[to] = luma + toRed * v
        rgb[to + 1] = luma - greenOfBlue * u - greenOfRed * v
        rgb[to + 2] = luma + toBlue * u
      }
      to += 3
    }
  }
  return rgb instanceof Float32Array ? toSdr(rgb, hdr ?? 'pq') : new Uint8Array(rgb.buffer)
}
