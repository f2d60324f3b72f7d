import { type Context, type Ggml, type Graph, type Tensor, TensorType } from '../../native/index.ts'
import type { Adapter } from './adapter.ts'
import type { Architecture } from './architecture.ts'
import type { BaseWeights } from './base-weights.ts'
import { type AttentionPart, type MaskedPart, Tape, type Value } from './tape.ts'

/** Cells of a run, with padding, how many of them predict learned tokens, and how they see each other. */
export interface RunSize {
  readonly cells: number
  readonly learned: number
  readonly parts: readonly AttentionPart[]
}

export type Purpose = 'training' | 'training in less memory' | 'evaluation'

/** The inputs of a graph, and what is read from it. */
export interface DecoderGraph {
  /** `[width, cells]` */
  readonly embeddings: Tensor
  /** `[width, cells]`: of the cells of images the products of the projector's last matrix; null: that is not trained. */
  readonly products: Tensor | null
  /** For each deepstack layer what is added behind it, `[width, cells]`. */
  readonly deepstack: readonly Tensor[]
  /** `[axes * cells]` */
  readonly positions: Tensor
  readonly parts: readonly MaskedPart[]
  readonly head: readonly HeadPart[]
  readonly graph: Graph
}

/** Some of the learned tokens: a whole vocabulary for all of them at once would take gigabytes. */
export interface HeadPart {
  readonly from: number
  readonly count: number
  /** `[count]`: the cells that predict. */
  readonly rows: Tensor
  /** `[count]`: the index of each token to be learned among `[vocabulary, count]`. */
  readonly targets: Tensor
  /** `[count]`: ones; null if nothing is trained. */
  readonly ones: Tensor | null
  /** `[count]`: the probability of each token to be learned. */
  readonly probabilities: Tensor
}

/** Numbers of the vocabulary's scores that are in memory at a time. */
const scoresAtOnce = 8 << 20

/**
 * What gradients are multiplied with on their way back. Products with weights of 8 bits round them in blocks whose scales are
 * 16-bit floats: of gradients of 1e-4 such a product loses 6 %, and of those of 1e-5 half.
 */
const gradientScale = 4096

/** Nodes of a layer with its gradients and what is computed again, and of a part of its attention. */
const nodesOfLayer = { fixed: 400, part: 64 }

export const nodesOf = ({ layers, vocabulary }: Architecture, { learned, parts }: RunSize): number =>
  1024 +
  layers * (nodesOfLayer.fixed + nodesOfLayer.part * parts.length) +
  40 * (1 + Math.ceil((learned * vocabulary) / scoresAtOnce))

interface GraphOf {
  readonly ggml: Ggml
  readonly architecture: Architecture
  readonly weights: BaseWeights
  readonly adapter: Adapter
  /** The name of the projector's last matrix, if it is trained. */
  readonly projector: string | null
}

/**
 * The graph that computes the probabilities of learned tokens, and adds the gradients of their negative logarithms' sum to
 * the adapter's.
 */
