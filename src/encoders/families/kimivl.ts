import { layerNorm, linear } from '../graph/builder.ts'
import { resizedPositions, ropeByColumn } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { gridOf, inOwnAspect } from '../preprocess/sizes.ts'

/**
 * Kimi-VL: MoonViT reads an image in its own aspect, with rotary positions and with learned positions that are resized to
 * it. Squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/kimivl.cpp,
 * `mtmd_image_preprocessor_dyn_size`).
 */
export const kimivl: ImageFamily = {
  types: ['kimivl'],
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata) {
    const tower = transformer(metadata, { rope: ropeByColumn })
    const reader = patchReader(metadata)
    const { patch } = reader
    const factor = metadata.number('clip.vision.projector.scale_factor', 1)

    return {
      ...inOwnAspect(reader, factor, { least: 8, most: 1024 }, (tile, { rows, columns }) => [
        '<|media_start|>',
        { ...tile, tokens: rows * columns },
        '<|media_end|>',
      ]),

      build(graph, { size }) {
        const grid = gridOf(size, patch)
        const patches = linear(graph, graph.input(grid.rows * grid.columns, 3 * patch * patch), 'v.patch_embd')
        const seen = tower.all(graph, graph.add(patches, resizedPositions(graph, tower.width)))
        // PyTorch's default epsilon, which may differ from the tower's. Each patch is normed by itself.
        const joined = graph.joinPatches(layerNorm(graph, seen, 'mm.input_norm', 1e-5), grid, factor)
        return linear(graph, graph.gelu(linear(graph, joined, 'mm.1')), 'mm.2')
      },
    }
  },
}
