import { type Architecture, type PicturePlan, tilesOf } from './architecture.ts'
import { layerNorm, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { resizedPositions, ropeByColumn } from './positions.ts'
import { bicubic, resizeInto } from './resize.ts'
import { pixelBudget } from './sizes.ts'
import { transformer } from './transformer.ts'

/**
 * Kimi-VL: MoonViT reads a picture in its own shape, with learned positions that are resized to it and rotary ones, and
 * squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/kimivl.cpp,
 * `mtmd_image_preprocessor_dyn_size`).
 */
export function kimivl(metadata: Metadata): Architecture {
  const rope = ropeByColumn(10000)
  const tower = transformer(metadata, { rope })
  const reader = patchReader(metadata)
  const { patch } = reader
  const factor = metadata.number('clip.vision.projector.scale_factor', 1)
  const budget = pixelBudget(patch * factor, 8, 1024)

  return {
    name: 'kimivl',
    width: metadata.number('clip.vision.projection_dim'),
    longestEdge: budget.longestEdge,

    plan(original, detail): PicturePlan {
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

    scale: (picture, plan) => tilesOf(plan).map(({ size }) => resizeInto(picture, size, bicubic)),
    prepare: (scaled, tile) => reader.read(scaled, tile),
    grid: ({ size }) => ({ rows: size.height / patch, columns: size.width / patch }),

    build(graph, { size }) {
      const grid = { rows: size.height / patch, columns: size.width / patch }
      const patches = linear(graph, graph.input(grid.rows * grid.columns, 3 * patch * patch), 'v.patch_embd')
      const seen = tower.all(graph, graph.add(patches, resizedPositions(graph, tower.width)))
      // PyTorch's own epsilon, whatever the tower's. Each patch is normed by itself.
      const joined = graph.joinPatches(layerNorm(graph, seen, 'mm.input_norm', 1e-5), grid, factor)
      return linear(graph, graph.gelu(linear(graph, joined, 'mm.1')), 'mm.2')
    },

    finisher: () => (embeddings) => embeddings,
  }
}
