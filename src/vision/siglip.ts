import { type GraphBuilder, layerNorm, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'

/** A vision transformer with learned positions and layer norms, as SigLIP and CLIP have it. */
export interface Tower {
  /** Pixels of the square that it was trained on. */
  readonly edge: number
  readonly width: number
  /** `[patches, 3 * patch * patch]` -> `[patches, width]` */
  build<N>(graph: GraphBuilder<N>, patches: N): N
}

/** After llama.cpp's `clip_graph::build_vit` with `NORM_TYPE_NORMAL` (tools/mtmd/clip.cpp). */
export function siglip(metadata: Metadata): Tower {
  const layers = metadata.number('clip.vision.block_count')
  const heads = metadata.number('clip.vision.attention.head_count')
  const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')
  const exact = metadata.boolean('clip.use_gelu', false)
  return {
    edge: metadata.number('clip.vision.image_size'),
    width: metadata.number('clip.vision.embedding_length'),
    build(graph, patches) {
      let x = linear(graph, patches, 'v.patch_embd')
      x = graph.add(x, graph.weight('v.position_embd.weight'))
      for (let layer = 0; layer < layers; layer++) {
        const part = (name: string) => `v.blk.${layer}.${name}`
        const y = layerNorm(graph, x, part('ln1'), epsilon)
        const [q, k, v] = ['attn_q', 'attn_k', 'attn_v'].map((name) => linear(graph, y, part(name)))
        if (q === undefined || k === undefined || v === undefined) throw new Error('unreachable')
        x = graph.add(x, linear(graph, graph.attention(q, k, v, heads), part('attn_out')))
        const z = linear(graph, layerNorm(graph, x, part('ln2'), epsilon), part('ffn_up'))
        x = graph.add(x, linear(graph, exact ? graph.gelu(z) : graph.quickGelu(z), part('ffn_down')))
      }
      return graph.has('v.post_ln.weight') ? layerNorm(graph, x, 'v.post_ln', epsilon) : x
    },
  }
}
