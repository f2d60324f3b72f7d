import { layerNorm, linear } from '../graph/builder.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { gridOf } from '../preprocess/sizes.ts'
import { gemma4AtOnce, gemma4Factor, gemma4Images, gemma4Width, placesOf } from './parts/gemma4.ts'

/** PyTorch's default, which may differ from the file's. */
const epsilon = 1e-5

/**
 * Gemma 4 without a tower: a large patch is one token, and the decoder does the rest. After llama.cpp's tools/mtmd
 * (models/gemma4uv.cpp, `mtmd_image_preprocessor_dyn_size`).
 */
export const gemma4uv: ImageFamily = {
  types: ['gemma4uv'],
  coordinates: 1000,
  width: gemma4Width,

  open(metadata) {
    const reader = patchReader(metadata, { edge: metadata.number('clip.vision.patch_size') * gemma4Factor(metadata) })
    const { patch } = reader
    const width = metadata.number('clip.vision.embedding_length')
    const lastEpsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')

    return {
      ...gemma4Images(reader, 1),
      atOnce: gemma4AtOnce,

      build(graph, { size }) {
        const { rows, columns } = gridOf(size, patch)
        const pixels = layerNorm(graph, graph.input(rows * columns, 3 * patch * patch), 'v.patch_norm.1', epsilon)
        const patches = layerNorm(graph, linear(graph, pixels, 'v.patch_embd'), 'v.patch_norm.2', epsilon)
        const placed = layerNorm(graph, graph.add(patches, placesOf(graph, width)), 'v.patch_norm.3', epsilon)
        return linear(graph, graph.rmsNorm(placed, undefined, lastEpsilon), 'mm.input_projection')
      },
    }
  },
}
