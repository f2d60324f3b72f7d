/**
 * The operations in which an architecture describes its graph, once. Emitters implement them: `ggml.ts` for ggml, `onnx.ts`
 * for ONNX Runtime. Values are matrices of 32-bit floats, written `[tokens, width]`, with one row for each patch.
 * @typeParam N a node of the emitter
 */
export interface GraphBuilder<N> {
  /** The input of each run: `[tokens, width]`. A graph has one. */
  input(tokens: number, width: number): N
  /** A weight of the file by its name. @throws OrielError `invalid` if there is none */
  weight(name: string): N
  has(name: string): boolean
  /** The numbers of a weight, for values that are computed from it in advance. @throws OrielError `invalid` if there is none */
  floats(name: string): Float32Array
  /** `x [tokens, in]` times the transpose of `weight [out, in]`, plus `bias [out]` if there is one: `[tokens, out]` */
  matmul(weight: N, x: N, bias?: N): N
  /** `x [tokens, in]` times `weight [in, out]`, which is stored transposed: `[tokens, out]` */
  matmulTransposed(weight: N, x: N): N
  /** Numbers that depend only on the size of the image: rows of `width`. Equal names have equal numbers. */
  table(name: string, width: number, of: (grid: Grid) => Float32Array): N
  /** If `b` has one row, it is added to all rows. */
  add(a: N, b: N): N
  /** If `b` has one row, it is subtracted from all rows. */
  subtract(a: N, b: N): N
  /** The elementwise product. If `b` has one row, it multiplies all rows; if it has one number, all numbers. */
  multiply(a: N, b: N): N
  scale(x: N, factor: number): N
  clamp(x: N, least: number, most: number): N
  /** The rows of `a`, then those of `b`. */
  concatRows(a: N, b: N): N
  /** In each row the numbers of `a`, then those of `b`. */
  concatColumns(a: N, b: N): N
  /** The rows of `x` that `indices` names, in its order. Equal names have equal indices. */
  takeRows(x: N, name: string, indices: (grid: Grid) => Int32Array): N
  /** Root mean square norm over each row, times `weight [width]` if there is one. */
  rmsNorm(x: N, weight: N | undefined, epsilon: number): N
  /** Layer norm over each row, times `weight [width]` plus `bias [width]` if there is one. */
  layerNorm(x: N, weight: N, bias: N | undefined, epsilon: number): N
  /** `width` numbers of each row, beginning at `from`. */
  columns(x: N, from: number, width: number): N
  /** Joins every `count` consecutive rows into one: `[tokens, width]` -> `[tokens / count, width * count]` */
  joinRows(x: N, count: number): N
  /** The inverse of `joinRows`. */
  splitRows(x: N, count: number): N
  /** The first number of each of `count` equal parts of a row, then the second of each, and so on. */
  interleave(x: N, count: number): N
  /** The averages of `count` equal parts of each row: `[tokens, width * count]` -> `[tokens, width]` */
  averageParts(x: N, count: number): N
  /** The tanh form of GELU. */
  gelu(x: N): N
  /** GELU itself, with the error function. */
  geluErf(x: N): N
  /** x * sigmoid(1.702 x) */
  quickGelu(x: N): N
  /** x * sigmoid(x) */
  silu(x: N): N
  sigmoid(x: N): N
  /** The exponentials of each row, divided by their sum. */
  softmax(x: N): N
  relu(x: N): N
  /** x * hardSigmoid(x) */
  hardSwish(x: N): N
  /** (x + 3) / 6, clamped to 0..1 */
  hardSigmoid(x: N): N
  /** silu(gate) * up */
  swiglu(gate: N, up: N): N
  /** gelu(gate) * up */
  geglu(gate: N, up: N): N
  /** Rotary positions in two dimensions, over `heads` heads. */
  rope2d(x: N, heads: number, rope: Omit<Rope2d, 'part'>): N
  /**
   * Joins squares of `factor * factor` patches into one row each, beginning with the upper left patch and then row by row:
   * `[tokens, width]` -> `[tokens / factor², width * factor²]`. Both edges of the grid are multiples of `factor`.
   */
  joinPatches(x: N, grid: Grid, factor: number, order?: JoinOrder): N
  /**
   * A depthwise convolution, with zeros around the grid so that a stride of 1 keeps its size:
   * `[tokens, width]` -> `[tokens / stride², width]`. The weight is ggml's `[size, size, 1, width]`, with an odd size.
   * @param zeros by default `centred`
   * @param divided by how much each edge of the input's own grid was divided before, rounded up, for encoders with several sizes
   */
  depthwise(x: N, weight: N, grid: Grid, stride: number, zeros?: Zeros, divided?: number): N
  /**
   * As `depthwise`, over all channels: `[tokens, in]` -> `[tokens / stride², out]`. The weight is `[size, size, in, out]`.
   * The rows may be those of several grids, one after the other.
   */
  convolution(x: N, weight: N, grid: Grid, stride: number, zeros?: Zeros, divided?: number): N
  /**
   * A convolution over rows, with zeros before the first and after the last so that a stride of 1 keeps their number:
   * `[tokens, in]` -> `[tokens / stride, out]`. The weight is ggml's `[size, in, out]`, with an odd size.
   */
  convolveRows(x: N, weight: N, stride: number): N
  /** As `convolveRows` with a stride of 1, over each channel by itself, with so many of the zeros before the first row. The weight is `[size, width]`. */
  depthwiseRows(x: N, weight: N, before: number): N
  /** The averages of adjacent windows: `[tokens, width]` -> `[tokens / window, width]`. Only for encoders with a single size. */
  averagePool(x: N, grid: Grid, window: Grid): N
  /**
   * softmax(scale q k) v over `heads` heads, every row of q attending to every row of k. If k and v have fewer heads, each
   * serves several consecutive ones of q.
   * The heads of v may have another width than those of q and k.
   * @param scale by default 1 / sqrt(headWidth)
   */
  attention(q: N, k: N, v: N, heads: number, scale?: number, mask?: Mask): N
  /** As `attention`, with each row attending only to those of its own window. */
  windowAttention(q: N, k: N, v: N, heads: number, windows: Windows, scale?: number): N
  /** As `attention`, each run of `runs.q` consecutive rows of q attending to the run of `runs.k` rows of k in the same place. */
  attentionInRuns(q: N, k: N, v: N, heads: number, runs: Runs): N
  /** As `attention`, with each row attending to those near it. k and v have one head, which all heads of q share. */
  bandAttention(q: N, k: N, v: N, heads: number, band: Band): N
  /** As `attention`, in blocks of rows, with scores for the distance between two rows. */
  blockAttention(x: AskedRows<N>, heads: number, blocks: Blocks, scale: number, cap?: number): N
  /** The products of each row with the vectors of its group: `[tokens, width]` -> `[tokens, groups.vectors]` */
  groupedProducts(x: N, groups: Groups): N
}

