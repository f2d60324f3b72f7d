import { type Architecture, type PicturePlan, type Tile, tilesOf } from './architecture.ts'
import { type Grid, linear, rmsNorm } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { ropeByRow } from './positions.ts'
import { bicubic, resizeInto } from './resize.ts'
import { pixelBudget } from './sizes.ts'
import { transformer } from './transformer.ts'

/**
 * Pixtral: a transformer over patches with 2D rotary positions, in Mistral Small 3 with squares of patches merged into one,
 * a two-layer projector, and a learned break after every row but the last. After llama.cpp's tools/mtmd
 * (models/pixtral.cpp, clip.cpp, mtmd-image.cpp).
 */
export function pixtral(metadata: Metadata): Architecture {
  const vision = (key: string, fallback?: number) => metadata.number(`clip.vision.${key}`, fallback)
  const tower = transformer(metadata, { norm: 'rms', rope: ropeByRow(10000) })
  const reader = patchReader(metadata)
  const { patch } = reader
  const embedding = vision('projection_dim')
  const factor = vision('spatial_merge_size', 1)
  const edge = patch * factor
  // llama.cpp fixes these at 8 and 1024 tokens for this type; a file that knows better may say so.
  const least = vision('image_min_pixels', 8 * edge ** 2)
  const most = vision('image_max_pixels', 1024 * edge ** 2)
  const budget = pixelBudget(edge, least / edge ** 2, most / edge ** 2)

  const patches = ({ size }: Pick<Tile, 'size'>): Grid => ({ rows: size.height / patch, columns: size.width / patch })
  const merged = ({ size }: Pick<Tile, 'size'>): Grid => ({ rows: size.height / edge, columns: size.width / edge })

  return {
    name: 'pixtral',
    width: embedding,
    longestEdge: budget.longestEdge,

    plan(original, detail): PicturePlan {
      const size = budget.size(original, detail)
      const { rows, columns } = merged({ size })
      const tile: Tile = { image: 0, x: 0, y: 0, size, tokens: rows * columns + rows - 1 }
      return { original, detail, name: `${size.width}x${size.height}`, layout: [tile, '[IMG_END]'] }
    },

    scale: (picture, plan) => tilesOf(plan).map(({ size }) => resizeInto(picture, size, bicubic)),
    prepare: (scaled, tile) => reader.read(scaled, tile),
    grid: patches,

    build(graph, tile) {
      const grid = patches(tile)
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
        const { rows, columns } = merged(tile)
        const out = new Float32Array(tile.tokens * embedding)
        const rowValues = columns * embedding
        for (let row = 0; row < rows; row++) {
          const at = row * (rowValues + embedding)
          out.set(embeddings.subarray(row * rowValues, (row + 1) * rowValues), at)
          if (row < rows - 1) out.set(pause, at + rowValues)
        }
        return out
      }
    },
  }
}
