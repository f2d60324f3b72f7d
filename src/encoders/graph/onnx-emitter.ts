import { bandTables, nearness } from './bands.ts'
import {
  type AskedRows,
  type Band,
  type Blocks,
  blockTables,
  type GraphBuilder,
  type Grid,
  type Groups,
  type JoinOrder,
  type Mask,
  paddingOf,
  type Rope2d,
  type Runs,
  ropeBase,
  type Windows,
  windowPlaces,
  type Zeros,
} from './builder.ts'
import { type Attributes, contrib, OnnxModel } from './onnx-file.ts'
import type { ProductParts, Products } from './products.ts'
import type { TensorFile } from './tensor-file.ts'

/** Rows of `width`, by the name of the input. */
type Tables = Map<string, { width: number; of(grid: Grid): Float32Array | Int32Array }>

/** A node's name and the width of its rows. The number of rows is symbolic. */
export interface Value {
  name: string
  width: number
  /** The rows, if the node is a weight. */
  rows?: number
}

/** `TensorProto.DataType`, as `Cast` takes it. */
const int32 = 6

/** Writes an architecture as nodes of an ONNX model. */
export class OnnxEmitter implements GraphBuilder<Value> {
  readonly model = new OnnxModel()
  /** Inputs that depend only on the size of the image: rows of `width`. */
  readonly tables: Tables = new Map()
  readonly #file: TensorFile
  /** Queries, keys and values often have the same bounds, and so the same activations. */
  readonly #clamped = new Map<string, Value>()
  readonly products: Products
  readonly gelu = this.#each('FastGelu', {}, contrib)
  readonly geluErf = this.#each('Gelu', {}, contrib)
  readonly quickGelu = this.#each('QuickGelu', { alpha: { float: 1.702 } }, contrib)
  readonly silu = this.#each('QuickGelu', { alpha: { float: 1 } }, contrib)
  readonly sigmoid = this.#each('Sigmoid')
  readonly relu = this.#each('Relu')
  readonly hardSwish = this.#each('HardSwish')
  readonly softmax = this.#each('Softmax', { axis: -1 })
  readonly hardSigmoid = this.#each('HardSigmoid', { alpha: { float: 1 / 6 }, beta: { float: 0.5 } })
  readonly has = (name: string): boolean => this.#file.names.has(name)
  readonly floats = (name: string): Float32Array => this.#file.floats(name)
  readonly add = (a: Value, b: Value): Value => this.#node('Add', [a.name, this.#nameOf(b)], a.width)
  readonly subtract = (a: Value, b: Value): Value => this.#node('Sub', [a.name, this.#nameOf(b)], a.width)
  readonly multiply = (a: Value, b: Value): Value => this.#node('Mul', [a.name, this.#nameOf(b)], a.width)
  readonly concatRows = (a: Value, b: Value): Value => this.#concat(a, b, 0, a.width)
  readonly concatColumns = (a: Value, b: Value): Value => this.#concat(a, b, 1, a.width + b.width)
  readonly joinRows = (x: Value, count: number): Value => this.#rowsOfWidth(this.#nameOf(x), x.width * count)
  readonly splitRows = (x: Value, count: number): Value => this.#rowsOfWidth(x.name, x.width / count)
  readonly swiglu = (gate: Value, up: Value): Value => this.multiply(this.silu(gate), up)
  readonly geglu = (gate: Value, up: Value): Value => this.multiply(this.gelu(gate), up)

  constructor(file: TensorFile, productsOf: (parts: ProductParts) => Products, largest: number) {
    this.#file = file
    this.products = productsOf({ model: this.model, file, largest })
  }

  input(_tokens: number, width: number): Value {
    return { name: this.model.input('patches', 'f32', ['tokens', width]), width }
  }

