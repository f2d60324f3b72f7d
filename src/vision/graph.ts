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
  /** A weight's numbers, for what is worked out of them beforehand. @throws OrielError `invalid` if there is none */
  floats(name: string): Float32Array
  /** `x [tokens, in]` times the transpose of `weight [out, in]`, plus `bias [out]` if there is one: `[tokens, out]` */
  matmul(weight: N, x: N, bias?: N): N
  /** `x [tokens, in]` times `weight [in, out]`, which is stored the other way round: `[tokens, out]` */
  matmulTransposed(weight: N, x: N): N
  /** Numbers that follow from a picture's size: rows of `width`. Equal names have equal numbers. */
  table(name: string, width: number, of: (grid: Grid) => Float32Array): N
  /** `b` of one row is added to all rows. */
  add(a: N, b: N): N
  /** Number by number; `b` of one row multiplies all rows. */
  multiply(a: N, b: N): N
  /** The rows of `b` behind those of `a`. */
  concatRows(a: N, b: N): N
  /** The numbers of each row of `b` behind those of `a`'s. */
  concatColumns(a: N, b: N): N
  /** The rows of `x` that `indices` names, in its order. Equal names have equal indices. */
  takeRows(x: N, name: string, indices: (grid: Grid) => Int32Array): N
  /** Root mean square norm over each row, times `weight [width]`. */
  rmsNorm(x: N, weight: N, epsilon: number): N
  /** Layer norm over each row, times `weight [width]` plus `bias [width]` where there is one. */
  layerNorm(x: N, weight: N, bias: N | undefined, epsilon: number): N
  /** So many numbers of each row, from `from` on. */
  columns(x: N, from: number, width: number): N
  /** Each `count` rows that follow one another in one: `[tokens, width]` -> `[tokens / count, width * count]` */
  joinRows(x: N, count: number): N
  /** The tanh form of GELU. */
  gelu(x: N): N
  /** x * sigmoid(1.702 x) */
  quickGelu(x: N): N
  /** x * sigmoid(x) */
  silu(x: N): N
  relu(x: N): N
  /** x * hardSigmoid(x) */
  hardSwish(x: N): N
  /** (x + 3) / 6, held between 0 and 1 */
  hardSigmoid(x: N): N
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
  /**
   * A convolution of each channel by itself, with zeros around the grid so that a stride of 1 keeps its size:
   * `[tokens, width]` -> `[tokens / stride², width]`. The weight is ggml's `[size, size, 1, width]`, its size odd. Only for
   * encoders whose pictures are all of one size.
   */
  depthwise(x: N, weight: N, grid: Grid, stride: number): N
  /** The averages of windows that lie side by side: `[tokens, width]` -> `[tokens / window, width]`. Only as `depthwise`. */
  averagePool(x: N, grid: Grid, window: Grid): N
  /** softmax(q k / sqrt(headWidth)) v over `heads` heads, every row of q seeing every row of k. */
  attention(q: N, k: N, v: N, heads: number): N
  /** The same where a row only sees those of its own window. */
  windowAttention(q: N, k: N, v: N, heads: number, windows: Windows): N
}

/** Patches of a picture, row by row. */
export interface Grid {
  rows: number
  columns: number
}

/**
 * How rotary positions turn the pairs of a head (llama.cpp's `build_rope_2d`, and `GGML_ROPE_TYPE_VISION` for pairs of
 * halves): the first half of them by one position, the second by another. The frequency of pair `i` of a half is theta^(-2i / (headWidth / 2)). One for each graph.
 */
export interface Rope2d {
  theta: number
  /** Whether the frequencies of the second half start at theta^(-2 / headWidth), and so lie between those of the first. */
  interleaved: boolean
  /** Which two numbers of a head turn together: neighbours, or one of the first half with one of the second. */
  pairs?: 'neighbours' | 'halves'
  /** The two positions of every row. */
  positions(grid: Grid): { first: Int32Array; second: Int32Array }
}

/** Parts of a picture that are looked at by themselves. One kind for each graph. */
export interface Windows {
  /** Rows of the largest. */
  size: number
  /** The rows of each. Every row is in one of them. */
  rows(grid: Grid): readonly (readonly number[])[]
}

/**
 * Windows filled up to one size.
 * @returns `taken`: the row in each place of each window, any row behind the window's own; `back`: the place of each row
 */
export function windowPlaces(windows: readonly (readonly number[])[], size: number) {
  const taken = new Int32Array(windows.length * size)
  const back = new Int32Array(windows.reduce((sum, { length }) => sum + length, 0))
  windows.forEach((rows, window) => {
    rows.forEach((row, at) => {
      taken[window * size + at] = row
      back[row] = window * size + at
    })
  })
  return { taken, back }
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
  const bias = graph.has(`${name}.bias`) ? graph.weight(`${name}.bias`) : undefined
  return graph.matmul(graph.weight(`${name}.weight`), x, bias)
}

/** Layer norm with the weight `name.weight`, and `name.bias` where the file has one. */
export function layerNorm<N>(graph: GraphBuilder<N>, x: N, name: string, epsilon: number): N {
  const bias = graph.has(`${name}.bias`) ? graph.weight(`${name}.bias`) : undefined
  return graph.layerNorm(x, graph.weight(`${name}.weight`), bias, epsilon)
}

/** Root mean square norm with the weight `name.weight`. */
export const rmsNorm = <N>(graph: GraphBuilder<N>, x: N, name: string, epsilon: number): N =>
  graph.rmsNorm(x, graph.weight(`${name}.weight`), epsilon)
