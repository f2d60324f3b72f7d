import { type GraphBuilder, linear } from './graph.ts'
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

/** After llama.cpp's `clip_graph_siglip` (tools/mtmd/models/siglip.cpp). */
export function siglip(metadata: Metadata): Tower {
  const { width, all } = transformer(metadata)
  return {
    edge: metadata.number('clip.vision.image_size'),
    width,
    build: (graph, patches, positions = graph.weight('v.position_embd.weight')) =>
      all(graph, graph.add(linear(graph, patches, 'v.patch_embd'), positions)),
  }
}
