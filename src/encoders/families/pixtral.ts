import { linear, rmsNorm } from '../graph/builder.ts'
import { ropeByRow } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { gridOf, inOwnAspect } from '../preprocess/sizes.ts'

/**
 * Pixtral: a transformer over patches with 2D rotary positions, a projector of two layers, and a learned break after every
 * row but the last. Mistral Small 3 merges squares of patches into one. After llama.cpp's tools/mtmd (models/pixtral.cpp,
 * clip.cpp, mtmd-image.cpp).
 */
export const pixtral: ImageFamily = {
  types: ['pixtral'],
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata, width) {
    const vision = (key: string, fallback?: number) => metadata.number(`clip.vision.${key}`, fallback)
    const tower = transformer(metadata, { norm: 'rms', rope: ropeByRow })
    const reader = patchReader(metadata)
    const { patch } = reader
    const factor = vision('spatial_merge_size', 1)
    const edge = patch * factor
    // llama.cpp fixes these at 8 and 1024 tokens for this type; the file may override them.
    const limits = {
      least: vision('image_min_pixels', 8 * edge ** 2) / edge ** 2,
      most: vision('image_max_pixels', 1024 * edge ** 2) / edge ** 2,
    }

    return {
      ...inOwnAspect(reader, factor, limits, (tile, { rows, columns }) => [
        { ...tile, tokens: rows * columns + rows - 1 },
        '[IMG_END]',
      ]),

      build(graph, { size }) {
        const grid = gridOf(size, patch)
        let x = linear(graph, graph.input(grid.rows * grid.columns, 3 * patch * patch), 'v.patch_embd')
        x = tower.all(graph, x)
        if (graph.has('mm.patch_merger.weight')) {
          const normed = rmsNorm(graph, x, 'mm.input_norm', tower.epsilon)
          x = linear(graph, graph.joinPatches(normed, grid, factor, { within: 'channels' }), 'mm.patch_merger')
        }
        return linear(graph, graph.gelu(linear(graph, x, 'mm.1')), 'mm.2')
      },

      finisher(weights) {
        const pause = weights.floats('v.token_embd.img_break')
        return (embeddings, tile) => {
          const { rows, columns } = gridOf(tile.size, edge)
          const out = new Float32Array(tile.tokens * width)
          const rowValues = columns * width
          for (let row = 0; row < rows; row++) {
            const at = row * (rowValues + width)
            out.set(embeddings.subarray(row * rowValues, (row + 1) * rowValues), at)
            if (row < rows - 1) out.set(pause, at + rowValues)
          }
          return out
        }
      },
    }
  },
}
