import type { InferenceSession, TensorConstructor } from 'onnxruntime-node'
import { type Architecture, type Tile, tilesOf } from './architecture.ts'
import type { GraphBuilder, Grid, JoinOrder, Rope2d } from './graph.ts'
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
  #kept: { size: string; feeds: Readonly<Record<string, Feed>> } = { size: '', feeds: {} }

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
    const feeds: Record<string, Feed> = {
      ...this.#feedsOf(grid),
      patches: new this.#tensor('float32', values, [tokens, values.length / tokens]),
    }
    const result = (await this.#session.run(feeds))[this.#output]
    if (!(result?.data instanceof Float32Array)) throw new Error('ONNX Runtime gave no floats')
    return result.data
  }

  /** What depends on the grid alone, kept for the next tile: most are of one size. */
  #feedsOf(grid: Grid): Readonly<Record<string, Feed>> {
    const size = `${grid.columns}x${grid.rows}`
    if (this.#kept.size === size) return this.#kept.feeds
    const feeds: Record<string, Feed> = {}
    for (const [name, of] of this.#emitter.gridInputs) {
      const { data, shape } = of(grid)
      feeds[name] =
        data instanceof Float32Array ? new this.#tensor('float32', data, shape) : new this.#tensor('int64', data, shape)
    }
    this.#kept = { size, feeds }
    return feeds
  }
}

type Feed = InstanceType<TensorConstructor>

/** An input whose values depend on the grid alone. */
interface GridInput {
  data: Float32Array | BigInt64Array
  shape: readonly number[]
}