  table(name: string, width: number, of: (grid: Grid) => Float32Array): Value {
    return { name: this.#table(name, 'f32', width, of), width }
  }

  weight(name: string): Value {
    const { rows, columns } = this.#file.shape(name)
    return { name, width: columns, rows }
  }

  matmul(weight: Value, x: Value, bias?: Value): Value {
    const { name, rows = 1, width } = weight
    const added = bias === undefined ? undefined : this.#nameOf(bias)
    const product = this.products.emit(x.name, { name, rows, columns: width }, added)
    if (product !== undefined) return { name: product, width: rows }
    const inputs = [x.name, this.#nameOf(weight), ...(added === undefined ? [] : [added])]
    return this.#node('Gemm', inputs, rows, { transB: 1 })
  }

  matmulTransposed(weight: Value, x: Value): Value {
    return this.#node('MatMul', [x.name, this.#nameOf(weight)], weight.width)
  }

  takeRows(x: Value, name: string, indices: (grid: Grid) => Int32Array): Value {
    const list = this.#reshaped(this.#table(name, 'i64', 1, indices), [-1])
    return this.#node('Gather', [this.#rowsOf(x), list], x.width, { axis: 0 })
  }

  rmsNorm(x: Value, weight: Value | undefined, epsilon: number): Value {
    const attributes = { axis: -1, epsilon: { float: epsilon } }
    const scale = weight === undefined ? this.#ones(x.width) : this.#nameOf(weight)
    return this.#node('SimplifiedLayerNormalization', [x.name, scale], x.width, attributes)
  }

  layerNorm(x: Value, weight: Value, bias: Value | undefined, epsilon: number): Value {
    const inputs = [x, weight, ...(bias === undefined ? [] : [bias])].map((value) => this.#nameOf(value))
    return this.#node('LayerNormalization', inputs, x.width, { axis: -1, epsilon: { float: epsilon } })
  }

  scale(x: Value, factor: number): Value {
    return this.#node('Mul', [x.name, this.#number(factor)], x.width)
  }

  clamp(x: Value, least: number, most: number): Value {
    const key = `${x.name} ${least} ${most}`
    const known = this.#clamped.get(key)
    if (known !== undefined) return known
    const clamped = this.#node('Clip', [x.name, this.#number(least), this.#number(most)], x.width)
    this.#clamped.set(key, clamped)
    return clamped
  }

  columns(x: Value, from: number, width: number): Value {
    const range = [from, from + width, 1].map((value) => this.#shape([value]))
    return this.#node('Slice', [x.name, ...range], width)
  }

  rope2d(x: Value, heads: number, rope: Rope2d): Value {
    const head = x.width / heads
    const cos = this.#table('cos', 'f32', head / 2, (grid) => rope2dAngles(rope, head, grid).map(Math.cos))
    const sin = this.#table('sin', 'f32', head / 2, (grid) => rope2dAngles(rope, head, grid).map(Math.sin))
    const places = this.#table('places', 'i64', 1, (grid) => rope.positions(grid).first.map((_, row) => row))
    // The second quarter of a head and the third change places, which makes pairs of quarters those of halves.
    const [parts, order] =
      rope.pairs === 'quarters'
        ? [
            [2, 2, head / 4],
            [1, 0, 3, 2, 4],
          ]
        : [[head], [1, 0, 2]]
    const turned = (y: string, outer: readonly number[]) =>
      this.#transposed(this.#reshaped(y, [...outer, ...parts]), order)
    // The operator derives the heads from the shape [1, heads, tokens, head].
    const split = this.#reshaped(turned(x.name, [-1, heads]), [1, heads, -1, head])
    const inputs = [split, this.#reshaped(places, [1, -1]), cos, sin]
    const interleaved = (rope.pairs ?? 'neighbours') === 'neighbours' ? 1 : 0
    const rotated = this.model.node('RotaryEmbedding', inputs, { interleaved }, contrib)
    return this.#rowsOfWidth(turned(rotated, [heads, -1]), x.width)
  }

  joinPatches(x: Value, _grid: Grid, factor: number, { squares, within, divided = 1 }: JoinOrder = {}): Value {
    const { width } = x
    const column = this.#table(`squares of ${divided} and ${factor} and ${width}`, 'i64', 1, ({ rows, columns }) =>
      Int32Array.of(rows / divided / factor, factor, columns / divided / factor, factor, width),
    )
    const split = this.model.node('Reshape', [x.name, this.#reshaped(column, [5])])
    const outer = squares === 'columns' ? [2, 0] : [0, 2]
    const inner = within === 'channels' ? [4, 1, 3] : [1, 3, 4]
    return this.#rowsOfWidth(this.#transposed(split, [...outer, ...inner]), x.width * factor * factor)
  }

  depthwise(x: Value, weight: Value, grid: Grid, stride: number, zeros: Zeros = 'centred', divided?: number): Value {
    const size = Math.sqrt(weight.width)
    const kernel = this.#reshaped(this.#nameOf(weight), [-1, 1, size, size])
    const { top, left, bottom, right } = paddingOf(zeros, size, stride, grid)
    const attributes = { group: x.width, strides: [stride, stride], pads: [top, left, bottom, right] }
    const planes = divided === undefined ? this.#planes(x, grid) : this.#planesDivided(x, divided)
    return this.#rows(this.model.node('Conv', [planes, kernel], attributes), x.width)
  }

  convolution(x: Value, weight: Value, grid: Grid, stride: number, zeros: Zeros = 'centred', divided?: number): Value {
    const { rows: outputs = 1 } = weight
    const size = Math.sqrt(weight.width / x.width)
    const kernel = this.#reshaped(this.#nameOf(weight), [outputs, x.width, size, size])
    const { top, left, bottom, right } = paddingOf(zeros, size, stride, grid)
    const attributes = { strides: [stride, stride], pads: [top, left, bottom, right] }
    const planes = divided === undefined ? this.#planes(x, grid) : this.#planesDivided(x, divided)
    return this.#rows(this.model.node('Conv', [planes, kernel], attributes), outputs)
  }

  convolveRows(x: Value, weight: Value, stride: number): Value {
    const { rows: outputs = 1 } = weight
    const size = weight.width / x.width
    const kernel = this.#reshaped(this.#nameOf(weight), [outputs, x.width, size])
    const turned = this.#reshaped(this.#transposed(x.name, [1, 0]), [1, x.width, -1])
    const edge = (size - 1) / 2
    const mixed = this.model.node('Conv', [turned, kernel], { strides: [stride], pads: [edge, edge] })
    return this.#rowsOfWidth(this.#transposed(mixed, [0, 2, 1]), outputs)
  }

  depthwiseRows(x: Value, weight: Value, before: number): Value {
    const kernel = this.#reshaped(this.#nameOf(weight), [-1, 1, weight.width])
    const turned = this.#reshaped(this.#transposed(x.name, [1, 0]), [1, x.width, -1])
    const pads = [before, weight.width - 1 - before]
    const mixed = this.model.node('Conv', [turned, kernel], { group: x.width, pads })
    return this.#rowsOfWidth(this.#transposed(mixed, [0, 2, 1]), x.width)
  }

  averagePool(x: Value, grid: Grid, { rows, columns }: Grid): Value {
    const window = [rows, columns]
    const averages = this.model.node('AveragePool', [this.#planes(x, grid)], { kernel_shape: window, strides: window })
    return this.#rows(averages, x.width)
  }

  interleave(x: Value, count: number): Value {
    const parts = this.#reshaped(x.name, [-1, count, x.width / count])
    return this.#rowsOfWidth(this.#transposed(parts, [0, 2, 1]), x.width)
  }

  averageParts(x: Value, count: number): Value {
    const width = x.width / count
    const parts = this.#reshaped(x.name, [-1, count, width])
    return this.#node('ReduceMean', [parts], width, { axes: [1], keepdims: 0 })
  }

  attention(q: Value, k: Value, v: Value, heads: number, scale?: number, mask?: Mask): Value {
    const shared = this.#sharedHeads(q, k, v, heads)
    const batched = [q, ...shared].map(({ name, width }) => this.#reshaped(name, [1, -1, width]))
    const masks = mask === undefined ? [] : ['', '', this.#mask(mask)]
    const scaled = scale === undefined ? {} : { scale: { float: scale } }
    const mixed = this.model.node(
      'MultiHeadAttention',
      [...batched, ...masks],
      { num_heads: heads, ...scaled },
      contrib,
    )
    return this.#rowsOfWidth(mixed, shared[1].width)
  }

  blockAttention(
    { q, k, v, asked, distances }: AskedRows<Value>,
    heads: number,
    blocks: Blocks,
    scale: number,
    cap?: number,
  ): Value {
    const head = q.width / heads
    const shared = distances.width / head
    // The session keeps the functions of tables.
    const tables = blockTables(blocks)
    const shape = (name: string, of: (shape: ReturnType<typeof tables.shapeOf>) => readonly number[]) =>
      this.#reshaped(
        this.#table(name, 'i64', 1, (grid) => Int32Array.from(of(tables.shapeOf(grid)))),
        [-1],
      )
    const query = shape('shape of blocks', ({ blocks, each }) => [blocks, each, heads, head])
    const key = shape('shape of contexts', ({ blocks, context }) => [blocks, context, heads, head])
    const split = (x: Value, name: string, rows: (grid: Grid) => Int32Array, as: string, order: readonly number[]) =>
      this.#transposed(this.model.node('Reshape', [this.takeRows(x, name, rows).name, as]), order)
    const [asks, asksDistance] = [q, asked].map((x) => split(x, 'rows of blocks', tables.asking, query, [0, 2, 1, 3]))
    const keys = split(k, 'rows of contexts', tables.asked, key, [0, 2, 3, 1])
    const values = split(v, 'rows of contexts', tables.asked, key, [0, 2, 1, 3])
    const each = this.#transposed(this.#reshaped(this.#nameOf(distances), [-1, shared, head]), [1, 2, 0])
    const far = this.model.node('MatMul', [asksDistance ?? '', each])
    const whole = shape('shape of scores', ({ blocks, each, context }) => [blocks, heads, each, context])
    const one = shape('shape of distances', ({ each, context }) => [1, 1, each, context])
    const list = this.#table('distances', 'i64', 1, tables.distances)
    const places = this.model.node('Expand', [this.model.node('Reshape', [list, one]), whole])
    const near = this.model.node('MatMul', [asks ?? '', keys])
    const sum = this.model.node('Add', [near, this.model.node('GatherElements', [far, places], { axis: 3 })])
    const scaled = this.model.node('Mul', [sum, this.#number(cap === undefined ? scale : scale / cap)])
    const scores =
      cap === undefined ? scaled : this.model.node('Mul', [this.model.node('Tanh', [scaled]), this.#number(cap)])
    const masks = shape('shape of masks', ({ blocks, each, context }) => [blocks, 1, each, context])
    const mask = this.model.node('Reshape', [this.#table('mask of blocks', 'f32', 1, tables.mask), masks])
    const shares = this.model.node('Softmax', [this.model.node('Add', [scores, mask])], { axis: -1 })
    const mixed = this.#transposed(this.model.node('MatMul', [shares, values]), [0, 2, 1, 3])
    return this.takeRows(this.#rowsOfWidth(mixed, q.width), 'rows in blocks', tables.back)
  }

  groupedProducts(x: Value, { name, vectors, sizes, of }: Groups): Value {
    const { width } = x
    const shape = this.#table(`sizes of ${name}`, 'i64', 1, (grid) => {
      const { groups, rows } = sizes(grid)
      return Int32Array.of(-1, groups, rows, width)
    })
    const grouped = this.model.node('Reshape', [x.name, this.#reshaped(shape, [4])])
    const each = this.#reshaped(this.#table(name, 'f32', width, of), [-1, vectors, width])
    const products = this.model.node('MatMul', [grouped, this.#transposed(each, [0, 2, 1])])
    return this.#rowsOfWidth(products, vectors)
  }

  windowAttention(q: Value, k: Value, v: Value, heads: number, { size, rows }: Windows, scale?: number): Value {
    const { taken, back, counts: countsOf } = windowTables(rows, size)
    const shared = this.#sharedHeads(q, k, v, heads)
    const windows = [q, ...shared].map((x) =>
      this.#reshaped(this.takeRows(x, 'window rows', taken).name, [-1, size, x.width]),
    )
    const counts = this.#reshaped(this.#table('rows of windows', 'i64', 1, countsOf), [-1])
    const lengths = this.model.node('Cast', [counts], { to: int32 })
    const scaled = scale === undefined ? {} : { scale: { float: scale } }
    const inputs = [...windows, '', lengths]
    const mixed = this.model.node('MultiHeadAttention', inputs, { num_heads: heads, ...scaled }, contrib)
    return this.takeRows(this.#rowsOfWidth(mixed, shared[1].width), 'places in windows', back)
  }

  attentionInRuns(q: Value, k: Value, v: Value, heads: number, runs: Runs): Value {
    const batched = [q, k, v].map(({ name, width }, at) =>
      this.#reshaped(name, [-1, at === 0 ? runs.q : runs.k, width]),
    )
    const mixed = this.model.node('MultiHeadAttention', batched, { num_heads: heads }, contrib)
    return this.#rowsOfWidth(mixed, v.width)
  }

  /** All heads of q are rows of one head. After the rows of k and v comes one of zeros, for the sinks and where there is none. */
  bandAttention(q: Value, k: Value, v: Value, heads: number, { reach, order, sinks }: Band): Value {
    const { name: by, tables } = bandTables(reach, order)
    const keys = 3 * reach + 1
    const queries = this.#reshaped(this.takeRows(q, `rows ${by}`, tables.rows).name, [-1, reach * heads, k.width])
    const seen = [k, v].map((x) => {
      const zeros = this.model.constant(`${x.width} zeros`, 'f32', [1, x.width], () => [new Float32Array(x.width)])
      const all = { name: this.model.node('Concat', [x.name, zeros], { axis: 0 }), width: x.width }
      return this.#reshaped(this.takeRows(all, `seen ${by}`, tables.seen).name, [-1, keys, x.width])
    })
    const there = this.model.node('Cast', [this.#table('keys of a band', 'i64', keys, tables.there)], { to: int32 })
    const near = this.model.constant('near', 'f32', [1, reach, 1, keys], () => [nearness(reach)])
    const last = this.model.constant('last key', 'f32', [keys], () => [new Float32Array(keys).fill(1, keys - 1)])
    const scores = this.model.constant(sinks.name, 'f32', [heads, 1], () => [sinks.of])
    const bias = this.model.node('Add', [near, this.model.node('Mul', [scores, last])])
    const inputs = [queries, ...seen, '', there, this.#reshaped(bias, [1, 1, reach * heads, keys])]
    const mixed = this.model.node('MultiHeadAttention', inputs, { num_heads: 1 }, contrib)
    return this.takeRows(this.#rowsOfWidth(mixed, heads * v.width), `places ${by}`, tables.back)
  }

  /** Keys and values with a head for each of the queries. */
  #sharedHeads(q: Value, k: Value, v: Value, heads: number): [Value, Value] {
    const times = q.width / k.width
    if (times === 1) return [k, v]
    const repeated = ({ name, width }: Value): Value => {
      const apart = this.#reshaped(name, [-1, heads / times, 1, width / (heads / times)])
      return this.#rowsOfWidth(this.model.node('Expand', [apart, this.#shape([1, 1, times, 1])]), width * times)
    }
    return [repeated(k), repeated(v)]
  }

  /** `[1, 1, rows of q, rows of k]` */
  #mask({ of, length }: Mask): string {
    const shape = this.#table('size of the mask', 'i64', 1, (grid) => Int32Array.of(1, 1, -1, length(grid)))
    return this.model.node('Reshape', [this.#table('mask', 'f32', 1, of), this.#reshaped(shape, [4])])
  }

  #node(type: string, inputs: readonly string[], width: number, attributes: Attributes = {}, domain = ''): Value {
    return { name: this.model.node(type, inputs, attributes, domain), width }
  }

  #reshaped(name: string, sizes: readonly number[]): string {
    return this.model.node('Reshape', [name, this.#shape(sizes)])
  }

  #rowsOfWidth(name: string, width: number): Value {
    return { name: this.#reshaped(name, [-1, width]), width }
  }

  #transposed(name: string, perm: readonly number[]): string {
    return this.model.node('Transpose', [name], { perm })
  }

  #concat(a: Value, b: Value, axis: number, width: number): Value {
    return this.#node('Concat', [this.#rowsOf(a), this.#rowsOf(b)], width, { axis })
  }

  /** An operation on each number. */
  #each(type: string, attributes: Attributes = {}, domain = '') {
    return (x: Value): Value => this.#node(type, [x.name], x.width, attributes, domain)
  }

  /** Rows of channels -> a plane for each channel. */
  #planes(x: Value, { rows, columns }: Grid): string {
    return this.#transposed(this.#reshaped(x.name, [-1, rows, columns, x.width]), [0, 3, 1, 2])
  }

  /** As `#planes`, for the grid of any image. */
  #planesDivided(x: Value, by: number): string {
    const { width } = x
    const shape = this.#table(`grid by ${by} of ${width}`, 'i64', 1, ({ rows, columns }) =>
      Int32Array.of(1, Math.ceil(rows / by), Math.ceil(columns / by), width),
    )
    return this.#transposed(this.model.node('Reshape', [x.name, this.#reshaped(shape, [4])]), [0, 3, 1, 2])
  }

  /** The inverse of `#planes`. */
  #rows(planes: string, width: number): Value {
    return this.#rowsOfWidth(this.#transposed(planes, [0, 2, 3, 1]), width)
  }

  #table(name: string, type: 'f32' | 'i64', width: number, of: (grid: Grid) => Float32Array | Int32Array): string {
    const input = `table ${name}`
    if (!this.tables.has(input)) {
      this.tables.set(input, { width, of })
      this.model.input(input, type, [`rows of ${name}`, width])
    }
    return input
  }

  /** A weight of one row is stored as a vector, for the operators that add it or multiply by it. Here it becomes a matrix. */
  #rowsOf(x: Value): string {
    return x.rows === 1 ? this.#reshaped(this.#nameOf(x), [1, x.width]) : this.#nameOf(x)
  }

  /** A weight becomes a constant of the model when it is first used. */
  #nameOf({ name, rows, width }: Value): string {
    if (rows === undefined) return name
    const shape = rows === 1 ? [width] : [rows, width]
    return this.model.constant(`${name} f32`, 'f32', shape, () => this.#values(name))
  }

  *#values(name: string): Iterable<Float32Array> {
    for (const { values } of this.#file.tiles(name)) yield values
  }

  #number(value: number): string {
    return this.model.constant(`${value} f32`, 'f32', [], () => [Float32Array.of(value)])
  }

  #ones(width: number): string {
    return this.model.constant(`${width} ones`, 'f32', [width], () => [new Float32Array(width).fill(1)])
  }

  #shape(sizes: readonly number[]): string {
    return this.model.constant(`shape ${sizes}`, 'i64', [sizes.length], () => [BigInt64Array.from(sizes, BigInt)])
  }
}

/** The tables of windows. The session keeps these functions, so they must not capture the weights. */
const windowTables = (rows: Windows['rows'], size: number) => ({
  taken: (grid: Grid) => windowPlaces(rows(grid), size).taken,
  back: (grid: Grid) => windowPlaces(rows(grid), size).back,
  counts: (grid: Grid) => Int32Array.from(rows(grid), (of) => of.length),
})

/** The angles by which the pairs of a head are rotated, for every row: `[rows, head / 2]` */
function rope2dAngles(
  { base = ropeBase, interleaved, whole, positions }: Rope2d,
  head: number,
  grid: Grid,
): Float32Array {
  const pairs = head / 2
  const { first, second } = positions(grid)
  const angles = new Float32Array(first.length * pairs)
  for (let at = 0; at < angles.length; at++) {
    const [row, pair] = [Math.floor(at / pairs), at % pairs]
    if (whole) {
      angles[at] = (first[row] ?? 0) * base ** (-pair / pairs)
      continue
    }
    const inFirst = pair < pairs / 2
    const start = inFirst || !interleaved ? 1 : base ** (-2 / head)
    const frequency = start * base ** ((-2 * (pair % (pairs / 2))) / pairs)
    angles[at] = ((inFirst ? first : second)[row] ?? 0) * frequency
  }
  return angles
}