export function decoderGraph(
  { ggml, architecture, weights, adapter, projector }: GraphOf,
  context: Context,
  size: RunSize,
  purpose: Purpose,
): DecoderGraph {
  const { width, layers, axes, epsilon, vocabulary } = architecture
  const { cells, learned } = size
  const graph = ggml.newGraph(context, nodesOf(architecture, size), false)
  const isTraining = purpose !== 'evaluation'
  const tape = new Tape(ggml, context, graph, isTraining, gradientScale)
  const embeddings = tape.input(TensorType.F32, [width, cells, 1, 1])
  const positions = tape.input(TensorType.I32, [axes * cells, 1, 1, 1])
  const parts = size.parts.map((part) => ({
    ...part,
    mask: tape.input(TensorType.F32, [part.keys, part.count, 1, 1]).tensor,
  }))
  const deepstack = Array.from({ length: architecture.deepstack }, () =>
    tape.input(TensorType.F32, [width, cells, 1, 1]),
  )

  const products = projector === null ? null : tape.input(TensorType.F32, [width, cells, 1, 1])
  const trained = projector === null ? undefined : adapter.pair(context, projector)
  let stream =
    products === null || trained === undefined
      ? embeddings
      : tape.add(embeddings, tape.lowRank(products, trained, embeddings.shape))
  for (let layer = 0; layer < layers; layer++) {
    const added = deepstack[layer]
    const part = (x: Value): Value => {
      const y = layerOf({ architecture, weights, adapter, context }, tape, x, layer, positions.tensor, parts)
      return added === undefined ? y : tape.add(y, added)
    }
    stream = purpose === 'training in less memory' ? tape.recomputed(stream, part) : part(stream)
  }

  // Only cells that predict a learned token go through the head, whose matrix is as large as some layers.
  const most = Math.max(1, Math.floor(scoresAtOnce / vocabulary))
  const head: HeadPart[] = []
  const norm = vectorOf(weights, 'output_norm.weight')
  const output = weights.matrix('output.weight')
  const gradients: { of: Value; gradient: Tensor }[] = []
  for (let from = 0; from < learned; from += most) {
    const count = Math.min(most, learned - from)
    const rows = tape.input(TensorType.I32, [count, 1, 1, 1])
    const targets = tape.input(TensorType.I32, [count, 1, 1, 1])
    const picked = tape.rmsNorm(tape.rows(stream, rows), norm, epsilon)
    const scores = ggml.mulMat(context, output.matrix, picked.tensor)
    const shares = ggml.softMaxExt(context, scores, null, 1, 0)
    const flat = ggml.reshape2d(context, shares, 1, vocabulary * count)
    const probabilities = ggml.getRows(context, flat, targets.tensor)
    ggml.setOutput(probabilities)
    ggml.buildForwardExpand(graph, probabilities)
    const part = { from, count, rows: rows.tensor, targets: targets.tensor, probabilities }
    if (!isTraining) head.push({ ...part, ones: null })
    else {
      const ones = tape.input(TensorType.F32, [1, count, 1, 1]).tensor
      // The gradient of the scores: what the model gives each token, less 1 for the right one.
      const right = ggml.reshape2d(context, ggml.getRowsBack(context, ones, targets.tensor, flat), vocabulary, count)
      const ofScores = ggml.scale(context, ggml.sub(context, shares, right), gradientScale)
      const gradient = ggml.mulMat(context, output.turned, ofScores)
      ggml.buildForwardExpand(graph, gradient)
      gradients.push({ of: picked, gradient })
      head.push({ ...part, ones })
    }
  }
  tape.backward(gradients)
  return {
    embeddings: embeddings.tensor,
    products: products?.tensor ?? null,
    deepstack: deepstack.map(({ tensor }) => tensor),
    positions: positions.tensor,
    parts,
    head,
    graph,
  }
}

interface Parts {
  readonly architecture: Architecture
  readonly weights: BaseWeights
  readonly adapter: Adapter
  readonly context: Context
}

/** One layer: `[width, cells]` -> `[width, cells]` */
function layerOf(
  { architecture, weights, adapter, context }: Parts,
  tape: Tape,
  x: Value,
  layer: number,
  positions: Tensor,
  parts: readonly MaskedPart[],
): Value {
  const { epsilon, attention, rope, isTurned } = architecture
  const { heads, keyHeads, head } = attention
  const cells = x.shape[1]
  const name = (part: string): string => `blk.${layer}.${part}`
  const linear = (x: Value, part: string): Value => {
    const matrix = name(part)
    const y = tape.adapted(x, weights.matrix(`${matrix}.weight`), adapter.pair(context, matrix))
    const bias = weights.vector(`${matrix}.bias`)
    return bias === null ? y : tape.addBias(y, bias)
  }
  const factors = weights.vector('rope_freqs.weight')
  const byHead = (y: Value, count: number, norm: string): Value => {
    const split = tape.reshape(y, [head, count, cells, 1])
    const weight = weights.vector(name(norm))
    const normed = weight === null ? split : tape.rmsNorm(split, weight, epsilon)
    return isTurned(layer) ? tape.rope(normed, positions, factors, rope) : normed
  }
  const normed = tape.rmsNorm(x, vectorOf(weights, name('attn_norm.weight')), epsilon)
  const q = byHead(linear(normed, 'attn_q'), heads, 'attn_q_norm.weight')
  const k = byHead(linear(normed, 'attn_k'), keyHeads, 'attn_k_norm.weight')
  const v = tape.reshape(linear(normed, 'attn_v'), [head, keyHeads, cells, 1])
  const seen = tape.add(x, linear(tape.attention(q, k, v, parts, attention), 'attn_output'))
  const between = tape.rmsNorm(seen, vectorOf(weights, name('ffn_norm.weight')), epsilon)
  return tape.add(seen, linear(tape.swiglu(linear(between, 'ffn_gate'), linear(between, 'ffn_up')), 'ffn_down'))
}

function vectorOf(weights: BaseWeights, name: string): Tensor {
  const vector = weights.vector(name)
  if (vector === null) throw new Error(`the decoder has no ${name}`)
  return vector
}
