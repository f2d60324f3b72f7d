import { type GraphBuilder, layerNorm, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { transformer } from './transformer.ts'

/** A vision transformer with learned positions, as SigLIP has it. */
export interface Tower {
  /** Pixels of the square that it was trained on. */
  readonly edge: number
  readonly width: number
  /**
   * `[patches, 3 * patch * patch]` -> `[patches, width]`
   * @param positions of each patch `[patches, width]`; by default the learned ones in their order
   */
  build<N>(graph: GraphBuilder<N>, patches: N, positions?: N): N
}

/** After llama.cpp's `clip_graph::build_vit` with `NORM_TYPE_NORMAL` (tools/mtmd/clip.cpp). */
export function siglip(metadata: Metadata): Tower {
  const { layers, width, epsilon, layer } = transformer(metadata)
  return {
    edge: metadata.number('clip.vision.image_size'),
    width,
    build(graph, patches, positions = graph.weight('v.position_embd.weight')) {
      let x = graph.add(linear(graph, patches, 'v.patch_embd'), positions)
      for (let index = 0; index < layers; index++) x = layer(graph, x, index)
      return graph.has('v.post_ln.weight') ? layerNorm(graph, x, 'v.post_ln', epsilon) : x
    },
  }
}
