import { type GraphBuilder, layerNorm, linear } from '../../../graph/builder.ts'

interface ConformerKind<N> {
  /** Of norms. */
  readonly epsilon: number
  /** Numbers in a row of the convolution, and the rows that it spans. */
  readonly inner: number
  readonly kernel: number
  /** Whether the convolution has a bias. */
  readonly moves: boolean
  /** Attention of the rows, which are normed, before its last matrix. */
  attention(x: N, part: (name: string) => string): N
}

/**
 * A layer of a conformer: half a perceptron, attention, a convolution of gated rows, and the other half. After llama.cpp's
 * tools/mtmd (models/conformer.cpp).
 */
export function conformerLayer<N>(graph: GraphBuilder<N>, x: N, name: string, kind: ConformerKind<N>): N {
  const { epsilon, inner, kernel, moves } = kind
  const part = (end: string) => `${name}.${end}`
  const normed = (y: N, norm: string) => layerNorm(graph, y, part(norm), epsilon)
  const feedForward = (y: N, more: string): N => {
    const up = graph.silu(linear(graph, normed(y, `ffn_norm${more}`), part(`ffn_up${more}`)))
    return graph.add(y, graph.scale(linear(graph, up, part(`ffn_down${more}`)), 0.5))
  }
  const attended = (y: N): N => graph.add(y, linear(graph, kind.attention(normed(y, 'ln1'), part), part('attn_out')))
  const convolved = (y: N): N => {
    const both = linear(graph, normed(y, 'norm_conv'), part('conv_pw1'))
    const gated = graph.multiply(graph.columns(both, 0, inner), graph.sigmoid(graph.columns(both, inner, inner)))
    const mixed = graph.depthwiseRows(gated, graph.weight(part('conv_dw.weight')), (kernel - 1) / 2)
    const moved = moves ? graph.add(mixed, graph.weight(part('conv_dw.bias'))) : mixed
    const scaled = graph.multiply(moved, graph.weight(part('conv_norm.weight')))
    const active = graph.silu(graph.add(scaled, graph.weight(part('conv_norm.bias'))))
    return graph.add(y, linear(graph, active, part('conv_pw2')))
  }
  return normed(feedForward(convolved(attended(feedForward(x, ''))), '_1'), 'ln2')
}
