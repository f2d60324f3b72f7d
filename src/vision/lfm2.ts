import type { Architecture, Detail, PicturePlan, Tile } from './architecture.ts'
import { layerNorm, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { resizedPositions } from './positions.ts'
import { alignedSize, bilinear, resize, resizeInto, type Size } from './resize.ts'
import { siglip } from './siglip.ts'
import { within } from './sizes.ts'
import { autoTiles, squareTile } from './tiling.ts'

/** What llama.cpp fixes for this family (tools/mtmd/mtmd-image.h and clip.cpp): tiles, and tokens of a picture in one. */
const tileEdge = 512
const tileCount = { least: 2, most: 10 }
const wholeTokens = { least: 64, most: 256 }
/** A picture is cut from so many times the pixels on that one may have in one. */
const tolerance = 2

/**
 * LFM2-VL: a picture is read in its own shape, or as tiles with an overview behind them if it is large, by SigLIP 2 with
 * positions resized to the shape; squares of patches are joined into one embedding. After llama.cpp's tools/mtmd
 * (models/siglip.cpp, `mtmd_image_preprocessor_lfm2`, `MTMD_SLICE_TMPL_LFM2`).
 */
export function lfm2(metadata: Metadata): Architecture {
  const tower = siglip(metadata)
  const reader = patchReader(metadata)
  const { patch } = reader
  const factor = metadata.number('clip.vision.projector.scale_factor', 1)
  const align = patch * factor
  const pixels = { least: wholeTokens.least * align ** 2, most: wholeTokens.most * align ** 2 }
  const tile = squareTile(tileEdge, (tileEdge / align) ** 2)

  const whole = (original: Size, detail: Detail): Size => {
    const size = alignedSize(original, align, pixels.least, pixels.most)
    return detail === 'low' ? within(size, align, wholeTokens.most) : size
  }

  /** In tiles; null: the picture is not cut. */
  const canvasOf = (original: Size, detail: Detail): Size | null => {
    const near = (edge: number) => Math.max(patch, roundHalfEven(edge / align) * align)
    if (detail === 'low' || near(original.width) * near(original.height) <= pixels.most * tolerance) return null
    return nearestShape(original, detail === 'auto' ? autoTiles : tileCount.most)
  }

  return {
    name: 'lfm2',
    width: metadata.number('clip.vision.projection_dim'),
    longestEdge: tileCount.most * tileEdge,

    plan(original, detail): PicturePlan {
      const size = whole(original, detail)
      const overview: Tile = { image: 0, x: 0, y: 0, size, tokens: (size.width * size.height) / align ** 2 }
      const canvas = canvasOf(original, detail)
      if (canvas === null)
        return {
          original,
          detail,
          name: `${size.width}x${size.height}`,
          layout: ['<|image_start|>', overview, '<|image_end|>'],
        }
      const layout: (string | Tile)[] = ['<|image_start|>']
      for (let row = 0; row < canvas.height; row++)
        for (let column = 0; column < canvas.width; column++)
          layout.push(`<|img_row_${row + 1}_col_${column + 1}|>`, tile(1, row, column))
      layout.push('<|img_thumbnail|>', overview, '<|image_end|>')
      return { original, detail, name: `${canvas.width}x${canvas.height} tiles`, layout }
    },

    scale(picture, { original, detail }) {
      const overview = resize(picture, whole(original, detail), bilinear)
      const canvas = canvasOf(original, detail)
      if (canvas === null) return [overview]
      const box = { width: canvas.width * tileEdge, height: canvas.height * tileEdge }
      return [overview, resizeInto(picture, box, bilinear)]
    },

    prepare: (scaled, part) => reader.read(scaled, part),
    grid: ({ size }) => ({ rows: size.height / patch, columns: size.width / patch }),

    build(graph, { size }) {
      const grid = { rows: size.height / patch, columns: size.width / patch }
      const patches = graph.input(grid.rows * grid.columns, 3 * patch * patch)
      const seen = tower.build(graph, patches, resizedPositions(graph, tower.width))
      const joined = graph.joinPatches(seen, grid, factor)
      // PyTorch's own epsilon, whatever the tower's.
      const normed = graph.has('mm.input_norm.weight') ? layerNorm(graph, joined, 'mm.input_norm', 1e-5) : joined
      return linear(graph, graph.gelu(linear(graph, normed, 'mm.1')), 'mm.2')
    },

    finisher: () => (embeddings) => embeddings,
  }
}

/** The shape in tiles that is nearest to a picture's, the larger one of equals if the picture fills half of it. */
function nearestShape({ width, height }: Size, most: number): Size {
  const f = Math.fround
  const edges = Array.from({ length: most }, (_, at) => at + 1)
  const shapes = edges
    .flatMap((columns) => edges.map((rows) => ({ width: columns, height: rows })))
    .filter((shape) => shape.width * shape.height >= tileCount.least && shape.width * shape.height <= most)
    .toSorted((a, b) => a.width * a.height - b.width * b.height)
  let best = { shape: { width: 1, height: 1 }, difference: Number.POSITIVE_INFINITY }
  for (const shape of shapes) {
    const difference = f(Math.abs(f(width / height) - f(shape.width / shape.height)))
    const filled = width * height > (tileEdge ** 2 * shape.width * shape.height) / 2
    if (difference < best.difference || (difference === best.difference && filled)) best = { shape, difference }
  }
  return best.shape
}

/** C's `nearbyint`: halves go to the even neighbour. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  if (value - floor !== 0.5) return Math.round(value)
  return floor % 2 === 0 ? floor : floor + 1
}
