import { linear } from '../graph/builder.ts'
import { resizedPositions } from '../graph/positions.ts'
import { siglip } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { bilinear, resizeInto } from '../preprocess/resize.ts'
import { gridOf, inOwnAspect, limitsIn } from '../preprocess/sizes.ts'

/** The maximum number of tokens at `detail: auto`. A token is one patch, and 256 of those show little. */
const autoTokens = 1024

/**
 * Phi-4 Reasoning Vision: an image is read in its own aspect, by SigLIP 2 with positions resized to it, and every patch is an
 * embedding. After llama.cpp's tools/mtmd (models/siglip.cpp, `mtmd_image_preprocessor_dyn_size`).
 */
export const phi4: ImageFamily = {
  types: ['phi4'],
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata) {
    const tower = siglip(metadata)
    const reader = patchReader(metadata)
    const { patch } = reader

    return {
      ...inOwnAspect(
        reader,
        1,
        limitsIn(metadata, patch),
        (tile, { rows, columns }) => [{ ...tile, tokens: rows * columns }],
        { auto: autoTokens, scale: (image, size) => resizeInto(image, size, bilinear) },
      ),

      build(graph, { size }) {
        const grid = gridOf(size, patch)
        const patches = graph.input(grid.rows * grid.columns, 3 * patch * patch)
        const seen = tower.build(graph, patches, resizedPositions(graph, tower.width))
        return linear(graph, graph.gelu(linear(graph, seen, 'mm.0')), 'mm.2')
      },
    }
  },
}