/** What rows ask and answer in attention that knows distances. */
export interface AskedRows<N> {
  readonly q: N
  readonly k: N
  readonly v: N
  /** What they ask of distances, as `q` of rows. */
  readonly asked: N
  /** A row for each distance: `[distances, width]`, or of one head's width if all heads have the same. */
  readonly distances: N
}

/**
 * Blocks of consecutive rows. A row of a block sees rows of the block and of those before it: softmax(scale (q k + asked
 * distances)) v, whose scores before the softmax are at most `cap`, by the hyperbolic tangent. A graph has one kind.
 */
export interface Blocks {
  /** All rows. */
  rows(grid: Grid): number
  /** Rows of a block. */
  size(grid: Grid): number
  /** Rows before a block that it sees too. */
  readonly before: number
  /** Rows of `distances`. */
  distanceCount(grid: Grid): number
  /** The row of `distances` for a row that is so many rows before the one that asks. */
  distance(back: number, grid: Grid): number
  /** Whether a row sees another that is so many rows before it. By default it does. */
  sees?(back: number): boolean
}

/** The tables of blocks. Places in padding name any row. */
export function blockTables({ rows, size, before, distanceCount, distance, sees = () => true }: Blocks) {
  const shapeOf = (grid: Grid) => {
    const each = size(grid)
    return { each, context: each + before, blocks: Math.ceil(rows(grid) / each), all: rows(grid) }
  }
  const listed = (grid: Grid, of: (block: number, at: number) => number, length: number) =>
    Int32Array.from({ length: shapeOf(grid).blocks * length }, (_, place) =>
      Math.max(0, Math.min(of(Math.floor(place / length), place % length), rows(grid) - 1)),
    )
  return {
    shapeOf,
    asking: (grid: Grid) => listed(grid, (block, at) => block * size(grid) + at, size(grid)),
    asked: (grid: Grid) => listed(grid, (block, at) => block * size(grid) - before + at, size(grid) + before),
    back: (grid: Grid) => Int32Array.from({ length: rows(grid) }, (_, row) => row),
    /** `[size, context]` */
    distances(grid: Grid) {
      const { each, context } = shapeOf(grid)
      return Int32Array.from({ length: each * context }, (_, at) => {
        const row = distance(Math.floor(at / context) + before - (at % context), grid)
        return Math.max(0, Math.min(row, distanceCount(grid) - 1))
      })
    },
    /** `[blocks, size, context]` */
    mask(grid: Grid) {
      const { each, context, blocks, all } = shapeOf(grid)
      return Float32Array.from({ length: blocks * each * context }, (_, at) => {
        const [block, row, place] = [Math.floor(at / (each * context)), Math.floor(at / context) % each, at % context]
        const key = block * each - before + place
        return key >= 0 && key < all && sees(row + before - place) ? 0 : unseen
      })
    },
  }
}

/** Added to a score: of a row that sees nothing, as in padding, all scores stay numbers. */
const unseen = -1e9

/** Numbers that are added to the scores of attention: `[rows of q, rows of k]`. A graph has one. */
export interface Mask {
  of(grid: Grid): Float32Array
  /** Rows of k. */
  length(grid: Grid): number
}

