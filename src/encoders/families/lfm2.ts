import { layerNorm, linear } from '../graph/builder.ts'
import { resizedPositions } from '../graph/positions.ts'
import { siglip } from '../graph/transformer.ts'
import type { Detail, ImageFamily, ImagePlan, Tile } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { alignedSize, bilinear, resize, resizeInto, type Size } from '../preprocess/resize.ts'
import { gridOf, within } from '../preprocess/sizes.ts'
import { autoTiles, canvasesOf, nearestShape, squareTile } from '../preprocess/tiling.ts'

/** Constants of llama.cpp for this family (tools/mtmd/mtmd-image.h and clip.cpp): tiles, and tokens of an image that is not cut. */
const tileEdge = 512
const tileCount = { least: 2, most: 10 }
const wholeTokens = { least: 64, most: 256 }
/** An image is cut if it has more than this many times the pixels of the largest image that is not cut. */
const tolerance = 2

/**
 * LFM2-VL: an image is read in its own aspect; a large one is cut into tiles, and an overview follows them. SigLIP 2 reads
 * each with positions resized to it, and squares of patches are joined into one embedding. After llama.cpp's tools/mtmd
 * (models/siglip.cpp, `mtmd_image_preprocessor_lfm2`, `MTMD_SLICE_TMPL_LFM2`).
 */
export const lfm2: ImageFamily = {
  types: ['lfm2'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata) {
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

    /** In tiles; null if the image is not cut. */
    const canvasOf = (original: Size, detail: Detail): Size | null => {
      const near = (edge: number) => Math.max(patch, roundHalfEven(edge / align) * align)
      if (detail === 'low' || near(original.width) * near(original.height) <= pixels.most * tolerance) return null
      return nearestShape(
        original,
        canvasesOf(tileCount.least, detail === 'auto' ? autoTiles : tileCount.most),
        tileEdge,
      )
    }

    return {
      longestEdge: tileCount.most * tileEdge,

      plan(original, detail): ImagePlan {
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

      scale(image, { original, detail }) {
        const overview = resize(image, whole(original, detail), bilinear)
        const canvas = canvasOf(original, detail)
        if (canvas === null) return [overview]
        const box = { width: canvas.width * tileEdge, height: canvas.height * tileEdge }
        return [overview, resizeInto(image, box, bilinear)]
      },

      prepare: reader.read,
      grid: ({ size }) => gridOf(size, patch),

      build(graph, { size }) {
        const grid = gridOf(size, patch)
        const patches = graph.input(grid.rows * grid.columns, 3 * patch * patch)
        const seen = tower.build(graph, patches, resizedPositions(graph, tower.width))
        const joined = graph.joinPatches(seen, grid, factor)
        // PyTorch's default epsilon, which may differ from the tower's.
        const normed = graph.has('mm.input_norm.weight') ? layerNorm(graph, joined, 'mm.input_norm', 1e-5) : joined
        return linear(graph, graph.gelu(linear(graph, normed, 'mm.1')), 'mm.2')
      },
    }
  },
}

/** C's `nearbyint`: halves go to the even neighbour. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  if (value - floor !== 0.5) return Math.round(value)
  return floor % 2 === 0 ? floor : floor + 1
}
