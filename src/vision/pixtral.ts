import { OrielError } from '../errors.ts'
import { type Architecture, type Detail, type PicturePlan, type Tile, tilesOf } from './architecture.ts'
import { type GraphBuilder, type Grid, linear, rmsNorm } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { alignedSize, bicubic, resizeInto, type Size } from './resize.ts'

/** What `detail: auto` spends at most, in tokens: a picture that has more to show is asked for with `high`. */
const autoTokens = 256

/**
 * Pixtral: a transformer over patches with 2D rotary positions, a two-layer projector, and a learned break after every
 * row of patches but the last. After llama.cpp's tools/mtmd (models/pixtral.cpp, clip.cpp, mtmd-image.cpp).
 */
export function pixtral(metadata: Metadata): Architecture {
  const vision = (key: string, fallback?: number) => metadata.number(`clip.vision.${key}`, fallback)
  const reader = patchReader(metadata)
  const { patch } = reader
  const layers = vision('block_count')
  const heads = vision('attention.head_count')
  const epsilon = vision('attention.layer_norm_epsilon')
  const embedding = vision('projection_dim')
  const area = patch * patch
  // llama.cpp fixes these at 8 and 1024 tokens for this type; a file that knows better may say so.
  const least = vision('image_min_pixels', 8 * area)
  const most = vision('image_max_pixels', 1024 * area)
  const gated = metadata.boolean('clip.use_silu', false)
  if (vision('spatial_merge_size', 1) > 1)
    throw new OrielError('invalid', 'Pixtral files with a patch merger cannot be read yet.', {
      code: 'unsupported_model',
    })

  const grid = ({ size }: Pick<Tile, 'size'>): Grid => ({ rows: size.height / patch, columns: size.width / patch })

  return {
    name: 'pixtral',
    width: embedding,
    longestEdge: Math.ceil(Math.sqrt(most) * 4),

    plan(original: Size, detail: Detail): PicturePlan {
      const budget =
        detail === 'low' ? least : detail === 'high' ? most : Math.min(most, Math.max(least, autoTokens * area))
      const size = alignedSize(original, patch, least, budget)
      const { rows, columns } = grid({ size })
      const tile: Tile = { image: 0, x: 0, y: 0, size, tokens: rows * columns + rows - 1 }
      return { original, detail, name: `${size.width}x${size.height}`, layout: [tile, '[IMG_END]'] }
    },

    scale: (picture, plan) => tilesOf(plan).map(({ size }) => resizeInto(picture, size, bicubic)),

    prepare: reader.read,

    grid,

    build<N>(graph: GraphBuilder<N>, tile: Tile): N {
      const places = grid(tile)
      const patches = graph.input(places.rows * places.columns, 3 * area)
      let x = graph.matmul(graph.weight('v.patch_embd.weight'), patches)
      x = rmsNorm(graph, x, 'v.pre_ln', epsilon)
      for (let layer = 0; layer < layers; layer++) {
        const part = (name: string) => `v.blk.${layer}.${name}`
        const y = rmsNorm(graph, x, part('ln1'), epsilon)
        const q = graph.rope2d(linear(graph, y, part('attn_q')), heads, places, 10000)
        const k = graph.rope2d(linear(graph, y, part('attn_k')), heads, places, 10000)
        const v = linear(graph, y, part('attn_v'))
        x = graph.add(x, linear(graph, graph.attention(q, k, v, heads), part('attn_out')))
        const z = rmsNorm(graph, x, part('ln2'), epsilon)
        const [gate, up] = [linear(graph, z, part('ffn_gate')), linear(graph, z, part('ffn_up'))]
        x = graph.add(x, linear(graph, gated ? graph.swiglu(gate, up) : graph.geglu(gate, up), part('ffn_down')))
      }
      return linear(graph, graph.gelu(linear(graph, x, 'mm.1')), 'mm.2')
    },

    finisher(weights) {
      const pause = weights.floats('v.token_embd.img_break')
      return (embeddings, tile) => {
        const { rows, columns } = grid(tile)
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
