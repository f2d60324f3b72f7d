import type { InferenceSession, TensorConstructor } from 'onnxruntime-node'
import { type Architecture, type Tile, tilesOf } from './architecture.ts'
import type { GraphBuilder, Grid } from './graph.ts'
import { OnnxModel } from './onnx-file.ts'
import type { Weights } from './weights.ts'

/** fp32 is exact; int8 rounds weights to 8 bits for each output and activations as they come, and is about twice as fast. */
export type Precision = 'fp32' | 'int8'

/** An architecture as an ONNX Runtime session: one for pictures of all sizes. */
export interface OnnxGraph {
  /** @param values the architecture's prepared input. @returns the graph's output, row by row. Blocks its thread. */
  run(values: Float32Array, tile: Tile): Promise<Float32Array>
}

/**
 * @param threads cores for a run; they sleep between and while they wait, so more than there are free ones do no harm
 * @returns null where ONNX Runtime is not installed
 */
export async function buildOnnxGraph(
  weights: Weights,
  architecture: Architecture,
  precision: Precision,
  threads: number,
): Promise<OnnxGraph | null> {
  const runtime = await import('onnxruntime-node').catch(() => null)
  if (runtime === null) return null
  const emitter = new OnnxEmitter(weights, precision)
  // Sizes are left open, so any picture's tile describes the graph of all.
  const [sample] = tilesOf(architecture.plan({ width: 64, height: 64 }, 'low'))
  if (sample === undefined) throw new Error('an architecture without tiles')
  const output = architecture.build<Value>(emitter, sample)
  emitter.model.output(output.name, 'f32', ['tokens', output.width])
  const session = await runtime.InferenceSession.create(emitter.model.encode(), {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  })
  return new OnnxSession(session, runtime.Tensor, emitter, architecture, output.name)
}

class OnnxSession implements OnnxGraph {
  readonly #session: InferenceSession
  readonly #tensor: TensorConstructor
  readonly #emitter: OnnxEmitter
  readonly #architecture: Architecture
  readonly #output: string

  constructor(
    session: InferenceSession,
    tensor: TensorConstructor,
    emitter: OnnxEmitter,
    architecture: Architecture,
    output: string,
  ) {
    this.#architecture = architecture
    this.#session = session
    this.#tensor = tensor
    this.#emitter = emitter
    this.#output = output
  }

  async run(values: Float32Array, tile: Tile): Promise<Float32Array> {
    const grid = this.#architecture.grid(tile)
    const tokens = grid.rows * grid.columns
    const feeds: Record<string, InstanceType<TensorConstructor>> = {
      patches: new this.#tensor('float32', values, [tokens, values.length / tokens]),
    }
    const { rope } = this.#emitter
    if (rope !== undefined) {
      const { cos, sin } = rope2dTables(grid, rope.head, rope.theta)
      feeds.cos = new this.#tensor('float32', cos, [tokens, rope.head / 2])
      feeds.sin = new this.#tensor('float32', sin, [tokens, rope.head / 2])
      const places = BigInt64Array.from({ length: tokens }, (_, place) => BigInt(place))
      feeds.places = new this.#tensor('int64', places, [1, tokens])
    }
    const result = (await this.#session.run(feeds))[this.#output]
    if (!(result?.data instanceof Float32Array)) throw new Error('ONNX Runtime gave no floats')
    return result.data
  }
}

/** Angles of every patch: half of a head's pairs turn with its row, half with its column. `[patches, head / 2]` */
function rope2dTables(grid: Grid, head: number, theta: number): { cos: Float32Array; sin: Float32Array } {
  const pairs = head / 2
  const tokens = grid.rows * grid.columns
  const cos = new Float32Array(tokens * pairs)
  const sin = new Float32Array(tokens * pairs)
  for (let patch = 0; patch < tokens; patch++)
    for (let pair = 0; pair < pairs; pair++) {
      const byRow = pair < pairs / 2
      const frequency = theta ** ((-2 * (pair % (pairs / 2))) / pairs) * (byRow ? 1 : theta ** (-2 / head))
      const angle = (byRow ? Math.floor(patch / grid.columns) : patch % grid.columns) * frequency
      cos[patch * pairs + pair] = Math.cos(angle)
      sin[patch * pairs + pair] = Math.sin(angle)
    }
  return { cos, sin }
}

/** A node's name and the width of its rows; the number of rows is open. */
interface Value {
  name: string
  width: number
  /** Of a weight: its rows. */
  rows?: number
}

/** Operators of Microsoft's own set, which every build of ONNX Runtime has. */
const contrib = 'com.microsoft'

class OnnxEmitter implements GraphBuilder<Value> {
  readonly model = new OnnxModel()
  rope: { head: number; theta: number } | undefined
  readonly #weights: Weights
  readonly #precision: Precision
  readonly #constants = new Map<string, string>()

  constructor(weights: Weights, precision: Precision) {
    this.#weights = weights
    this.#precision = precision
  }

  input(_tokens: number, width: number): Value {
    return { name: this.model.input('patches', 'f32', ['tokens', width]), width }
  }

  weight(name: string): Value {
    const { rows, columns } = this.#weights.tensor(name)
    return { name, width: columns, rows }
  }

  has(name: string): boolean {
    return this.#weights.has(name)
  }

