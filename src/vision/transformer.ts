import { type GraphBuilder, layerNorm, linear, type Rope2d, rmsNorm } from './graph.ts'
import type { Metadata } from './metadata.ts'

/** The layers of a vision transformer: norm, attention, norm, feed-forward. */
export interface Transformer {
  readonly layers: number
  readonly width: number
  readonly epsilon: number
  /** One layer more: `[tokens, width]` -> `[tokens, width]` */
  layer<N>(graph: GraphBuilder<N>, x: N, index: number): N
  /** All layers, with the norms before and behind them that the file has: `[tokens, width]` -> `[tokens, width]` */
  all<N>(graph: GraphBuilder<N>, x: N): N
}

/** In what transformers differ that a file does not tell. */
interface TransformerKind {
  norm?: 'layer' | 'rms'
  /** Rotary positions, if queries and keys are turned. */
  rope?: Rope2d
}

/** After llama.cpp's `clip_graph::build_vit` (tools/mtmd/clip.cpp). */
export function transformer(metadata: Metadata, { norm = 'layer', rope }: TransformerKind = {}): Transformer {
  const width = metadata.number('clip.vision.embedding_length')
  const heads = metadata.number('clip.vision.attention.head_count')
  const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')
  const layers = metadata.number('clip.vision.block_count')
  const activate = activation(metadata)
  // Files of early converters have the names of these two changed over.
  const swapped = metadata.tensor('v.blk.0.ffn_down.weight')?.columns === width
  const [up, down] = swapped ? ['ffn_down', 'ffn_up'] : ['ffn_up', 'ffn_down']

  const normed = <N>(graph: GraphBuilder<N>, x: N, name: string): N =>
    norm === 'rms' ? rmsNorm(graph, x, name, epsilon) : layerNorm(graph, x, name, epsilon)

  /** `name.weight` of the file, if it has one, as a factor for each number of a row. */
  const scaled = <N>(graph: GraphBuilder<N>, x: N, name: string): N =>
    graph.has(`${name}.weight`) ? graph.multiply(x, graph.weight(`${name}.weight`)) : x

  /** Queries or keys of a layer. */
  const projected = <N>(graph: GraphBuilder<N>, x: N, name: string): N => {
    const y = linear(graph, x, name)
    const z = graph.has(`${name}_norm.weight`) ? normed(graph, y, `${name}_norm`) : y
    return rope === undefined ? z : graph.rope2d(z, heads, rope)
  }

  const feedForward = <N>(graph: GraphBuilder<N>, x: N, part: (name: string) => string): N => {
    const raised = linear(graph, x, part(up))
    const gate = part('ffn_gate')
    const active = graph.has(`${gate}.weight`)
      ? activate.gated(graph, linear(graph, x, gate), raised)
      : activate.plain(graph, raised)
    return linear(graph, active, part(down))
  }

  const layer: Transformer['layer'] = (graph, x, index) => {
    const part = (name: string) => `v.blk.${index}.${name}`
    const y = normed(graph, x, part('ln1'))
    const [q, k] = [projected(graph, y, part('attn_q')), projected(graph, y, part('attn_k'))]
    const mixed = linear(graph, graph.attention(q, k, linear(graph, y, part('attn_v')), heads), part('attn_out'))
    const seen = graph.add(x, scaled(graph, mixed, part('ls1')))
    const thought = feedForward(graph, normed(graph, seen, part('ln2')), part)
    return graph.add(seen, scaled(graph, thought, part('ls2')))
  }

  return {
    layers,
    width,
    epsilon,
    layer,
    all(graph, x) {
      let y = graph.has('v.pre_ln.weight') ? normed(graph, x, 'v.pre_ln') : x
      for (let index = 0; index < layers; index++) y = layer(graph, y, index)
      return graph.has('v.post_ln.weight') ? normed(graph, y, 'v.post_ln') : y
    },
  }
}

interface Activation {
  plain<N>(graph: GraphBuilder<N>, x: N): N
  gated<N>(graph: GraphBuilder<N>, gate: N, up: N): N
}

/** What the file says of the function between a layer's matrices. */
function activation(metadata: Metadata): Activation {
  if (metadata.boolean('clip.use_silu', false))
    return { plain: (graph, x) => graph.silu(x), gated: (graph, gate, up) => graph.swiglu(gate, up) }
  return {
    plain: metadata.boolean('clip.use_gelu', false) ? (graph, x) => graph.gelu(x) : (graph, x) => graph.quickGelu(x),
    gated: (graph, gate, up) => graph.geglu(gate, up),
  }
}
