import { layerNorm, linear } from '../graph/builder.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { withClip } from './parts/with-clip.ts'

/**
 * LLaVA 1.5 and 1.6, and Granite Vision: CLIP or SigLIP, and a projector of two layers. In Yi-VL a norm follows each layer.
 * After llama.cpp's tools/mtmd (`PROJECTOR_TYPE_MLP` and `_MLP_NORM`, models/llava.cpp).
 */
export const llava: ImageFamily = {
  types: ['mlp'],
  width: (metadata) => (metadata.tensor('mm.3.weight') ?? metadata.needTensor('mm.2.weight')).rows,

  open(metadata) {
    if (metadata.tensor('mm.3.weight') === null)
      return withClip(metadata, {
        patches: 1,
        build: (graph, x) => linear(graph, graph.gelu(linear(graph, x, 'mm.0')), 'mm.2'),
      })
    const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')
    return withClip(metadata, {
      patches: 1,
      build(graph, x) {
        const inner = graph.gelu(layerNorm(graph, linear(graph, x, 'mm.0'), 'mm.1', epsilon))
        return layerNorm(graph, linear(graph, inner, 'mm.3'), 'mm.4', epsilon)
      },
    })
  },
}
