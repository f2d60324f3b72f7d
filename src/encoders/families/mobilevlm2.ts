import { linear } from '../graph/builder.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { withClip } from './parts/with-clip.ts'

/**
 * MobileVLM V2: CLIP, two layers, averages of four patches, and a depthwise convolution that encodes positions. After
 * llama.cpp's tools/mtmd (`PROJECTOR_TYPE_LDPV2`, models/llava.cpp).
 */
export const mobilevlm2: ImageFamily = {
  types: ['ldpv2'],
  width: (metadata) => metadata.needTensor('mm.model.peg.0.bias').columns,

  open: (metadata) =>
    withClip(metadata, {
      patches: 4,
      build(graph, x, { rows, columns }) {
        const y = linear(graph, graph.gelu(linear(graph, x, 'mm.model.mlp.0')), 'mm.model.mlp.2')
        const averages = graph.averagePool(y, { rows, columns }, { rows: 2, columns: 2 })
        const half = { rows: rows / 2, columns: columns / 2 }
        const places = graph.depthwise(averages, graph.weight('mm.model.peg.0.weight'), half, 1)
        return graph.add(graph.add(places, graph.weight('mm.model.peg.0.bias')), averages)
      },
    }),
}