/** Consecutive rows that attend, and that are attended to. */
export interface Runs {
  q: number
  k: number
}

/** An order of the rows, and how far apart in it a row may be from those that it attends to. A graph has one reach. */
export interface Band {
  reach: number
  /** All rows in their order. Equal names have equal orders. */
  order: { name: string; rows(grid: Grid): Int32Array }
  /** For each head the score of a key in addition to those of the rows, whose value is 0. */
  sinks: { name: string; of: Float32Array }
}

/** Groups of consecutive rows. After the last group come more rows of the first. */
export interface Groups {
  /** Equal names have equal vectors. */
  name: string
  /** Vectors of each group. */
  vectors: number
  /** The number of groups, and the consecutive rows of each. */
  sizes(grid: Grid): { groups: number; rows: number }
  /** `[groups, vectors, width]` */
  of(grid: Grid): Float32Array
}

/**
 * The zeros around a grid: `centred` are as many on all sides, whatever the stride; `same` are as few as the output needs,
 * with the odd one at the right and at the bottom.
 */
export type Zeros = 'centred' | 'same'

/** Zeros on each side. @param size of the kernel */
export function paddingOf(zeros: Zeros, size: number, stride: number, { rows, columns }: Grid) {
  const before = (length: number) => Math.floor(needed(length) / 2)
  const needed = (length: number) =>
    zeros === 'centred' ? size - 1 : Math.max(0, (Math.ceil(length / stride) - 1) * stride + size - length)
  const [top, left] = [before(rows), before(columns)]
  return { top, left, bottom: needed(rows) - top, right: needed(columns) - left }
}

/** The grid of a convolution's output, and of every window of `stride` by `stride`. */
export const strided = ({ rows, columns }: Grid, stride: number): Grid => ({
  rows: Math.ceil(rows / stride),
  columns: Math.ceil(columns / stride),
})

/** Patches of an image, row by row. */
export interface Grid {
  rows: number
  columns: number
  /** Of a video: the patches of each frame follow those of the one before. By default 1. */
  frames?: number
}

/**
 * How rotary positions rotate the pairs of a head (llama.cpp's `build_rope_2d`, and `GGML_ROPE_TYPE_VISION` for pairs of
 * halves): the first half of the pairs by one position, the second half by another. The frequency of pair `i` of a half is
 * base^(-2i / (headWidth / 2)). A graph has one.
 */
export interface Rope2d {
  /** By default 10000. */
  base?: number
  /** Whether the frequencies of the second half start at base^(-2 / headWidth), and so lie between those of the first. */
  interleaved: boolean
  /**
   * The two numbers of a pair: neighbours; one of the first half of the head with one of the second; or, within each half
   * of the head, one of its first quarter with one of its second.
   */
  pairs?: 'neighbours' | 'halves' | 'quarters'
  /** The part of each head that is rotated, in numbers; by default all. */
  part?: { from: number; width: number }
  /**
   * Whether the frequencies of the second half go on after those of the first, as if one position rotated the whole head:
   * that of pair `i` of the head is base^(-2i / headWidth).
   */
  whole?: boolean
  /** The two positions of every row. */
  positions(grid: Grid): { first: Int32Array; second: Int32Array }
}

/** The base of the frequencies of most families. */
export const ropeBase = 10000

/** Parts of an image within which attention stays. A graph has one kind. */
export interface Windows {
  /** Rows of the largest window. */
  size: number
  /** The rows of each window. Every row is in exactly one. */
  rows(grid: Grid): readonly (readonly number[])[]
}

/**
 * Pads windows to one size.
 * @returns `taken`: the row in each place of each window, any row in the padding; `back`: the place of each row
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

export interface JoinOrder {
  /** `columns`: column by column, from top to bottom. */
  squares?: 'rows' | 'columns'
  /** `channels`: a row has the first number of each of its patches, then the second of each, and so on. */
  within?: 'patches' | 'channels'
  /** By how much each edge of the image's own grid was divided before. */
  divided?: number
}

/** `x` times the weight `name.weight`, plus `name.bias` if the file has one. */
export function linear<N>(graph: GraphBuilder<N>, x: N, name: string): N {
  const bias = graph.has(`${name}.bias`) ? graph.weight(`${name}.bias`) : undefined
  return graph.matmul(graph.weight(`${name}.weight`), x, bias)
}

/** Layer norm with the weight `name.weight`, and `name.bias` if the file has one. */
export function layerNorm<N>(graph: GraphBuilder<N>, x: N, name: string, epsilon: number): N {
  const bias = graph.has(`${name}.bias`) ? graph.weight(`${name}.bias`) : undefined
  return graph.layerNorm(x, graph.weight(`${name}.weight`), bias, epsilon)
}

/** Root mean square norm with the weight `name.weight`. */
export const rmsNorm = <N>(graph: GraphBuilder<N>, x: N, name: string, epsilon: number): N =>
  graph.rmsNorm(x, graph.weight(`${name}.weight`), epsilon)