  matmul({ name, rows = 1, width }: Value, x: Value): Value {
    const values = this.#weights.floats(name)
    if (this.#precision === 'int8') return { name: this.#int8(values, rows, width, x), width: rows }
    const weight = this.model.constant('f32', [rows, width], values)
    return { name: this.model.node('Gemm', [x.name, weight], { transB: 1 }), width: rows }
  }

  add(a: Value, b: Value): Value {
    return { ...a, name: this.model.node('Add', [a.name, this.#nameOf(b)]) }
  }

  rmsNorm(x: Value, weight: Value, epsilon: number): Value {
    const name = this.model.node('SimplifiedLayerNormalization', [x.name, this.#nameOf(weight)], {
      axis: -1,
      epsilon: { float: epsilon },
    })
    return { ...x, name }
  }

  layerNorm(x: Value, weight: Value, bias: Value, epsilon: number): Value {
    const name = this.model.node('LayerNormalization', [x.name, this.#nameOf(weight), this.#nameOf(bias)], {
      axis: -1,
      epsilon: { float: epsilon },
    })
    return { ...x, name }
  }

  gelu(x: Value): Value {
    return { ...x, name: this.model.node('FastGelu', [x.name], {}, contrib) }
  }

  quickGelu(x: Value): Value {
    return { ...x, name: this.model.node('QuickGelu', [x.name], { alpha: { float: 1.702 } }, contrib) }
  }

  swiglu(gate: Value, up: Value): Value {
    const silu = this.model.node('QuickGelu', [gate.name], { alpha: { float: 1 } }, contrib)
    return { ...gate, name: this.model.node('Mul', [silu, up.name]) }
  }

  geglu(gate: Value, up: Value): Value {
    return { ...gate, name: this.model.node('Mul', [this.gelu(gate).name, up.name]) }
  }

  rope2d(x: Value, heads: number, _grid: Grid, theta: number): Value {
    const head = x.width / heads
    if (this.rope === undefined) {
      this.model.input('cos', 'f32', ['tokens', head / 2])
      this.model.input('sin', 'f32', ['tokens', head / 2])
      this.model.input('places', 'i64', [1, 'tokens'])
      this.rope = { head, theta }
    }
    // The operator takes heads from the shape alone: [1, heads, tokens, head].
    const split = this.model.node('Reshape', [x.name, this.#shape([1, -1, heads, head])])
    const turned = this.model.node(
      'RotaryEmbedding',
      [this.model.node('Transpose', [split], { perm: [0, 2, 1, 3] }), 'places', 'cos', 'sin'],
      { interleaved: 1 },
      contrib,
    )
    const back = this.model.node('Transpose', [turned], { perm: [0, 2, 1, 3] })
    return { ...x, name: this.model.node('Reshape', [back, this.#shape([-1, x.width])]) }
  }

  joinPatches(x: Value, { columns }: Grid, factor: number): Value {
    const width = x.width * factor
    const squares = this.#shape([-1, factor, columns / factor, width])
    const split = this.model.node('Reshape', [x.name, squares])
    const joined = this.model.node('Transpose', [split], { perm: [0, 2, 1, 3] })
    return { name: this.model.node('Reshape', [joined, this.#shape([-1, width * factor])]), width: width * factor }
  }

  attention(q: Value, k: Value, v: Value, heads: number): Value {
    const batched = [q, k, v].map(({ name, width }) => this.model.node('Reshape', [name, this.#shape([1, -1, width])]))
    const mixed = this.model.node('MultiHeadAttention', batched, { num_heads: heads }, contrib)
    return { ...q, name: this.model.node('Reshape', [mixed, this.#shape([-1, q.width])]) }
  }

  /** Weights as 8-bit integers with a scale for each output, activations as they come. */
  #int8(values: Float32Array, rows: number, columns: number, x: Value): string {
    const scales = new Float32Array(rows)
    // The operator multiplies by [in, out], so outputs become columns.
    const quantized = new Int8Array(values.length)
    for (let row = 0; row < rows; row++) {
      let largest = 0
      for (let column = 0; column < columns; column++)
        largest = Math.max(largest, Math.abs(values[row * columns + column] as number))
      const scale = largest / 127 || 1
      scales[row] = scale
      for (let column = 0; column < columns; column++)
        quantized[column * rows + row] = Math.round((values[row * columns + column] as number) / scale)
    }
    const weight = this.model.constant('i8', [columns, rows], quantized)
    return this.model.node(
      'DynamicQuantizeMatMul',
      [x.name, weight, this.model.constant('f32', [rows], scales)],
      {},
      contrib,
    )
  }

  /** A weight that is used as a vector becomes a constant the first time. */
  #nameOf({ name, rows, width }: Value): string {
    if (rows === undefined) return name
    let constant = this.#constants.get(name)
    if (constant === undefined) {
      const values = this.#weights.floats(name)
      constant = this.model.constant('f32', rows === 1 ? [width] : [rows, width], values)
      this.#constants.set(name, constant)
    }
    return constant
  }

  #shape(sizes: readonly number[]): string {
    const known = this.#constants.get(`shape ${sizes}`)
    if (known !== undefined) return known
    const constant = this.model.constant('i64', [sizes.length], BigInt64Array.from(sizes, BigInt))
    this.#constants.set(`shape ${sizes}`, constant)
    return constant
  }
}
