import { LRUCache } from 'lru-cache'
import { OrielError } from '../../errors.ts'
import {
  type Context,
  type Ggml,
  type Graph,
  type GraphScheduler,
  type Tensor,
  TensorType,
} from '../../native/index.ts'
import { type GraphBuilder, type Grid, paddingOf, ropeBase, strided } from './builder.ts'
import { attentionIn, type Constant, precise, type Value } from './ggml-attention.ts'
import { hasForm } from './products.ts'
import type { GraphSource } from './source.ts'
import type { Weights } from './weights.ts'

/** The maximum number of nodes of a graph: about 30 for each layer, enough for the deepest encoders in use. */
const maxNodes = 8192

/** Graphs that are kept, one for each recent size. Each holds the memory of all of its values. */
const graphsKept = 4

/** An architecture as ggml graphs, one for each size of a part. A graph is built and allocated once. */
export function ggmlGraphs<Part>(ggml: Ggml, weights: Weights, source: GraphSource<Part>) {
  const graphs = new LRUCache<string, GgmlGraph>({ max: graphsKept, dispose: (graph) => graph.free() })
  function newGraph(part: Part): GgmlGraph {
    const graph = buildGraph(ggml, weights, source, part)
    if (graph !== undefined) return graph
    // The others may hold the memory that it lacks. Nothing else makes them go before graphs of other sizes are made.
    graphs.clear()
    const alone = buildGraph(ggml, weights, source, part)
    if (alone !== undefined) return alone
    throw new OrielError('internal', 'There is not enough memory to encode an attachment of this size.')
  }
  return {
    /** @throws OrielError `internal` if there is not enough memory for the values of the graph */
    async run(values: Float32Array, part: Part, threads: number): Promise<Float32Array> {
      const cpu = weights.backends.at(-1)
      if (cpu !== undefined) ggml.setThreads(cpu, threads)
      const size = source.sizeOf(part)
      const graph = graphs.get(size) ?? newGraph(part)
      graphs.set(size, graph)
      return graph.run(values)
    },
    free: () => graphs.clear(),
  }
}

type GgmlGraph = NonNullable<ReturnType<typeof graphIn>>

/** @returns undefined if there is not enough memory for its values */
function buildGraph<Part>(ggml: Ggml, weights: Weights, source: GraphSource<Part>, part: Part): GgmlGraph | undefined {
  const context = ggml.init(maxNodes)
  try {
    const graph = graphIn(context, ggml, weights, source, part)
    if (graph === undefined) ggml.free(context)
    return graph
  } catch (error) {
    ggml.free(context)
    throw error
  }
}

/**
 * @param context that holds the graph's nodes and is freed with the graph
 * @returns undefined if there is not enough memory for its values
 */
function graphIn<Part>(context: Context, ggml: Ggml, weights: Weights, source: GraphSource<Part>, part: Part) {
  const { emitter, constants, input: inputOf } = ggmlEmitter(ggml, weights, context, source.grid(part))
  const output = source.build<Value>(emitter, part)
  const input = inputOf()
  if (input === undefined) throw new Error('an architecture without an input')
  ggml.setOutput(output.tensor)
  const graph: Graph = ggml.newGraph(context, maxNodes, false)
  ggml.buildForwardExpand(graph, output.tensor)
  // A scheduler holds the memory of one graph.
  const scheduler: GraphScheduler = ggml.newScheduler(weights.backends, maxNodes)
  if (!ggml.allocGraph(scheduler, graph)) {
    ggml.freeScheduler(scheduler)
    return undefined
  }
  return {
    run(values: Float32Array) {
      // The scheduler may reuse the memory of inputs once they are read, so every run writes all of them.
      ggml.setTensor(input.tensor, values, 0, values.byteLength)
      for (const { tensor, data } of constants.values()) ggml.setTensor(tensor, data, 0, data.byteLength)
      const status = ggml.compute(scheduler, graph)
      if (status !== 0) throw new Error(`ggml could not compute the graph of an encoder (status ${status})`)
      const result = new Float32Array(output.tokens * output.width)
      ggml.getTensor(output.tensor, result, 0, result.byteLength)
      return result
    },
    free() {
      ggml.freeScheduler(scheduler)
      ggml.free(context)
    },
  }
}

/** `GGML_ROPE_TYPE_NEOX` and `GGML_ROPE_TYPE_VISION` */
const [neoxRope, visionRope] = [2, 24]

