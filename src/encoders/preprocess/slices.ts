import type { Size } from './resize.ts'

/** Slices of equal size, each with about as many pixels as the encoder was trained on. */
export interface Slices {
  columns: number
  rows: number
  size: Size
}

/**
 * LLaVA-UHD's sizes for encoders that take any aspect: the size nearest to `size` whose edges are whole patches and which
 * has at most the pixels of a square of `edge`. The aspect is kept as far as possible. After llama.cpp's
 * `mtmd_image_preprocessor_llava_uhd` (tools/mtmd/mtmd-image.cpp), including its 32-bit floats.
 * @param enlarge whether smaller images are enlarged to that number of pixels
 */
export function withinSquare({ width, height }: Size, edge: number, patch: number, enlarge: boolean): Size {
  const f = Math.fround
  const fit = { width, height }
  if (width * height > edge * edge || enlarge) {
    const aspect = f(width / height)
    fit.height = Math.trunc(f(edge / f(Math.sqrt(aspect))))
    fit.width = Math.trunc(f(fit.height * aspect))
  }
  return { width: wholes(fit.width, patch), height: wholes(fit.height, patch) }
}

/** LLaVA-UHD's cut of an image into slices. @param most the maximum number of slices */
export function slicesOf(original: Size, edge: number, patch: number, most: number): Slices {
  const f = Math.fround
  const { width, height } = original
  const wanted = Math.min(Math.ceil(f(f(f(width) * height) / (edge * edge))), most)
  const aspect = f(Math.log(f(width / height)))
  let best = { columns: 1, rows: 1, error: Number.POSITIVE_INFINITY }
  for (const count of [wanted - 1, wanted, wanted + 1]) {
    if (count === 1 || count > most) continue
    for (let columns = 1; columns <= count; columns++) {
      if (count % columns !== 0) continue
      const rows = count / columns
      const error = f(Math.abs(aspect - Math.log(columns / rows)))
      if (error < best.error) best = { columns, rows, error }
    }
  }
  const { columns, rows } = best
  const share = { width: wholes(width, columns) / columns, height: wholes(height, rows) / rows }
  return { columns, rows, size: withinSquare(share, edge, patch, true) }
}

/** The multiple of `unit` nearest to `length`, at least `unit`. */
const wholes = (length: number, unit: number): number => Math.max(roundAway(Math.fround(length / unit)) * unit, unit)

/** C's `round`: halves away from 0. */
const roundAway = (x: number): number => Math.sign(x) * Math.round(Math.abs(x))
