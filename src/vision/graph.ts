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
  /** A weight's rows and the numbers in each. @throws OrielError `invalid` if there is none */
  shapeOf(name: string): { rows: number; columns: number }
  /** A weight's numbers, for what is worked out beforehand. @throws OrielError `invalid` if there is none */
  floats(name: string): Float32Array
  /** A matrix `[rows, width]` that depends on the picture's grid alone. @param name tells it from the graph's others */
  table(name: string, width: number, values: (grid: Grid) => Float32Array): N
  /** `x [tokens, in]` times the transpose of `weight [out, in]`: `[tokens, out]` */
  matmul(weight: N, x: N): N
  /** `x [tokens, in]` times `weight [in, out]`, which is stored the other way round: `[tokens, out]` */
  matmulTransposed(weight: N, x: N): N
  /** @param b as many rows as `a`, or one for all of them */
  add(a: N, b: N): N
  /** Each row times `weight [width]`. */
  scale(x: N, weight: N): N
  /** The rows of `a`, and those of `b` below them. */
  concatRows(a: N, b: N): N
  /** Rows as `Array.slice` takes them: a negative end counts from the last row. */
  sliceRows(x: N, start: number, end?: number): N
  /** Root mean square norm over each row, times `weight [width]`. */
  rmsNorm(x: N, weight: N, epsilon: number): N
  /** Layer norm over each row, times `weight [width]` plus `bias [width]` where there is one. */
  layerNorm(x: N, weight: N, bias: N | undefined, epsilon: number): N
  /** The tanh form of GELU. */
  gelu(x: N): N
  /** x * sigmoid(1.702 x) */
  quickGelu(x: N): N
  /** x * sigmoid(x) */
  silu(x: N): N
  /** silu(gate) * up */
  swiglu(gate: N, up: N): N
  /** gelu(gate) * up */
  geglu(gate: N, up: N): N
  /** Rotary positions in two dimensions over `heads` heads. */
  rope2d(x: N, heads: number, rope: Rope2d): N
  /**
   * Joins squares of `factor * factor` patches into one row each, the upper left patch first, and then along the rows:
   * `[tokens, width]` -> `[tokens / factor², width * factor²]`. Both edges of the grid are multiples of `factor`.
   */
  joinPatches(x: N, grid: Grid, factor: number, order?: JoinOrder): N
  /** The mean of each square of `factor * factor` patches: `[tokens, width]` -> `[tokens / factor², width]` */
  averagePatches(x: N, grid: Grid, factor: number): N
  /** softmax(q k / sqrt(headWidth)) v over `heads` heads, every token seeing every other. */
  attention(q: N, k: N, v: N, heads: number): N
}

/** Patches of a picture, row by row. */
export interface Grid {
  rows: number
  columns: number
}

/**
 * How rotary positions turn a head (llama.cpp's `build_rope_2d`): its first half by one position, its second by another,
 * pairs of neighbours together. The frequency of pair `i` of a half is theta^(-2i / (headWidth / 2)).
 */
export interface Rope2d {
  theta: number
  /** Whether the frequencies of the second half start at theta^(-2 / headWidth), so that they lie between the first's. */
  interleaved: boolean
  /** Positions of every row, by which the halves turn. */
  positions(grid: Grid): { first: Int32Array; second: Int32Array }
}

/** How squares of patches are joined. */
export interface JoinOrder {
  /** `columns`: the squares of the left column come first, from above to below. */
  squares?: 'rows' | 'columns'
  /** `channels`: a row has the first number of all of its patches, then the second of all, and so on. */
  within?: 'patches' | 'channels'
}

/** The row and the column of every patch. */
export function patchPlaces({ rows, columns }: Grid): { row: Int32Array; column: Int32Array } {
  const length = rows * columns
  return {
    row: Int32Array.from({ length }, (_, patch) => Math.floor(patch / columns)),
    column: Int32Array.from({ length }, (_, patch) => patch % columns),
  }
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
