import { OrielError } from '../../errors.ts'
import { headerOf } from '../../gguf/index.ts'
import { decoderTargets } from '../../models/index.ts'
import type { Tensor } from '../../native/index.ts'
import { Adapter, type Module } from './adapter.ts'
import { type Architecture, architectureOf, linearParts } from './architecture.ts'
import { type HeldWeights, type Precision, placeWeights } from './base-weights.ts'
import { Computer } from './computer.ts'
import { type DecoderGraph, decoderGraph, nodesOf, type Purpose } from './decoder.ts'
import { openProjector, type Projector } from './projector.ts'
import { attentionParts, paddedCells, type Run } from './runs.ts'

export interface SessionOptions {
  /** Path of the base model's decoder. */
  readonly decoder: string
  /** Path of the vision file whose projector is trained, too. Omitted or null: only the decoder is. */
  readonly projector?: string | null
  readonly rank: number
  readonly alpha: number
  readonly threads: number
  readonly memoryBytes: number
  /** Cells of the largest run. */
  readonly cells: number
  /** Omitted: what fits the size of the model and the memory. */
  readonly way?: Way
}

/** A module that is trained. */
export interface NamedModule extends Module {
  /** In transformers, without what precedes it. */
  readonly module: string
  /** What it is the last matrix of; null: it is one of the decoder. */
  readonly projector: Projector | null
  /** Where each row of the matrix is among the module's; null if they have the same order. */
  readonly rows: Int32Array | null
}

/** Memory of the process without weights, adapter and graph. */
const ownBytes = 200e6

type TrainingPurpose = Exclude<Purpose, 'evaluation'>

/** Ways to hold the weights and the values of a graph. The first that fits is taken. */
interface Way {
  readonly precision: Precision
  readonly purpose: TrainingPurpose
}
const ofPrecision = (precision: Precision): Way[] => [
  { precision, purpose: 'training' },
  { precision, purpose: 'training in less memory' },
]

/**
 * Numbers of a decoder whose products are exact. The gradients of a larger one lose less by rounding than those of a batch
 * differ from those of another.
 */
const smallDecoder = 50e6

/** The base model, the adapter that is trained, and what computes with both. */
export class Session {
  readonly architecture: Architecture
  readonly modules: readonly NamedModule[]
  readonly adapter: Adapter
  /** If it is trained. */
  readonly projector: Projector | null
  /** That training takes, reckoned from the largest graph. */
  readonly memoryBytes: number
  readonly #computer: Computer
  readonly #weights: HeldWeights
  readonly #purpose: TrainingPurpose

  /**
   * @throws OrielError `invalid` for a model that cannot be trained, and `precondition_failed` if it takes more memory than
   * it may, before anything is trained
   */
  static async open(options: SessionOptions): Promise<Session> {
    const architecture = architectureOf(await headerOf(options.decoder), options.decoder)
    const computer = new Computer(options.threads)
    let adapter: Adapter | undefined
    try {
      const { projector: file = null } = options
      const projector = file === null ? null : await openProjector(computer.ggml, file)
      const modules = [...modulesOf(architecture), ...(projector === null ? [] : [moduleOf(projector)])]
      adapter = new Adapter(computer, modules, options)
      return new Session(options, { architecture, computer, modules, projector, adapter })
    } catch (error) {
      adapter?.free()
      computer.free()
      throw error
    }
  }

  private constructor(
    { decoder, cells, memoryBytes, way }: SessionOptions,
    parts: {
      architecture: Architecture
      computer: Computer
      modules: readonly NamedModule[]
      projector: Projector | null
      adapter: Adapter
    },
  ) {
    this.architecture = parts.architecture
    this.modules = parts.modules
    this.adapter = parts.adapter
    this.projector = parts.projector
    this.#computer = parts.computer
    const { width, deepstack } = parts.architecture
    // A run that is one sequence takes most.
    const padded = paddedCells(cells)
    const size = { cells: padded, learned: cells, parts: attentionParts(new Int32Array(padded)) }
    // Of the inputs there is a copy beside the graph.
    const inputs = 4 * padded * (padded + width * (1 + deepstack + (parts.projector === null ? 0 : 1)))
    let least = Number.POSITIVE_INFINITY
    const isSmall = parts.modules.reduce((sum, { inputs, outputs }) => sum + inputs * outputs, 0) <= smallDecoder
    const usual = [...(isSmall ? ofPrecision('exact') : []), ...ofPrecision('rounded')]
    for (const { precision, purpose } of way === undefined ? usual : [way]) {
      const weights = placeWeights(parts.computer, decoder, precision)
      const graph = parts.computer.bytesOf(nodesOf(parts.architecture, size), (context) =>
        decoderGraph(
          { ...parts, ggml: parts.computer.ggml, weights, projector: parts.projector?.matrix ?? null },
          ...([context, size, purpose] as const),
        ),
      )
      const bytes = Math.ceil(ownBytes + weights.bytes + parts.adapter.bytes + graph + inputs)
      if (bytes <= memoryBytes) {
        weights.fill()
        this.memoryBytes = bytes
        this.#weights = weights
        this.#purpose = purpose
        return
      }
      weights.free()
      least = Math.min(least, bytes)
    }
    throw new OrielError(
      'precondition_failed',
      `Training needs ${megabytes(least)} MB of memory with examples of ${cells} tokens, and may take ${megabytes(memoryBytes)} MB. Shorter examples and a lower rank need less.`,
      { code: 'out_of_memory' },
    )
  }

