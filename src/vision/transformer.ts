import { type GraphBuilder, layerNorm, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'

/** The layers of a vision transformer as CLIP and SigLIP have it: norm, attention, norm, two matrices. */
export interface Transformer {
  readonly layers: number
  readonly width: number
  readonly epsilon: number
  /** One layer more: `[tokens, width]` -> `[tokens, width]` */
  layer<N>(graph: GraphBuilder<N>, x: N, index: number): N
}

/** After llama.cpp's `clip_graph::build_vit` with `NORM_TYPE_NORMAL` (tools/mtmd/clip.cpp). */
export function transformer(metadata: Metadata): Transformer {
  const width = metadata.number('clip.vision.embedding_length')
  const heads = metadata.number('clip.vision.attention.head_count')
  const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')
  const activate = activation(metadata)
  // Files of early converters have the names of these two changed over.
  const swapped = metadata.tensor('v.blk.0.ffn_down.weight')?.columns === width
  const [up, down] = swapped ? ['ffn_down', 'ffn_up'] : ['ffn_up', 'ffn_down']
  return {
    layers: metadata.number('clip.vision.block_count'),
    width,
    epsilon,
    layer(graph, x, index) {
      const part = (name: string) => `v.blk.${index}.${name}`
      const y = layerNorm(graph, x, part('ln1'), epsilon)
      const [q, k, v] = [
        linear(graph, y, part('attn_q')),
        linear(graph, y, part('attn_k')),
        linear(graph, y, part('attn_v')),
      ]
      const seen = graph.add(x, linear(graph, graph.attention(q, k, v, heads), part('attn_out')))
      const z = linear(graph, layerNorm(graph, seen, part('ln2'), epsilon), part(up))
      return graph.add(seen, linear(graph, activate(graph, z), part(down)))
    },
  }
}

/** What the file says of the function between a layer's two matrices. */
function activation(metadata: Metadata): <N>(graph: GraphBuilder<N>, x: N) => N {
  return metadata.boolean('clip.use_gelu', false) ? (graph, x) => graph.gelu(x) : (graph, x) => graph.quickGelu(x)
}
