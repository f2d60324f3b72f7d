import type { Detail, ImagePipeline, Tile } from '../image-architecture.ts'
import { bicubic, resize, resizeInto, type Size } from './resize.ts'

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

/**
 * Square tiles of the best canvas, and an overview of the whole after them. After llama.cpp's
 * `mtmd_image_preprocessor_llava_uhd` with a list of canvases (tools/mtmd/mtmd-image.cpp).
 * @param canvases in tiles, in the order in which they are tried
 * @param tokens of each tile
 * @param marks text before and after the tiles of an image
 */
export function tiling(
  edge: number,
  canvases: readonly Size[],
  tokens: number,
  marks: readonly [string, string] | null,
): Pick<ImagePipeline, 'longestEdge' | 'plan' | 'scale'> {
  const square = { width: edge, height: edge }
  const tile = squareTile(edge, tokens)

  /** In tiles; null if the image is not cut. */
  const canvasOf = (original: Size, detail: Detail): Size | null => {
    if (detail === 'low' || (original.width <= edge && original.height <= edge)) return null
    const most = detail === 'auto' ? autoTiles : Number.POSITIVE_INFINITY
    const allowed = canvases.filter(({ width, height }) => width * height <= most)
    return bestCanvas(original, allowed, edge)
  }

  return {
    longestEdge: edge * Math.max(1, ...canvases.flatMap(({ width, height }) => [width, height])),

    plan(original, detail) {
      const canvas = canvasOf(original, detail)
      const { width: columns, height: rows } = canvas ?? { width: 0, height: 0 }
      const cut = Array.from({ length: rows * columns }, (_, at) => tile(1, Math.floor(at / columns), at % columns))
      const tiles = [...cut, tile(0, 0, 0)]
      const name = canvas === null ? 'overview' : `${columns}x${rows}`
      return { original, detail, name, layout: marks === null ? tiles : [marks[0], ...tiles, marks[1]] }
    },

    scale(image, { original, detail }) {
      const overview = resize(image, square, bicubic)
      const canvas = canvasOf(original, detail)
      if (canvas === null) return [overview]
      return [overview, resizeInto(image, { width: canvas.width * edge, height: canvas.height * edge }, bicubic)]
    },
  }
}

/** Every canvas of `least` to `most` tiles with edges of at most `longest` tiles: first by width, then by height. */
export function canvasesOf(least: number, most: number, longest = most): Size[] {
  const edges = Array.from({ length: longest }, (_, at) => at + 1)
  return edges
    .flatMap((width) => edges.map((height) => ({ width, height })))
    .filter(({ width, height }) => width * height >= least && width * height <= most)
}

/** The canvas that keeps most of the image's pixels, the smallest of equals: llama.cpp's `select_best_resolution`. */
export function bestCanvas(original: Size, canvases: readonly Size[], edge: number): Size | null {
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

/**
 * The canvas whose aspect is nearest to the image's; of equals the larger one if the image fills half of it: llama.cpp's
 * `find_closest_aspect_ratio`.
 * @param edge of a tile, in pixels
 */
export function nearestShape({ width, height }: Size, canvases: readonly Size[], edge: number): Size {
  const f = Math.fround
  const shapes = [...canvases].sort((a, b) => a.width * a.height - b.width * b.height)
  let best = { shape: { width: 1, height: 1 }, difference: Number.POSITIVE_INFINITY }
  for (const shape of shapes) {
    const difference = f(Math.abs(f(width / height) - f(shape.width / shape.height)))
    const filled = width * height > (edge ** 2 * shape.width * shape.height) / 2
    if (difference < best.difference || (difference === best.difference && filled)) best = { shape, difference }
  }
  return best.shape
}