/** Angles by which the pairs of a head turn, of every row. `[rows, head / 2]` */
function rope2dTables({ theta, interleaved, positions }: Rope2d, head: number, grid: Grid) {
  const pairs = head / 2
  const { first, second } = positions(grid)
  const tables = { cos: new Float32Array(first.length * pairs), sin: new Float32Array(first.length * pairs) }
  const offset = interleaved ? theta ** (-2 / head) : 1
  for (let row = 0; row < first.length; row++)
    for (let pair = 0; pair < pairs; pair++) {
      const half = pair < pairs / 2 ? 0 : 1
      const frequency = theta ** ((-2 * (pair - (half * pairs) / 2)) / pairs) * (half === 0 ? 1 : offset)
      const angle = ((half === 0 ? first : second)[row] ?? 0) * frequency
      tables.cos[row * pairs + pair] = Math.cos(angle)
      tables.sin[row * pairs + pair] = Math.sin(angle)
    }
  return tables
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
  /** Inputs that each run works out anew from its grid. */
  readonly gridInputs = new Map<string, (grid: Grid) => GridInput>()
  readonly #ropes = new Map<Rope2d, { cos: string; sin: string; places: string }>()
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

  shapeOf(name: string): { rows: number; columns: number } {
    return this.#weights.tensor(name)
  }

  floats(name: string): Float32Array {
    return this.#weights.floats(name)
  }

  table(name: string, width: number, values: (grid: Grid) => Float32Array): Value {
    const rows = `rows of ${name}`
    return {
      name: this.#gridInput(name, 'f32', [rows, width], (grid) => {
        const data = values(grid)
        return { data, shape: [data.length / width, width] }
      }),
      width,
    }
  }

  matmul({ name, rows = 1, width }: Value, x: Value): Value {
    return this.#multiply(this.#weights.floats(name), rows, width, x)
  }

  matmulTransposed({ name, rows = 1, width }: Value, x: Value): Value {
    const values = this.#weights.floats(name)
    const turned = new Float32Array(values.length)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < width; column++)
        turned[column * rows + row] = values[row * width + column] as number
    return this.#multiply(turned, width, rows, x)
  }

  /** @param values `[rows, width]` */
  #multiply(values: Float32Array, rows: number, width: number, x: Value): Value {
    if (this.#precision === 'int8') return { name: this.#int8(values, rows, width, x), width: rows }
    const weight = this.model.constant('f32', [rows, width], values)
    return { name: this.model.node('Gemm', [x.name, weight], { transB: 1 }), width: rows }
  }

  add(a: Value, b: Value): Value {
    return { ...a, name: this.model.node('Add', [a.name, this.#nameOf(b)]) }
  }

  scale(x: Value, weight: Value): Value {
    return { ...x, name: this.model.node('Mul', [x.name, this.#nameOf(weight)]) }
  }

  concatRows(a: Value, b: Value): Value {
    const [above, below] = [a, b].map((value) =>
      this.model.node('Reshape', [this.#nameOf(value), this.#shape([-1, value.width])]),
    )
    return { name: this.model.node('Concat', [above ?? '', below ?? ''], { axis: 0 }), width: a.width }
  }

  sliceRows(x: Value, start: number, end = Number.MAX_SAFE_INTEGER): Value {
    return {
      ...x,
      name: this.model.node('Slice', [x.name, this.#shape([start]), this.#shape([end]), this.#shape([0])]),
    }
  }

  rmsNorm(x: Value, weight: Value, epsilon: number): Value {
    const name = this.model.node('SimplifiedLayerNormalization', [x.name, this.#nameOf(weight)], {
      axis: -1,
      epsilon: { float: epsilon },
    })
    return { ...x, name }
  }

  layerNorm(x: Value, weight: Value, bias: Value | undefined, epsilon: number): Value {
    const inputs = [x.name, this.#nameOf(weight), ...(bias === undefined ? [] : [this.#nameOf(bias)])]
    const name = this.model.node('LayerNormalization', inputs, { axis: -1, epsilon: { float: epsilon } })
    return { ...x, name }
  }

  gelu(x: Value): Value {
    return { ...x, name: this.model.node('FastGelu', [x.name], {}, contrib) }
  }

  quickGelu(x: Value): Value {
    return { ...x, name: this.model.node('QuickGelu', [x.name], { alpha: { float: 1.702 } }, contrib) }
  }

  silu(x: Value): Value {
    return { ...x, name: this.model.node('QuickGelu', [x.name], { alpha: { float: 1 } }, contrib) }
  }

  swiglu(gate: Value, up: Value): Value {
    return { ...gate, name: this.model.node('Mul', [this.silu(gate).name, up.name]) }
  }

  geglu(gate: Value, up: Value): Value {
    return { ...gate, name: this.model.node('Mul', [this.gelu(gate).name, up.name]) }
  }

  rope2d(x: Value, heads: number, rope: Rope2d): Value {
    const head = x.width / heads
    const { cos, sin, places } = this.#ropeOf(rope, head)
    // The operator takes heads from the shape alone: [1, heads, tokens, head].
    const split = this.model.node('Reshape', [x.name, this.#shape([1, -1, heads, head])])
    const turned = this.model.node(
      'RotaryEmbedding',
      [this.model.node('Transpose', [split], { perm: [0, 2, 1, 3] }), places, cos, sin],
      { interleaved: 1 },
      contrib,
    )
    const back = this.model.node('Transpose', [turned], { perm: [0, 2, 1, 3] })
    return { ...x, name: this.model.node('Reshape', [back, this.#shape([-1, x.width])]) }
  }

  joinPatches(x: Value, _grid: Grid, factor: number, { squares, within }: JoinOrder = {}): Value {
    const width = x.width * factor * factor
    const outer = squares === 'columns' ? [2, 0] : [0, 2]
    const inner = within === 'channels' ? [4, 1, 3] : [1, 3, 4]
    const moved = this.model.node('Transpose', [this.#squares(x, factor)], { perm: [...outer, ...inner] })
    return { name: this.model.node('Reshape', [moved, this.#shape([-1, width])]), width }
  }

  averagePatches(x: Value, _grid: Grid, factor: number): Value {
    const means = this.model.node('ReduceMean', [this.#squares(x, factor)], { axes: [1, 3], keepdims: 0 })
    return { ...x, name: this.model.node('Reshape', [means, this.#shape([-1, x.width])]) }
  }

  attention(q: Value, k: Value, v: Value, heads: number): Value {
    const batched = [q, k, v].map(({ name, width }) => this.model.node('Reshape', [name, this.#shape([1, -1, width])]))
    const mixed = this.model.node('MultiHeadAttention', batched, { num_heads: heads }, contrib)
    return { ...q, name: this.model.node('Reshape', [mixed, this.#shape([-1, q.width])]) }
  }

  /** As `[rows of squares, factor, columns of squares, factor, width]`. */
  #squares(x: Value, factor: number): string {
    const name = `squares of ${factor} patches of ${x.width}`
    const shape = this.#gridInput(name, 'i64', [5], ({ rows, columns }) => {
      const sizes = [rows / factor, factor, columns / factor, factor, x.width]
      return { data: BigInt64Array.from(sizes, BigInt), shape: [5] }
    })
    return this.model.node('Reshape', [x.name, shape])
  }

  #ropeOf(rope: Rope2d, head: number): { cos: string; sin: string; places: string } {
    const known = this.#ropes.get(rope)
    if (known !== undefined) return known
    const number = this.#ropes.size
    const rows = `rows of rope ${number}`
    const table = (of: 'cos' | 'sin') =>
      this.#gridInput(`${of} ${number}`, 'f32', [rows, head / 2], (grid) => {
        const data = rope2dTables(rope, head, grid)[of]
        return { data, shape: [data.length / (head / 2), head / 2] }
      })
    const names = {
      cos: table('cos'),
      sin: table('sin'),
      places: this.#gridInput(`places ${number}`, 'i64', [1, rows], (grid) => {
        const count = rope.positions(grid).first.length
        return { data: BigInt64Array.from({ length: count }, (_, place) => BigInt(place)), shape: [1, count] }
      }),
    }
    this.#ropes.set(rope, names)
    return names
  }

  #gridInput(
    name: string,
    type: 'f32' | 'i64',
    shape: readonly (number | string)[],
    of: (grid: Grid) => GridInput,
  ): string {
    if (!this.gridInputs.has(name)) this.model.input(name, type, shape)
    this.gridInputs.set(name, of)
    return name
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
