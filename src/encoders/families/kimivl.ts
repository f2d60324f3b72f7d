import { layerNorm, linear } from '../graph/builder.ts'
import { resizedPositions, ropeByColumn } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import { type ImageFamily, type ImagePlan, tilesOf } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { bicubic, resizeInto } from '../preprocess/resize.ts'
import { pixelBudget } from '../preprocess/sizes.ts'

/**
 * Kimi-VL: MoonViT reads an image in its own aspect, with rotary positions and with learned positions that are resized to
 * it. Squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/kimivl.cpp,
 * `mtmd_image_preprocessor_dyn_size`).
 */
export const kimivl: ImageFamily = {
  types: ['kimivl'],
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata) {
    const rope = ropeByColumn(10000)
    const tower = transformer(metadata, { rope })
    const reader = patchReader(metadata)
    const { patch } = reader
    const factor = metadata.number('clip.vision.projector.scale_factor', 1)
    const budget = pixelBudget(patch * factor, 8, 1024)

    return {
      longestEdge: budget.longestEdge,

      plan(original, detail): ImagePlan {
        const size = budget.size(original, detail)
        const tokens = (size.width * size.height) / (patch * factor) ** 2
        const name = `${size.width}x${size.height}`
        return {
          original,
          detail,
          name,
          layout: ['<|media_start|>', { image: 0, x: 0, y: 0, size, tokens }, '<|media_end|>'],
        }
      },

      scale: (image, plan) => tilesOf(plan).map(({ size }) => resizeInto(image, size, bicubic)),
      prepare: reader.read,
      grid: ({ size }) => ({ rows: size.height / patch, columns: size.width / patch }),

      build(graph, { size }) {
        const grid = { rows: size.height / patch, columns: size.width / patch }
        const patches = linear(graph, graph.input(grid.rows * grid.columns, 3 * patch * patch), 'v.patch_embd')
        const seen = tower.all(graph, graph.add(patches, resizedPositions(graph, tower.width)))
        // PyTorch's default epsilon, which may differ from the tower's. Each patch is normed by itself.
        const joined = graph.joinPatches(layerNorm(graph, seen, 'mm.input_norm', 1e-5), grid, factor)
        return linear(graph, graph.gelu(linear(graph, joined, 'mm.1')), 'mm.2')
      },
    }
  },
}
