import type { Architecture } from './architecture.ts'
import { type Grid, rmsNorm } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { bilinear, resizeInto } from './resize.ts'
import { siglip } from './siglip.ts'

/**
 * Gemma 3: every picture is laid into one square, SigLIP reads it, and squares of patches are averaged. The decoder reads a
 * picture's embeddings all at once, each of them seeing all others. After llama.cpp's tools/mtmd (models/siglip.cpp,
 * `mtmd_image_preprocessor_fixed_size`, `mtmd_decode_use_non_causal`). There is one size, so `detail` changes nothing.
 */
export function gemma3(metadata: Metadata): Architecture {
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
    name: 'gemma3',
    width: metadata.number('clip.vision.projection_dim'),
    longestEdge: edge,
    atOnce: tokens,

    plan: (original, detail) => ({
      original,
      detail,
      name: 'whole',
      layout: ['<start_of_image>', { image: 0, x: 0, y: 0, size, tokens }, '<end_of_image>'],
    }),

    scale: (picture) => [resizeInto(picture, size, bilinear)],
    prepare: (scaled, tile) => reader.read(scaled, tile),
    grid: () => grid,

    build(graph) {
      const patches = graph.input(side * side, 3 * reader.patch * reader.patch)
      const pooled = graph.averagePool(tower.build(graph, patches), grid, { rows: factor, columns: factor })
      const normed = rmsNorm(graph, pooled, 'mm.soft_emb_norm', epsilon)
      return graph.matmulTransposed(graph.weight('mm.input_projection.weight'), normed)
    },

    finisher: () => (embeddings) => embeddings,
  }
}
