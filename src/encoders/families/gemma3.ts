import { type Grid, rmsNorm } from '../graph/builder.ts'
import { siglip } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { bilinear, resizeInto } from '../preprocess/resize.ts'

/**
 * Gemma 3: an image is fitted into one square, SigLIP reads it, and squares of patches are averaged. The decoder reads the
 * embeddings of an image at once, with attention in both directions. There is one size, so `detail` has no effect. After
 * llama.cpp's tools/mtmd (models/siglip.cpp, `mtmd_image_preprocessor_fixed_size`, `mtmd_decode_use_non_causal`).
 */
export const gemma3: ImageFamily = {
  types: ['gemma3'],
  width: (metadata) => metadata.needTensor('mm.input_projection.weight').columns,

  open(metadata) {
    const tower = siglip(metadata)
    const reader = patchReader(metadata)
    const factor = metadata.number('clip.vision.projector.scale_factor', 4)
    const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')
    const { edge } = tower
    const side = Math.floor(edge / reader.patch)
    const grid: Grid = { rows: side, columns: side }
    const tokens = Math.floor(side / factor) ** 2
    const size = { width: edge, height: edge }

    return {
      longestEdge: edge,
      atOnce: tokens,

      plan: (original, detail) => ({
        original,
        detail,
        name: 'whole',
        layout: ['<start_of_image>', { image: 0, x: 0, y: 0, size, tokens }, '<end_of_image>'],
      }),

      scale: (image) => [resizeInto(image, size, bilinear)],
      prepare: reader.read,
      grid: () => grid,

      build(graph) {
        const patches = graph.input(side * side, 3 * reader.patch * reader.patch)
        const pooled = graph.averagePool(tower.build(graph, patches), grid, { rows: factor, columns: factor })
        const normed = rmsNorm(graph, pooled, 'mm.soft_emb_norm', epsilon)
        return graph.matmulTransposed(graph.weight('mm.input_projection.weight'), normed)
      },
    }
  },
}
