import { type GraphBuilder, type Grid, linear } from '../graph/builder.ts'
import { siglip } from '../graph/transformer.ts'
import type { Detail, ImageFamily, ImagePlan, Tile } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { alignedSize, bicubic, lanczos, resize, resizeInto, type Size } from '../preprocess/resize.ts'
import { squareTile } from '../preprocess/tiling.ts'

/** The maximum number of tiles along the longer edge at `detail: auto`. With the overview that is five times the cost of a tile. */
const autoAlong = 2

/**
 * Idefics3 and SmolVLM: an image is cut into square tiles, and an overview of the whole follows them. SigLIP reads each, and
 * squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/siglip.cpp,
 * `mtmd_image_preprocessor_idefics3`, `MTMD_SLICE_TMPL_IDEFICS3`).
 */
export const idefics3: ImageFamily = {
  types: ['idefics3'],
  coordinates: 500,
  width: (metadata) => metadata.needTensor('mm.model.fc.weight').rows,

  open(metadata) {
    const tower = siglip(metadata)
    const reader = patchReader(metadata)
    const factor = metadata.number('clip.vision.projector.scale_factor', 4)
    const { edge } = tower
    const side = Math.floor(edge / reader.patch)
    const grid: Grid = { rows: side, columns: side }
    const tokens = (side / factor) ** 2
    // Files made before mid-2025 do not say how far images are enlarged: the image's own size decides.
    const longest = metadata.number('clip.vision.preproc_image_size', 0)

    const tile = squareTile(edge, tokens)

    /** The sizes to which an image is scaled in turn before it is cut into tiles; null if it is not cut. */
    const sizes = (original: Size, detail: Detail): Size[] | null => {
      const natural = Math.ceil(Math.max(original.width, original.height) / edge)
      if (detail === 'low' || (detail === 'auto' && natural <= 1)) return null
      // As llama.cpp reads old files: the nearest whole tiles, with the aspect kept.
      if (detail === 'high' && longest === 0) return [alignedSize(original, edge, 0, Number.POSITIVE_INFINITY)]
      const most = detail === 'auto' ? Math.min(autoAlong, natural) * edge : longest
      const first = scaledTo(original, longest > 0 ? Math.min(longest, most) : most)
      const whole = (length: number) => Math.ceil(length / edge) * edge
      return [first, { width: whole(first.width), height: whole(first.height) }]
    }

    return {
      longestEdge: longest || 4 * edge,

      plan(original: Size, detail: Detail): ImagePlan {
        const overview = ['<fake_token_around_image><global-img>', tile(0, 0, 0), '<fake_token_around_image>']
        const cut = sizes(original, detail)?.at(-1)
        if (cut === undefined) return { original, detail, name: 'overview', layout: overview }
        const [rows, columns] = [cut.height / edge, cut.width / edge]
        const layout: (string | Tile)[] = []
        for (let row = 0; row < rows; row++) {
          for (let column = 0; column < columns; column++)
            layout.push(`<fake_token_around_image><row_${row + 1}_col_${column + 1}>`, tile(1, row, column))
          layout.push(row === rows - 1 ? '\n\n' : '\n')
        }
        return { original, detail, name: `${detail} ${columns}x${rows}`, layout: [...layout, ...overview] }
      },

      scale(image, { original, detail }) {
        const square = { width: edge, height: edge }
        const steps = sizes(original, detail)
        if (steps === null) return [resize(image, square, lanczos)]
        const [first = square, second] = steps
        if (second === undefined) return [resize(image, square, bicubic), resizeInto(image, first, bicubic)]
        // As in Hugging Face's processor: first to the longest edge, then to whole tiles without keeping the aspect.
        const cut = resize(resize(image, first, lanczos), second, lanczos)
        return [resize(cut, square, lanczos), cut]
      },

      prepare: reader.read,

      grid: () => grid,

      build<N>(graph: GraphBuilder<N>): N {
        const patches = graph.input(side * side, 3 * reader.patch * reader.patch)
        return linear(graph, graph.joinPatches(tower.build(graph, patches), grid, factor), 'mm.model.fc')
      },
    }
  },
}

/** Scales the longer edge to `longest` and the other to an even length, in the order of operations of the original. */
function scaledTo({ width, height }: Size, longest: number): Size {
  const aspect = width / height
  // The original fails on images so narrow that nothing would be left of them.
  const even = (edge: number) => Math.max(2, Math.trunc(edge) + (Math.trunc(edge) % 2))
  return width >= height
    ? { width: longest, height: even(longest / aspect) }
    : { width: even(longest * aspect), height: longest }
}
