/**
 * The language in which an architecture is described, once. An emitter gives the words their meaning: for ggml see
 * `ggml-graph.ts`, for ONNX Runtime `onnx-graph.ts`. Values are matrices of 32-bit floats written `[tokens, width]`: one row for each patch.
 * @typeParam N the emitter's own kind of node
 */
export interface GraphBuilder<N> {
  /** The values that each run is given: `[tokens, width]`. One for each graph. */
  input(tokens: number, width: number): N
  /** A weight of the GGUF by its name. @throws OrielError `invalid` if there is none */
  weight(name: string): N
  has(name: string): boolean
  /** `x [tokens, in]` times the transpose of `weight [out, in]`: `[tokens, out]` */
  matmul(weight: N, x: N): N
  add(a: N, b: N): N
  /** Root mean square norm over each row, times `weight [width]`. */
  rmsNorm(x: N, weight: N, epsilon: number): N
  /** Layer norm over each row, times `weight [width]` plus `bias [width]`. */
  layerNorm(x: N, weight: N, bias: N, epsilon: number): N
  /** The tanh form of GELU. */
  gelu(x: N): N
  /** x * sigmoid(1.702 x) */
  quickGelu(x: N): N
  /** silu(gate) * up */
  swiglu(gate: N, up: N): N
  /** gelu(gate) * up */
  geglu(gate: N, up: N): N
  /**
   * Rotary positions in two dimensions over `heads` heads: the first half of a head turns with the patch's row, the
   * second with its column, whose frequencies start at theta^(-2/headWidth) (llama.cpp's `build_rope_2d`).
   */
  rope2d(x: N, heads: number, grid: Grid, theta: number): N
  /**
   * Joins squares of `factor * factor` patches into one row each, the upper left patch first, and then along the rows:
   * `[tokens, width]` -> `[tokens / factor², width * factor²]`. Both edges of the grid are multiples of `factor`.
   */
  joinPatches(x: N, grid: Grid, factor: number): N
  /** softmax(q k / sqrt(headWidth)) v over `heads` heads, every token seeing every other. */
  attention(q: N, k: N, v: N, heads: number): N
}

/** Patches of a picture, row by row. */
export interface Grid {
  rows: number
  columns: number
}

/** `x` times the weight `name.weight`, plus `name.bias` where the file has one. */
export function linear<N>(graph: GraphBuilder<N>, x: N, name: string): N {
  const y = graph.matmul(graph.weight(`${name}.weight`), x)
  return graph.has(`${name}.bias`) ? graph.add(y, graph.weight(`${name}.bias`)) : y
}

/** Layer norm with the weights `name.weight` and `name.bias`. */
export const layerNorm = <N>(graph: GraphBuilder<N>, x: N, name: string, epsilon: number): N =>
  graph.layerNorm(x, graph.weight(`${name}.weight`), graph.weight(`${name}.bias`), epsilon)

/** Root mean square norm with the weight `name.weight`. */
export const rmsNorm = <N>(graph: GraphBuilder<N>, x: N, name: string, epsilon: number): N =>
  graph.rmsNorm(x, graph.weight(`${name}.weight`), epsilon)
