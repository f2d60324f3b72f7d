import type { Metadata } from '../../gguf/index.ts'
import {
  type Band,
  type GraphBuilder,
  layerNorm,
  linear,
  type Mask,
  type Rope2d,
  rmsNorm,
  type Windows,
} from './builder.ts'
import type { Modality } from './source.ts'

/** The layers of an encoder's transformer: norm, attention, norm, feed-forward; in some, another norm after each of both. */
export interface Transformer {
  readonly layers: number
  readonly width: number
  readonly epsilon: number
  /** One layer: `[tokens, width]` -> `[tokens, width]` */
  layer<N>(graph: GraphBuilder<N>, x: N, index: number): N
  /**
   * All layers, and the norms before and after them that the file has: `[tokens, width]` -> `[tokens, width]`
   * @param before what the last norm is of; by default the rows of the last layer
   */
  all<N>(graph: GraphBuilder<N>, x: N, before?: (graph: GraphBuilder<N>, x: N) => N): N
}

/** Differences between transformers that files do not record. */
export interface TransformerKind {
  /** The half of the file that it is in. By default vision. */
  modality?: Modality
  norm?: 'layer' | 'rms'
  /** Whether the two norms of a layer are those of what its parts add, not of their inputs. */
  normsAfter?: boolean
  /** Of the feed-forward parts, whatever the file names. */
  activation?: Activation
  /** Of norms, whatever the file says. */
  epsilon?: number
  /** The product with a matrix of a layer, by the matrix's name. By default `linear`. */
  product?: typeof linear
  /** Whether each head of the values is normed too, without a weight. */
  normsValues?: boolean
  /** The factor of the scores of attention. By default 1 / sqrt(headWidth). */
  scale?: number
  /** Rotary positions of queries and keys. */
  rope?: Rope2d
  /** The windows of a layer in which rows attend only to those of their own window. */
  windows?: (layer: number) => Windows | undefined
  /** The band of a layer in which rows attend to those near them, and to a sink of each head. */
  bands?: (layer: number) => Omit<Band, 'sinks'> | undefined
  /** Which rows attend to which. By default all to all. */
  mask?: Mask
}