/** Emits a graph into a context. */
function ggmlEmitter(ggml: Ggml, weights: Weights, context: Context, grid: Grid) {
  const constants = new Map<string, Constant>()
  let declared: Value | undefined

  /** An operation on each number. */
  function each(
    operation: 'gelu' | 'geluErf' | 'geluQuick' | 'silu' | 'sigmoid' | 'relu' | 'hardSwish' | 'hardSigmoid',
  ) {
    return (x: Value): Value => ({ ...x, tensor: ggml[operation](context, x.tensor) })
  }

  /** Rows of channels -> a plane for each channel, of one grid after the other. */
  function planesOf(x: Value, { rows, columns }: Grid): Tensor {
    const grids = x.tokens / (rows * columns)
    const apart = ggml.reshape3d(context, x.tensor, x.width, rows * columns, grids)
    const turned = ggml.cont(context, ggml.permute(context, apart, 1, 0, 2, 3))
    return ggml.reshape4d(context, turned, columns, rows, x.width, grids)
  }

  /** The inverse of `planesOf`. */
  function rowsOf(planes: Tensor, { rows, columns }: Grid, width: number, grids = 1): Value {
    const tokens = rows * columns * grids
    const apart = ggml.reshape3d(context, planes, rows * columns, width, grids)
    const turned = ggml.cont(context, ggml.permute(context, apart, 1, 0, 2, 3))
    return { tensor: ggml.reshape2d(context, turned, width, tokens), tokens, width }
  }

  /** In 32-bit floats: there are no kernels of the operators for other types of weights. */
  const kernelOf = ({ tensor, tokens }: Value, size: number, channels: number): Tensor =>
    ggml.reshape4d(context, ggml.cast(context, tensor, TensorType.F32), size, size, channels, tokens)

  const padded = (planes: Tensor, { left, right, top, bottom }: ReturnType<typeof paddingOf>): Tensor =>
    left + right + top + bottom === 0 ? planes : ggml.padExt(context, planes, left, right, top, bottom, 0, 0, 0, 0)

  function constant(name: string, of: () => Constant['data']): Constant {
    const known = constants.get(name)
    if (known !== undefined) return known
    const data = of()
    const type = data instanceof Int32Array ? TensorType.I32 : TensorType.F32
    const tensor = ggml.newTensor4d(context, type, data.length, 1, 1, 1)
    ggml.setInput(tensor)
    constants.set(name, { tensor, data })
    return { tensor, data }
  }

  const emitter: GraphBuilder<Value> = {
    ...attentionIn({ ggml, weights, context, grid, constant }),
    gelu: each('gelu'),
    geluErf: each('geluErf'),
    quickGelu: each('geluQuick'),
    silu: each('silu'),
    sigmoid: each('sigmoid'),
    relu: each('relu'),
    hardSwish: each('hardSwish'),
    hardSigmoid: each('hardSigmoid'),
    softmax: (x) => ({ ...x, tensor: ggml.softMaxExt(context, x.tensor, null, 1, 0) }),

    input(tokens, width) {
      const tensor = ggml.newTensor4d(context, TensorType.F32, width, tokens, 1, 1)
      ggml.setInput(tensor)
      declared = { tensor, tokens, width }
      return declared
    },

    weight(name) {
      const { tensor, rows, columns } = weights.tensor(name)
      return { tensor, tokens: rows, width: columns, name }
    },

    has: (name) => weights.has(name),
    floats: (name) => weights.floats(name),

    matmul(weight, x, bias) {
      // A convolution has the shape [out, channels, height, width]; over patches it is a plain matrix.
      const matrix = ggml.reshape2d(context, weight.tensor, weight.width, weight.tokens)
      const tensor = ggml.mulMat(context, matrix, x.tensor)
      // Some GPUs add up in 16-bit floats. The sums of Gemma 4's patches, of 6912 products each, leave the range of those.
      if (weight.name !== undefined && !hasForm(weight.name)) ggml.setAccumulation(tensor, precise)
      const product = { tensor, tokens: x.tokens, width: weight.tokens }
      return bias === undefined ? product : emitter.add(product, bias)
    },

    matmulTransposed(weight, x) {
      const turned = ggml.cont(context, ggml.permute(context, weight.tensor, 1, 0, 2, 3))
      return { tensor: ggml.mulMat(context, turned, x.tensor), tokens: x.tokens, width: weight.width }
    },

    add: (a, b) => ({ ...a, tensor: ggml.add(context, a.tensor, b.tensor) }),
    subtract: (a, b) => ({ ...a, tensor: ggml.sub(context, a.tensor, b.tensor) }),
    multiply: (a, b) => ({ ...a, tensor: ggml.mul(context, a.tensor, b.tensor) }),
    scale: (x, factor) => ({ ...x, tensor: ggml.scale(context, x.tensor, factor) }),
    clamp: (x, least, most) => ({ ...x, tensor: ggml.clamp(context, ggml.cont(context, x.tensor), least, most) }),

    table(name, width, of) {
      const { tensor, data } = constant(name, () => of(grid))
      const tokens = data.length / width
      return { tensor: ggml.reshape2d(context, tensor, width, tokens), tokens, width }
    },

    concatRows: (a, b) => ({ ...a, tensor: ggml.concat(context, a.tensor, b.tensor, 1), tokens: a.tokens + b.tokens }),
    concatColumns: (a, b) => ({ ...a, tensor: ggml.concat(context, a.tensor, b.tensor, 0), width: a.width + b.width }),

    takeRows(x, name, indices) {
      const { tensor, data } = constant(name, () => indices(grid))
      return { ...x, tensor: ggml.getRows(context, x.tensor, tensor), tokens: data.length }
    },

    rmsNorm(x, weight, epsilon) {
      const normed = ggml.rmsNorm(context, x.tensor, epsilon)
      return { ...x, tensor: weight === undefined ? normed : ggml.mul(context, normed, weight.tensor) }
    },

    layerNorm(x, weight, bias, epsilon) {
      const normed = ggml.norm(context, x.tensor, epsilon)
      const tensor = ggml.mul(context, normed, weight.tensor)
      return bias === undefined ? { ...x, tensor } : emitter.add({ ...x, tensor }, bias)
    },

    swiglu: (gate, up) => ({ ...gate, tensor: ggml.swigluSplit(context, gate.tensor, up.tensor) }),
    geglu: (gate, up) => ({ ...gate, tensor: ggml.gegluSplit(context, gate.tensor, up.tensor) }),

    columns(x, from, width) {
      const part = ggml.view3d(context, x.tensor, width, x.tokens, 1, x.width * 4, x.width * x.tokens * 4, from * 4)
      return { tensor: ggml.cont(context, part), tokens: x.tokens, width }
    },

    joinRows(x, count) {
      const [tokens, width] = [x.tokens / count, x.width * count]
      return { tensor: ggml.reshape2d(context, x.tensor, width, tokens), tokens, width }
    },

    splitRows: (x, count) => emitter.joinRows(x, 1 / count),

    rope2d(x, heads, { base = ropeBase, interleaved, pairs, whole, positions }) {
      const head = x.width / heads
      const half = head / 2
      const split = ggml.reshape3d(context, x.tensor, head, heads, x.tokens)
      if (whole) {
        const { tensor } = constant('first positions', () => positions(grid).first)
        const turned = ggml.ropeExt(context, split, tensor, null, head, neoxRope, 0, base, 1, 0, 1, 0, 0)
        return { ...x, tensor: ggml.reshape2d(context, turned, x.width, x.tokens) }
      }
      if (pairs === 'halves') {
        const { tensor } = constant('axes', () => {
          const { first, second } = positions(grid)
          return Int32Array.of(...first, ...second, ...first, ...second)
        })
        const sections = new Int32Array(4).fill(head / 4)
        const turned = ggml.ropeMulti(context, split, tensor, null, half, sections, visionRope, 0, base, 1, 0, 1, 0, 0)
        return { ...x, tensor: ggml.reshape2d(context, turned, x.width, x.tokens) }
      }
      const turn = (at: number, by: 'first' | 'second', scale: number): Tensor => {
        const part = ggml.view3d(context, split, half, heads, x.tokens, head * 4, x.width * 4, at * 4)
        const { tensor } = constant(`${by} positions`, () => positions(grid)[by])
        const mode = pairs === 'quarters' ? neoxRope : 0
        return ggml.ropeExt(context, part, tensor, null, half, mode, 0, base, scale, 0, 1, 0, 0)
      }
      const second = turn(half, 'second', interleaved ? base ** (-2 / head) : 1)
      const joined = ggml.concat(context, turn(0, 'first', 1), second, 0)
      return { ...x, tensor: ggml.reshape2d(context, joined, x.width, x.tokens) }
    },

    joinPatches(x, { rows, columns }, factor, { squares, within } = {}) {
      const width = x.width * factor
      // Neighbours in a row are adjacent already. Rows are brought next to each other, and the squares back in order if needed.
      const inRows = ggml.permute(context, ggml.reshape3d(context, x.tensor, width, columns / factor, rows), 0, 2, 1, 3)
      const joined = width * factor
      const tokens = x.tokens / (factor * factor)
      let tensor = ggml.reshape3d(context, ggml.cont(context, inRows), joined, rows / factor, columns / factor)
      if (squares !== 'columns') tensor = ggml.cont(context, ggml.permute(context, tensor, 0, 2, 1, 3))
      if (within === 'channels') {
        const patches = ggml.reshape3d(context, tensor, x.width, factor * factor, tokens)
        tensor = ggml.cont(context, ggml.permute(context, patches, 1, 0, 2, 3))
      }
      return { tensor: ggml.reshape2d(context, tensor, joined, tokens), tokens, width: joined }
    },

    depthwise(x, weight, grid, stride, zeros = 'centred') {
      const size = Math.sqrt(weight.width)
      const kernel = kernelOf(weight, size, 1)
      const planes = padded(planesOf(x, grid), paddingOf(zeros, size, stride, grid))
      const mixed = ggml.conv2dDepthwise(context, kernel, planes, stride, stride, 0, 0, 1, 1)
      return rowsOf(mixed, strided(grid, stride), x.width)
    },

    convolution(x, weight, grid, stride, zeros = 'centred') {
      const size = Math.sqrt(weight.width / x.width)
      const kernel = kernelOf(weight, size, x.width)
      const planes = padded(planesOf(x, grid), paddingOf(zeros, size, stride, grid))
      const mixed = ggml.conv2dDirect(context, kernel, planes, stride, stride, 0, 0, 1, 1)
      return rowsOf(mixed, strided(grid, stride), weight.tokens, x.tokens / (grid.rows * grid.columns))
    },

    convolveRows(x, weight, stride) {
      const size = weight.width / x.width
      const turned = ggml.cont(context, ggml.permute(context, x.tensor, 1, 0, 2, 3))
      const planes = ggml.reshape4d(context, turned, x.tokens, 1, x.width, 1)
      const floats = ggml.cast(context, weight.tensor, TensorType.F32)
      const kernel = ggml.reshape4d(context, floats, size, 1, x.width, weight.tokens)
      const mixed = ggml.conv2dDirect(context, kernel, planes, stride, 1, (size - 1) / 2, 0, 1, 1)
      return rowsOf(mixed, { rows: Math.ceil(x.tokens / stride), columns: 1 }, weight.tokens)
    },

    depthwiseRows(x, weight, before) {
      const size = weight.width
      const turned = ggml.cont(context, ggml.permute(context, x.tensor, 1, 0, 2, 3))
      const line = ggml.reshape4d(context, turned, x.tokens, 1, x.width, 1)
      const planes = ggml.padExt(context, line, before, size - 1 - before, 0, 0, 0, 0, 0, 0)
      const kernel = ggml.reshape4d(context, ggml.cast(context, weight.tensor, TensorType.F32), size, 1, 1, x.width)
      const mixed = ggml.conv2dDepthwise(context, kernel, planes, 1, 1, 0, 0, 1, 1)
      return rowsOf(mixed, { rows: x.tokens, columns: 1 }, x.width)
    },

    averagePool(x, grid, { rows, columns }) {
      const averages = ggml.pool2d(context, planesOf(x, grid), 1, columns, rows, columns, rows, 0, 0)
      const windows = { rows: Math.floor(grid.rows / rows), columns: Math.floor(grid.columns / columns) }
      return rowsOf(averages, windows, x.width)
    },

    interleave(x, count) {
      const parts = ggml.reshape3d(context, x.tensor, x.width / count, count, x.tokens)
      const turned = ggml.cont(context, ggml.permute(context, parts, 1, 0, 2, 3))
      return { ...x, tensor: ggml.reshape2d(context, turned, x.width, x.tokens) }
    },

    averageParts(x, count) {
      const width = x.width / count
      const parts = ggml.reshape3d(context, x.tensor, width, count, x.tokens)
      const averages = ggml.pool2d(context, parts, 1, 1, count, 1, count, 0, 0)
      return { tensor: ggml.reshape2d(context, averages, width, x.tokens), tokens: x.tokens, width }
    },

    groupedProducts(x, { name, vectors, sizes, of }) {
      const { groups, rows } = sizes(grid)
      const { tensor } = constant(name, () => of(grid))
      const each = ggml.reshape3d(context, tensor, x.width, vectors, groups)
      const grouped = ggml.reshape4d(context, x.tensor, x.width, rows, groups, x.tokens / (groups * rows))
      const products = ggml.reshape2d(context, ggml.mulMat(context, each, grouped), vectors, x.tokens)
      return { ...x, tensor: products, width: vectors }
    },
  }
  return { emitter, constants, input: () => declared }
}
