import type { Detail, Tile } from '../image-architecture.ts'
import { bicubic, type Raster, resize, resizeInto, type Size } from './resize.ts'

/** The maximum number of tiles at `detail: auto`, in addition to the overview. On a CPU each may take seconds. */
export const autoTiles = 4

/** A square of `edge` pixels at a row and column of a canvas. */
export const squareTile =
  (edge: number, tokens: number) =>
  (image: number, row: number, column: number): Tile => ({
    image,
    x: column * edge,
    y: row * edge,
    size: { width: edge, height: edge },
    tokens,
  })

/** Square tiles of the best canvas, and an overview of the whole. */
export interface Tiling {
  readonly longestEdge: number
  /** @param canvas in tiles; null if the image is not cut */
  plan(canvas: Size | null): { overview: Tile; tiles: readonly Tile[] }
  /** The canvas of an image, in tiles; null if the image is not cut. */
  canvas(original: Size, detail: Detail): Size | null
  /** The overview, and the canvas if there is one. */
  scale(image: Raster, canvas: Size | null): readonly Raster[]
}

/**
 * After llama.cpp's `mtmd_image_preprocessor_llava_uhd` with a list of canvases (tools/mtmd/mtmd-image.cpp).
 * @param canvases in tiles, in the order in which they are tried. @param tokens of each tile
 */
export function tiling(edge: number, canvases: readonly Size[], tokens: number): Tiling {
  const square = { width: edge, height: edge }
  const tile = squareTile(edge, tokens)
  return {
    longestEdge: edge * Math.max(1, ...canvases.flatMap(({ width, height }) => [width, height])),

    canvas(original, detail) {
      if (detail === 'low' || (original.width <= edge && original.height <= edge)) return null
      const most = detail === 'auto' ? autoTiles : Number.POSITIVE_INFINITY
      const allowed = canvases.filter(({ width, height }) => width * height <= most)
      return bestCanvas(original, allowed, edge)
    },

    plan(canvas) {
      const { width: columns, height: rows } = canvas ?? { width: 0, height: 0 }
      return {
        overview: tile(0, 0, 0),
        tiles: Array.from({ length: rows * columns }, (_, at) => tile(1, Math.floor(at / columns), at % columns)),
      }
    },

    scale(image, canvas) {
      const overview = resize(image, square, bicubic)
      if (canvas === null) return [overview]
      return [overview, resizeInto(image, { width: canvas.width * edge, height: canvas.height * edge }, bicubic)]
    },
  }
}

/** The canvas that keeps most of the image's pixels, the smallest of equals: llama.cpp's `select_best_resolution`. */
function bestCanvas(original: Size, canvases: readonly Size[], edge: number): Size | null {
  const f = Math.fround
  let best: { canvas: Size; shown: number; wasted: number } | null = null
  for (const canvas of canvases) {
    const [width, height] = [canvas.width * edge, canvas.height * edge]
    const scale = Math.min(f(width / original.width), f(height / original.height))
    const scaled = Math.trunc(f(original.width * scale)) * Math.trunc(f(original.height * scale))
    const shown = Math.min(scaled, original.width * original.height)
    const wasted = width * height - shown
    if (best === null || shown > best.shown || (shown === best.shown && wasted < best.wasted))
      best = { canvas, shown, wasted }
  }
  return best?.canvas ?? null
}
