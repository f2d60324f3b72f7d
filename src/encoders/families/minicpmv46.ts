import { type GraphBuilder, layerNorm, linear, type Windows } from '../graph/builder.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily, Tile } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { gridOf } from '../preprocess/sizes.ts'
import { withinSquare } from '../preprocess/slices.ts'
import { bucketsOf, minicpmSlices } from './parts/minicpm.ts'

/** Squares of 2 x 2 patches. */
const squares: Windows = {
  size: 4,
  rows: ({ rows, columns }) =>
    Array.from({ length: (rows * columns) / 4 }, (_, square) => {
      const across = columns / 2
      const first = 2 * Math.floor(square / across) * columns + 2 * (square % across)
      return [first, first + 1, first + columns, first + columns + 1]
    }),
}

/**
 * MiniCPM-V 4.6: an image is cut into slices as by its predecessors. Between two layers of SigLIP the patches of a square
 * attend to each other and become one, and squares of those become one embedding; models of more tokens do only the
 * latter. After llama.cpp's tools/mtmd (`clip_graph_minicpmv4_6`, models/minicpmv.cpp, `mtmd_image_preprocessor_minicpmv`).
 */
export const minicpmv46: ImageFamily = {
  types: ['minicpmv4_6'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('mm.down.weight').rows,

  open(metadata) {
    const { layers, epsilon, layer } = transformer(metadata)
    const heads = metadata.number('clip.vision.attention.head_count')
    const reader = patchReader(metadata)
    const { patch } = reader
    const edge = metadata.number('clip.vision.image_size')
    const factor = metadata.number('clip.vision.projector.scale_factor', 4)
    // The layer after which patches are joined.
    const [joining = 0] = factor === 4 ? metadata.integers('clip.vision.wa_layer_indexes') : [layers]

    return {
      ...minicpmSlices(reader, {
        ...{ edge, factor, wrapped: false },
        whole(original) {
          const { width, height } = original
          if (factor === 2 && width * height <= edge * edge) return withinSquare(original, edge, patch * factor, true)
          return width <= edge && height <= edge ? { width: edge, height: edge } : null
        },
        tokens: ({ width, height }) => (width * height) / (patch * factor) ** 2,
      }),

      build<N>(graph: GraphBuilder<N>, { size }: Tile): N {
        const grid = gridOf(size, patch)

        /** The patches of each square attend to each other, and become one. */
        const merged = (x: N): N => {
          const part = (name: string) => `v.vit_merger.${name}`
          const y = layerNorm(graph, x, part('ln1'), epsilon)
          const [q, k, v] = ['attn_q', 'attn_k', 'attn_v'].map((name) => linear(graph, y, part(name))) as [N, N, N]
          const mixed = graph.windowAttention(q, k, v, heads, squares)
          const joined = graph.joinPatches(graph.add(linear(graph, mixed, part('attn_out')), x), grid, 2)
          const inner = linear(graph, layerNorm(graph, joined, part('ds_ln'), epsilon), part('ds_ffn_up'))
          return graph.add(linear(graph, graph.gelu(inner), part('ds_ffn_down')), graph.averageParts(joined, 4))
        }

        const patches = linear(graph, graph.input(grid.rows * grid.columns, 3 * patch * patch), 'v.patch_embd')
        let x = graph.add(patches, graph.takeRows(graph.weight('v.position_embd.weight'), 'buckets', bucketsOf))
        if (graph.has('v.pre_ln.weight')) x = layerNorm(graph, x, 'v.pre_ln', epsilon)
        for (let index = 0; index < layers; index++) {
          x = layer(graph, x, index)
          if (index === joining) x = merged(x)
        }
        if (graph.has('v.post_ln.weight')) x = layerNorm(graph, x, 'v.post_ln', epsilon)
        const divided = factor / 2
        const rest = { rows: grid.rows / divided, columns: grid.columns / divided }
        const joined = graph.joinPatches(x, rest, 2, { divided })
        const inner = linear(graph, layerNorm(graph, joined, 'mm.input_norm', epsilon), 'mm.up')
        return linear(graph, graph.geluErf(inner), 'mm.down')
      },
    }
  },
}
