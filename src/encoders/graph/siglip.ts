import type { Metadata } from '../../gguf/index.ts'
import { type GraphBuilder, linear } from './builder.ts'
import { transformer } from './transformer.ts'

/** A vision transformer with learned positions, such as SigLIP. */
export interface Tower {
  /** The edge of the square that it was trained on, in pixels. */
  readonly edge: number
  readonly width: number
  /**
   * `[patches, 3 * patch * patch]` -> `[patches, width]`
   * @param positions of the patches `[patches, width]`; by default the learned ones in order
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
