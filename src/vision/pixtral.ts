import { OrielError } from '../errors.ts'
import type { Architecture, Detail, PicturePlan } from './architecture.ts'
import { type GraphBuilder, type Grid, linear, rmsNorm } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { resizeInto, type Size } from './resize.ts'

/** What `detail: auto` spends at most, in tokens: a picture that has more to show is asked for with `high`. */
const autoTokens = 256

/**
 * Pixtral: a transformer over patches with 2D rotary positions, a two-layer projector, and a learned break after every
 * row of patches but the last. After llama.cpp's tools/mtmd (models/pixtral.cpp, clip.cpp, mtmd-image.cpp).
 */
export function pixtral(metadata: Metadata): Architecture {
  const vision = (key: string, fallback?: number) => metadata.number(`clip.vision.${key}`, fallback)
  const patch = vision('patch_size')
  const layers = vision('block_count')
  const heads = vision('attention.head_count')
  const epsilon = vision('attention.layer_norm_epsilon')
  const embedding = vision('projection_dim')
  const mean = metadata.floats('clip.vision.image_mean')
  const deviation = metadata.floats('clip.vision.image_std')
  const area = patch * patch
  // llama.cpp fixes these at 8 and 1024 tokens for this type; a file that knows better may say so.
  const least = vision('image_min_pixels', 8 * area)
  const most = vision('image_max_pixels', 1024 * area)
  const gated = metadata.boolean('clip.use_silu', false)
  if (vision('spatial_merge_size', 1) > 1)
    throw new OrielError('invalid', 'Pixtral files with a patch merger cannot be read yet.', {
      code: 'unsupported_model',
    })

  const gridOf = ({ scaled }: Pick<PicturePlan, 'scaled'>): Grid => ({
    rows: scaled.height / patch,
    columns: scaled.width / patch,
  })

  return {
    name: 'pixtral',
    before: '',
    after: '[IMG_END]',
    width: embedding,
    longestEdge: Math.ceil(Math.sqrt(most) * 4),

    plan(original: Size, detail: Detail): PicturePlan {
      const budget =
        detail === 'low' ? least : detail === 'high' ? most : Math.min(most, Math.max(least, autoTokens * area))
      const scaled = alignedSize(original, patch, least, budget)
      const { rows, columns } = gridOf({ scaled })
      return { original, scaled, tokens: rows * columns + rows - 1 }
    },

    grid: gridOf,

    prepare(rgb, plan) {
      // llama.cpp rounds to 32 bits after every operation.
      const f = Math.fround
      const { rows, columns } = gridOf(plan)
      const pixels = resizeInto(rgb, plan.original, plan.scaled)
      const out = new Float32Array(rows * columns * 3 * area)
      let at = 0
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column++)
          for (let channel = 0; channel < 3; channel++) {
            const shift = mean[channel] as number
            const scale = deviation[channel] as number
            for (let y = row * patch; y < (row + 1) * patch; y++) {
              const from = (y * plan.scaled.width + column * patch) * 3 + channel
              for (let x = 0; x < patch; x++)
                out[at++] = f(f(f((pixels[from + x * 3] as number) / 255) - shift) / scale)
            }
          }
      return out
    },

    build<N>(graph: GraphBuilder<N>, plan: PicturePlan): N {
      const grid = gridOf(plan)
      const patches = graph.input(grid.rows * grid.columns, 3 * area)
      let x = graph.matmul(graph.weight('v.patch_embd.weight'), patches)
      x = rmsNorm(graph, x, 'v.pre_ln', epsilon)
      for (let layer = 0; layer < layers; layer++) {
        const part = (name: string) => `v.blk.${layer}.${name}`
        const y = rmsNorm(graph, x, part('ln1'), epsilon)
        const q = graph.rope2d(linear(graph, y, part('attn_q')), heads, grid, 10000)
        const k = graph.rope2d(linear(graph, y, part('attn_k')), heads, grid, 10000)
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
      return (embeddings, plan) => {
        const { rows, columns } = gridOf(plan)
        const out = new Float32Array(plan.tokens * embedding)
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

/**
 * The size nearest to `size` whose edges are multiples of `align` and whose area lies within the bounds, aspect kept:
 * llama.cpp's `calc_size_preserved_ratio`, 32-bit floats included.
 */
export function alignedSize(size: Size, align: number, minPixels: number, maxPixels: number): Size {
  const f = Math.fround
  const { width, height } = size
  const aligned = (round: (x: number) => number, value: number) => round(f(f(value) / align)) * align
  const nearest = {
    width: Math.max(align, aligned(Math.round, width)),
    height: Math.max(align, aligned(Math.round, height)),
  }
  const area = nearest.width * nearest.height
  if (area > maxPixels) {
    const by = f(Math.sqrt(f(f(f(height) * width) / maxPixels)))
    return {
      width: Math.max(align, aligned(Math.floor, f(width / by))),
      height: Math.max(align, aligned(Math.floor, f(height / by))),
    }
  }
  if (area < minPixels) {
    const by = f(Math.sqrt(f(minPixels / f(f(height) * width))))
    return { width: aligned(Math.ceil, f(width * by)), height: aligned(Math.ceil, f(height * by)) }
  }
  return nearest
}
