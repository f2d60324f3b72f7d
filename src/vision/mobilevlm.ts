import type { Architecture } from './architecture.ts'
import { type GraphBuilder, type Grid, layerNorm, linear } from './graph.ts'
import { clipWith } from './llava.ts'
import type { Metadata } from './metadata.ts'

/**
 * MobileVLM: CLIP, two layers, and two blocks of convolutions of single channels, of which the second keeps every other row
 * and column. After llama.cpp's tools/mtmd (`PROJECTOR_TYPE_LDP`, models/llava.cpp).
 */
export function ldp(metadata: Metadata): Architecture {
  const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')

  /** A convolution of each channel; channels weighed by what all places say together; channels mixed. */
  const block = <N>(graph: GraphBuilder<N>, x: N, name: string, grid: Grid, stride: number): N => {
    const part = (number: string) => `${name}.block.${number}`
    const smaller = { rows: Math.ceil(grid.rows / stride), columns: Math.ceil(grid.columns / stride) }
    const mixed = graph.depthwise(x, graph.weight(part('0.0.weight')), grid, stride)
    const swished = graph.hardSwish(layerNorm(graph, mixed, part('0.1'), epsilon))
    const all = graph.relu(linear(graph, graph.averagePool(swished, smaller, smaller), part('1.fc1')))
    const weighed = graph.multiply(swished, graph.hardSigmoid(linear(graph, all, part('1.fc2'))))
    return layerNorm(graph, linear(graph, weighed, part('2.0')), part('2.1'), epsilon)
  }

  return clipWith(metadata, {
    name: 'ldp',
    width: columnsOf(metadata, 'mm.model.mb_block.2.block.2.1.bias'),
    patches: 4,
    build(graph, x, grid) {
      const y = linear(graph, graph.gelu(linear(graph, x, 'mm.model.mlp.1')), 'mm.model.mlp.3')
      const seen = graph.add(y, block(graph, y, 'mm.model.mb_block.1', grid, 1))
      return block(graph, seen, 'mm.model.mb_block.2', grid, 2)
    },
  })
}

/**
 * MobileVLM V2: CLIP, two layers, averages of four patches, and a convolution of each channel that tells places apart.
 * After llama.cpp's tools/mtmd (`PROJECTOR_TYPE_LDPV2`, models/llava.cpp).
 */
export const ldpv2 = (metadata: Metadata): Architecture =>
  clipWith(metadata, {
    name: 'ldpv2',
    width: columnsOf(metadata, 'mm.model.peg.0.bias'),
    patches: 4,
    build(graph, x, { rows, columns }) {
      const y = linear(graph, graph.gelu(linear(graph, x, 'mm.model.mlp.0')), 'mm.model.mlp.2')
      const averages = graph.averagePool(y, { rows, columns }, { rows: 2, columns: 2 })
      const half = { rows: rows / 2, columns: columns / 2 }
      const places = graph.depthwise(averages, graph.weight('mm.model.peg.0.weight'), half, 1)
      return graph.add(graph.add(places, graph.weight('mm.model.peg.0.bias')), averages)
    },
  })

const columnsOf = (metadata: Metadata, name: string): number => metadata.tensor(name)?.columns ?? 0
