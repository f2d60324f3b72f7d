import type { Size } from './resize.ts'

/** Slices of equal size, each of nearly as many pixels as the encoder was trained on. */
export interface Slices {
  columns: number
  rows: number
  /** Of one slice. */
  size: Size
}

/**
 * LLaVA-UHD's ways with a picture, where the encoder takes any aspect: after llama.cpp's
 * `mtmd_image_preprocessor_llava_uhd` (tools/mtmd/mtmd-image.cpp), 32-bit floats included.
 */

/**
 * The size nearest to `size` whose edges are whole patches and which has no more pixels than a square of `edge`, the aspect
 * kept as well as may be. @param enlarge smaller ones are brought to that many pixels
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

/** @param most slices */
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

/** The multiple of `unit` that is nearest to `length`, and not 0. */
const wholes = (length: number, unit: number): number => Math.max(roundAway(Math.fround(length / unit)) * unit, unit)

/** C's `round`: halves away from 0. */
const roundAway = (x: number): number => Math.sign(x) * Math.round(Math.abs(x))