  /** The table of token embeddings. */
  get embeddings(): Pick<HeldWeights, 'embed'> {
    return this.#weights
  }

  /** Adds the gradients of a run to the adapter's. @returns the sum of the negative logarithms of the probabilities */
  learn(run: Run): number {
    return this.#lossOf(run, this.#purpose)
  }

  /** @returns as `learn` */
  evaluate(run: Run): number {
    return this.#lossOf(run, 'evaluation')
  }

  close(): void {
    this.#weights.free()
    this.adapter.free()
    this.#computer.free()
  }

  #lossOf(run: Run, purpose: Purpose): number {
    const { architecture, adapter } = this
    const { ggml } = this.#computer
    const size = { cells: run.cells, learned: run.rows.length, parts: run.parts }
    return this.#computer.run(nodesOf(architecture, size), purpose === 'evaluation' ? 0 : run.cells, (context) => {
      const of = { ggml, architecture, weights: this.#weights, adapter, projector: this.projector?.matrix ?? null }
      const graph = decoderGraph(of, context, size, purpose)
      return {
        graph: graph.graph,
        write: () => this.#write(graph, run),
        read: () => this.#read(graph),
      }
    })
  }

  #write(graph: DecoderGraph, run: Run): void {
    const { ggml } = this.#computer
    const set = (tensor: Tensor, values: Float32Array | Int32Array): void =>
      ggml.setTensor(tensor, values, 0, values.byteLength)
    set(graph.embeddings, run.embeddings)
    if (graph.products !== null) set(graph.products, run.products ?? new Float32Array(0))
    set(graph.positions, run.positions)
    for (const [index, { mask }] of graph.parts.entries()) set(mask, run.masks[index] ?? new Float32Array(0))
    for (const [layer, tensor] of graph.deepstack.entries()) set(tensor, run.deepstack[layer] ?? new Float32Array(0))
    for (const { from, count, rows, targets, ones } of graph.head) {
      set(rows, run.rows.subarray(from, from + count))
      const tokens = run.tokens.subarray(from, from + count)
      set(
        targets,
        tokens.map((token, at) => at * this.architecture.vocabulary + token),
      )
      if (ones !== null) set(ones, new Float32Array(count).fill(1))
    }
  }

  #read(graph: DecoderGraph): number {
    let sum = 0
    for (const { count, probabilities } of graph.head) {
      const values = new Float32Array(count)
      this.#computer.ggml.getTensor(probabilities, values, 0, values.byteLength)
      // A probability below the range of its type is not nothing.
      for (const value of values) sum -= Math.log(Math.max(value, leastProbability))
    }
    return sum
  }
}

const leastProbability = 1e-38

const megabytes = (bytes: number): string => Math.ceil(bytes / 1e6).toLocaleString('en')

/** All linear parts of all layers. */
function modulesOf({ layers, name, metadata }: Architecture): NamedModule[] {
  return Array.from({ length: layers }, (_, layer) =>
    linearParts.map((part): NamedModule => {
      const module = `layers.${layer}.${part}`
      const [target] = decoderTargets(module, name, metadata)
      if (target === undefined) throw new Error(`${module} has no matrix`)
      const { rows: outputs, columns: inputs } = metadata.needTensor(`${target.matrix}.weight`)
      const rows = target.rows?.(outputs)
      const order = rows instanceof Int32Array ? rows : null
      return { module, projector: null, matrix: target.matrix, inputs, outputs, rows: order }
    }),
  ).flat()
}

/** Of the projector: it takes its own outputs, as they were before. */
const moduleOf = (projector: Projector): NamedModule => {
  const { module, matrix, outputs } = projector
  return { module, projector, matrix, inputs: outputs, outputs, rows: null }
}
