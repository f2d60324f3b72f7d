import { layerNorm, linear } from '../graph/builder.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { canvasesOf } from '../preprocess/tiling.ts'
import { squareTiles } from './parts/square-tiles.ts'

/**
 * InternVL: an image is cut into square tiles, and an overview follows them. InternViT reads each with a class token, and
 * squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/internvl.cpp,
 * `mtmd_image_preprocessor_internvl`).
 */
export const internvl: ImageFamily = {
  types: ['internvl'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.model.mlp.3.weight').rows,

  open(metadata) {
    const vision = (key: string, fallback?: number) => metadata.number(`clip.vision.${key}`, fallback)
    // The 6B tower of the largest models uses the other norm, which files do not record.
    const large = vision('embedding_length') === 3200 && vision('block_count') === 45
    const tower = transformer(metadata, { norm: large ? 'rms' : 'layer' })
    // In llama.cpp's order (`set_internvl_dhr_res_candidates`).
    const canvases = canvasesOf(vision('preproc_min_tiles', 1), vision('preproc_max_tiles', 12))
    const tiles = squareTiles(metadata, tower, canvases, ['<img>', '</img>'])

    return {
      ...tiles.outside,

      build(graph) {
        const joined = tiles.joined(graph)
        // PyTorch's default epsilon, which may differ from the tower's.
        const normed = layerNorm(graph, joined, 'mm.model.mlp.0', 1e-5)
        return linear(graph, graph.gelu(linear(graph, normed, 'mm.model.mlp.1')), 'mm.model.mlp.3')
      },
    }
  },
}
