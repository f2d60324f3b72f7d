import { rmsNorm } from '../graph/builder.ts'
import { siglip } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { bilinear } from '../preprocess/resize.ts'
import { wholeSquare } from './parts/whole-square.ts'

/**
 * Gemma 3: an image is fitted into one square, SigLIP reads it, and squares of patches are averaged. The decoder reads the
 * embeddings of an image at once, with attention in both directions. There is one size, so `detail` has no effect. After
 * llama.cpp's tools/mtmd (models/siglip.cpp, `mtmd_image_preprocessor_fixed_size`, `mtmd_decode_use_non_causal`).
 */
export const gemma3: ImageFamily = {
  types: ['gemma3'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.input_projection.weight').columns,

  open(metadata) {
    const tower = siglip(metadata)
    const factor = metadata.number('clip.vision.projector.scale_factor', 4)
    const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')
    const tokens = (side: number): number => Math.floor(side / factor) ** 2
    const marks = ['<start_of_image>', '<end_of_image>'] as const
    const { outside, side, pixels } = wholeSquare(metadata, { tokens, kernel: bilinear, marks })

    return {
      ...outside,
      atOnce: tokens(side),

      build(graph) {
        const seen = tower.build(graph, pixels(graph))
        const pooled = graph.averagePool(seen, { rows: side, columns: side }, { rows: factor, columns: factor })
        const normed = rmsNorm(graph, pooled, 'mm.soft_emb_norm', epsilon)
        return graph.matmulTransposed(graph.weight('mm.input_projection.weight'), normed)
      },
    }
  },
}
