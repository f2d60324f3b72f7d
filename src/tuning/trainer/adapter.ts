import { outOfMemory } from '../../errors.ts'
import { type Context, type Tensor, TensorType } from '../../native/index.ts'
import { randomNumbers } from '../../random.ts'
import type { Computer } from './computer.ts'
import type { Pair } from './tape.ts'

/** A module that LoRA adds to: its matrix in the decoder's file, and its shape. */
export interface Module {
  /** Of the tensor, without `.weight`. */
  readonly matrix: string
  readonly inputs: number
  readonly outputs: number
}

/** Products are fast over whole vectors, so a lower rank is padded with zeros, which stay zeros. */
const wholeRank = 16
/** Rows of numbers, which the optimizer's threads share. */
const rowNumbers = 4096
/** Nodes of the optimizer's graphs. */
const optimizerNodes = 16
/** Of the moments, as PyTorch's AdamW has them. */
const decays = [0.9, 0.999] as const
const epsilon = 1e-8

/**
 * What is trained: all matrices of an adapter one after the other, in four arrays of the same form: the parameters, their
 * gradients, and the two moments of the optimizer.
 */
export class Adapter {
  readonly modules: readonly Module[]
  readonly rank: number
  /** What the products are multiplied with: alpha / rank. */
  readonly scale: number
  /** 32-bit floats of each of the arrays. */
  readonly numbers: number
  readonly parameters: Tensor
  readonly gradients: Tensor
  readonly moments: readonly [first: Tensor, second: Tensor]
  readonly bytes: number
  readonly #computer: Computer
  readonly #padded: number
  readonly #starts: ReadonlyMap<string, number>
  readonly #free: () => void

  /** @throws OrielError `internal` without enough memory */
  constructor(computer: Computer, modules: readonly Module[], { rank, alpha }: { rank: number; alpha: number }) {
    const { ggml, cpu } = computer
    this.#computer = computer
    this.modules = modules
    this.rank = rank
    this.#padded = Math.ceil(rank / wholeRank) * wholeRank
    this.scale = alpha / rank
    const starts = new Map<string, number>()
    let numbers = 0
    for (const { matrix, inputs, outputs } of modules) {
      starts.set(matrix, numbers)
      numbers += (inputs + outputs) * this.#padded
    }
    const rows = Math.ceil(numbers / rowNumbers)
    this.numbers = rows * rowNumbers
    this.#starts = starts
    const context = ggml.init(8)
    const array = (): Tensor => ggml.newTensor4d(context, TensorType.F32, rowNumbers, rows, 1, 1)
    this.parameters = array()
    ggml.setParam(this.parameters)
    this.gradients = array()
    this.moments = [array(), array()]
    this.bytes = 4 * this.numbers * 4
    const buffer = ggml.allocContextTensors(context, cpu)
    this.#free = () => {
      if (buffer !== null) ggml.freeBuffer(buffer)
      ggml.free(context)
    }
    if (buffer === null) {
      this.#free()
      throw outOfMemory('There is not enough memory for the adapter.')
    }
    for (const tensor of [this.parameters, this.gradients, ...this.moments]) this.#clear(tensor)
  }

  /** The first matrix of each pair from a uniform distribution, as PEFT begins (Kaiming, a = sqrt(5)); the second is zero. */
  begin(seed: number): void {
    const random = randomNumbers(seed)
    for (const { matrix, inputs } of this.modules) {
      const bound = 1 / Math.sqrt(inputs)
      const values = Float32Array.from({ length: this.rank * inputs }, () => (2 * random() - 1) * bound)
      this.#computer.ggml.setTensor(this.parameters, values, this.#start(matrix) * 4, values.byteLength)
    }
  }

  /** The length of all gradients together. */
  gradientNorm(): number {
    const { ggml } = this.#computer
    return this.#computer.run(optimizerNodes, 0, (context) => {
      const sum = ggml.sum(context, ggml.sqr(context, this.gradients))
      ggml.setOutput(sum)
      const graph = ggml.newGraph(context, optimizerNodes, false)
      ggml.buildForwardExpand(graph, sum)
      const read = (): number => {
        const value = new Float32Array(1)
        ggml.getTensor(sum, value, 0, 4)
        return Math.sqrt(value[0] ?? 0)
      }
      return { graph, write() {}, read }
    })
  }

  /**
   * A step of AdamW (Loshchilov and Hutter, 2019) without decay of the weights. The gradients are cleared.
   * @param step counted from 1
   * @param factor that the gradients are multiplied with
   */
  descend(step: number, learningRate: number, factor: number): void {
    const { ggml } = this.#computer
    const bias = decays.map((decay) => 1 / (1 - decay ** step))
    const settings = Float32Array.of(learningRate, ...decays, epsilon, 0, ...bias)
    this.#computer.run(optimizerNodes, 0, (context) => {
      const input = ggml.newTensor4d(context, TensorType.F32, settings.length, 1, 1, 1)
      ggml.setInput(input)
      const graph = ggml.newGraph(context, optimizerNodes, false)
      const scaled = ggml.scale(context, this.gradients, factor)
      ggml.buildForwardExpand(graph, ggml.optStepAdamW(context, this.parameters, scaled, ...this.moments, input))
      return { graph, write: () => ggml.setTensor(input, settings, 0, settings.byteLength), read() {} }
    })
    this.#clear(this.gradients)
  }

  /** The matrices of a module as tensors of a graph; undefined if it is not trained. */
  pair(context: Context, matrix: string): Pair | undefined {
    const module = this.modules.find((one) => one.matrix === matrix)
    if (module === undefined) return undefined
    const { inputs, outputs } = module
    const start = this.#start(matrix)
    const second = start + inputs * this.#padded
    const view = (of: Tensor, width: number, at: number): Tensor =>
      this.#computer.ggml.view2d(context, of, width, this.#padded, width * 4, at * 4)
    return {
      a: view(this.parameters, inputs, start),
      b: view(this.parameters, outputs, second),
      gradientOfA: view(this.gradients, inputs, start),
      gradientOfB: view(this.gradients, outputs, second),
      scale: this.scale,
    }
  }

  /** `a` is `[rank, inputs]`, and `b`, turned, `[rank, outputs]`, both row by row. @param of all numbers of an array */
  matricesOf({ matrix, inputs, outputs }: Module, of: Float32Array): { a: Float32Array; b: Float32Array } {
    const start = this.#start(matrix)
    const second = start + inputs * this.#padded
    return {
      a: of.subarray(start, start + this.rank * inputs),
      b: of.subarray(second, second + this.rank * outputs),
    }
  }

  read(tensor: Tensor): Float32Array {
    const values = new Float32Array(this.numbers)
    this.#computer.ggml.getTensor(tensor, values, 0, values.byteLength)
    return values
  }

  write(tensor: Tensor, values: Float32Array): void {
    this.#computer.ggml.setTensor(tensor, values, 0, values.byteLength)
  }

  free(): void {
    this.#free()
  }

  #clear(tensor: Tensor): void {
    this.#computer.ggml.fillTensor(tensor, 0, 0, this.numbers * 4)
  }

  #start(matrix: string): number {
    const start = this.#starts.get(matrix)
    if (start === undefined) throw new Error(`${matrix} is not trained`)
    return start
  }
}