/** After llama.cpp's `clip_graph::build_vit` (tools/mtmd/clip.cpp). */
export function transformer(
  metadata: Metadata,
  {
    modality = 'vision',
    norm = 'layer',
    normsAfter = false,
    product = linear,
    normsValues = false,
    scale,
    rope,
    windows,
    bands,
    mask,
    ...kind
  }: TransformerKind = {},
): Transformer {
  const key = (name: string) => `clip.${modality}.${name}`
  const prefix = { vision: 'v', audio: 'a' }[modality]
  const width = metadata.number(key('embedding_length'))
  const heads = metadata.number(key('attention.head_count'))
  /** Of keys and values: each serves several heads of queries. */
  const sharedHeads = metadata.number(key('attention.head_count_kv'), heads)
  /** Queries, keys and values in one matrix may be wider than the rows. */
  const fused = metadata.tensor(`${prefix}.blk.0.attn_qkv.weight`)?.rows
  const head = fused === undefined ? width / heads : fused / (heads + 2 * sharedHeads)
  const { epsilon = metadata.number(key('attention.layer_norm_epsilon')) } = kind
  const layers = metadata.number(key('block_count'))
  const { activation: activate = activationOf(metadata) } = kind
  // Early converters swapped the names of these two.
  const swapped = metadata.tensor(`${prefix}.blk.0.ffn_down.weight`)?.columns === width
  const [up, down] = swapped ? ['ffn_down', 'ffn_up'] : ['ffn_up', 'ffn_down']

  const normed = <N>(graph: GraphBuilder<N>, x: N, name: string): N =>
    norm === 'rms' ? rmsNorm(graph, x, name, epsilon) : layerNorm(graph, x, name, epsilon)

  /** Multiplies each row by `name.weight`, if the file has it. */
  const scaled = <N>(graph: GraphBuilder<N>, x: N, name: string): N =>
    graph.has(`${name}.weight`) ? graph.multiply(x, graph.weight(`${name}.weight`)) : x

  const maybeNormed = <N>(graph: GraphBuilder<N>, x: N, name: string): N =>
    graph.has(`${name}.weight`) ? normed(graph, x, name) : x

  const added = <N>(graph: GraphBuilder<N>, x: N, name: string): N => (normsAfter ? normed(graph, x, name) : x)

  /** Queries, keys and values of a layer, from three matrices or from one. */
  const projected = <N>(graph: GraphBuilder<N>, x: N, part: (name: string) => string): [N, N, N] => {
    if (!graph.has(`${part('attn_qkv')}.weight`))
      return [product(graph, x, part('attn_q')), product(graph, x, part('attn_k')), product(graph, x, part('attn_v'))]
    const all = product(graph, x, part('attn_qkv'))
    const [own, shared] = [head * heads, head * sharedHeads]
    return [graph.columns(all, 0, own), graph.columns(all, own, shared), graph.columns(all, own + shared, shared)]
  }

  /** Queries or keys of a layer: each row normed, or each head of it, as the norm's width says. */
  const normedHeads = <N>(graph: GraphBuilder<N>, x: N, name: string, of: number): N => {
    const columns = metadata.tensor(`${name}.weight`)?.columns
    if (columns === undefined) return x
    if (columns !== head) return normed(graph, x, name)
    return graph.joinRows(normed(graph, graph.splitRows(x, of), name), of)
  }

  /** A part of each of `of` heads rotated, or all of them. */
  const rotated = <N>(graph: GraphBuilder<N>, x: N, { part, ...all }: Rope2d, of: number): N => {
    if (part === undefined) return graph.rope2d(x, of, all)
    const each = graph.splitRows(x, of)
    const end = part.from + part.width
    const turned = graph.rope2d(graph.joinRows(graph.columns(each, part.from, part.width), of), of, all)
    const begun = graph.concatColumns(graph.columns(each, 0, part.from), graph.splitRows(turned, of))
    const rest = head - end
    return graph.joinRows(rest === 0 ? begun : graph.concatColumns(begun, graph.columns(each, end, rest)), of)
  }

  /** Queries or keys of a layer, normed and rotated. */
  const placed = <N>(graph: GraphBuilder<N>, x: N, name: string, of: number): N => {
    const y = normedHeads(graph, x, `${name}_norm`, of)
    return rope === undefined ? y : rotated(graph, y, rope, of)
  }

  /** Heads with the same keys after those with others: the scores of all at once would take much memory. */
  const inBand = <N>(graph: GraphBuilder<N>, q: N, k: N, v: N, band: Omit<Band, 'sinks'>, name: string): N => {
    const sinks = graph.floats(name)
    const sharing = heads / sharedHeads
    const groups = Array.from({ length: sharedHeads }, (_, at) => {
      const [own, ...shared] = [q, k, v].map((x, part) => {
        const columns = part === 0 ? sharing * head : head
        return graph.columns(x, at * columns, columns)
      }) as [N, N, N]
      const of = sinks.subarray(at * sharing, (at + 1) * sharing)
      return graph.bandAttention(own, ...shared, sharing, { ...band, sinks: { name: `${name} ${at}`, of } })
    })
    return groups.reduce((joined, group) => graph.concatColumns(joined, group))
  }

  const feedForward = <N>(graph: GraphBuilder<N>, x: N, part: (name: string) => string): N => {
    const raised = product(graph, x, part(up))
    const gate = part('ffn_gate')
    const active = graph.has(`${gate}.weight`)
      ? activate.gated(graph, product(graph, x, gate), raised)
      : activate.plain(graph, raised)
    return product(graph, active, part(down))
  }

  const layer: Transformer['layer'] = (graph, x, index) => {
    const part = (name: string) => `${prefix}.blk.${index}.${name}`
    const y = normsAfter ? x : normed(graph, x, part('ln1'))
    const [queries, keys, values] = projected(graph, y, part)
    const q = placed(graph, queries, part('attn_q'), heads)
    const k = placed(graph, keys, part('attn_k'), sharedHeads)
    const v = normsValues
      ? graph.joinRows(graph.rmsNorm(graph.splitRows(values, sharedHeads), undefined, epsilon), sharedHeads)
      : values
    const [among, near] = [windows?.(index), bands?.(index)]
    const mixed = near
      ? inBand(graph, q, k, v, near, part('attn_sinks'))
      : among
        ? graph.windowAttention(q, k, v, heads, among)
        : graph.attention(q, k, v, heads, scale, mask)
    const attended = added(graph, scaled(graph, product(graph, mixed, part('attn_out')), part('ls1')), part('ln1'))
    const seen = graph.add(x, maybeNormed(graph, attended, part('attn_post_norm')))
    const inner = feedForward(graph, normsAfter ? seen : normed(graph, seen, part('ln2')), part)
    const thought = maybeNormed(graph, added(graph, inner, part('ln2')), part('ffn_post_norm'))
    return scaled(graph, graph.add(seen, scaled(graph, thought, part('ls2'))), part('out_scale'))
  }

  return {
    layers,
    width,
    epsilon,
    layer,
    all(graph, x, before = (_, rows) => rows) {
      let y = maybeNormed(graph, x, `${prefix}.pre_ln`)
      for (let index = 0; index < layers; index++) y = layer(graph, y, index)
      return maybeNormed(graph, before(graph, y), `${prefix}.post_ln`)
    },
  }
}

export interface Activation {
  plain<N>(graph: GraphBuilder<N>, x: N): N
  gated<N>(graph: GraphBuilder<N>, gate: N, up: N): N
}

export const exactGelu: Activation = {
  plain: (graph, x) => graph.geluErf(x),
  gated: (graph, gate, up) => graph.multiply(graph.geluErf(gate), up),
}

export const quickGelu: Activation = {
  plain: (graph, x) => graph.quickGelu(x),
  gated: (graph, gate, up) => graph.multiply(graph.quickGelu(gate), up),
}

export const silu: Activation = {
  plain: (graph, x) => graph.silu(x),
  gated: (graph, gate, up) => graph.swiglu(gate, up),
}

/** The activation function of feed-forward parts, as the file names it. */
export function activationOf(metadata: Metadata): Activation {
  if (metadata.boolean('clip.use_silu', false)) return silu
  if (!metadata.boolean('clip.use_gelu', false)) return quickGelu
  return { plain: (graph, x) => graph.gelu(x), gated: (graph, gate, up) => graph.geglu(gate, up) }
}

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
