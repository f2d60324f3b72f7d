import { type GraphBuilder, type Grid, layerNorm, linear } from '../graph/builder.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { withClip } from './parts/with-clip.ts'

/**
 * MobileVLM: CLIP, two layers, and two blocks of depthwise convolutions, the second with a stride of 2. After llama.cpp's
 * tools/mtmd (`PROJECTOR_TYPE_LDP`, models/llava.cpp).
 */
export const mobilevlm: ImageFamily = {
  types: ['ldp'],
  width: (metadata) => metadata.needTensor('mm.model.mb_block.2.block.2.1.bias').columns,

  open(metadata) {
    const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')

    /** A depthwise convolution, squeeze-and-excitation, and a mix of the channels. */
    const block = <N>(graph: GraphBuilder<N>, x: N, name: string, grid: Grid, stride: number): N => {
      const part = (number: string) => `${name}.block.${number}`
      const smaller = { rows: Math.ceil(grid.rows / stride), columns: Math.ceil(grid.columns / stride) }
      const mixed = graph.depthwise(x, graph.weight(part('0.0.weight')), grid, stride)
      const swished = graph.hardSwish(layerNorm(graph, mixed, part('0.1'), epsilon))
      const all = graph.relu(linear(graph, graph.averagePool(swished, smaller, smaller), part('1.fc1')))
      const weighed = graph.multiply(swished, graph.hardSigmoid(linear(graph, all, part('1.fc2'))))
      return layerNorm(graph, linear(graph, weighed, part('2.0')), part('2.1'), epsilon)
    }

    return withClip(metadata, {
      patches: 4,
      build(graph, x, grid) {
        const y = linear(graph, graph.gelu(linear(graph, x, 'mm.model.mlp.1')), 'mm.model.mlp.3')
        const seen = graph.add(y, block(graph, y, 'mm.model.mb_block.1', grid, 1))
        return block(graph, seen, 'mm.model.mb_block.2', grid, 2)
      },
    })
  },
}
