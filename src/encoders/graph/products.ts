import { contrib, type OnnxModel } from './onnx-file.ts'
import { quantizeRest, quantizeRows } from './quantize.ts'
import type { TensorFile } from './tensor-file.ts'

/**
 * How the product with a weight matrix is computed: in 32-bit floats, or in products of 8-bit integers. `int8` is one:
 * activations are rounded to 255 steps between the extremes of all rows, weights to 254 for each output. `int8x2` adds the
 * product of what rounding left of the activations; `int8x3` adds that of what it left of the weights, and is all but exact
 * unless some activations are far larger than others.
 */
export type Form = (typeof forms)[number]
export const forms = ['int8', 'int8x2', 'int8x3', 'fp32'] as const

/** Bytes of a weight, and of its copies if a session packs weights. */
export const weightBytes: Readonly<Record<Form, number>> = { int8: 1, int8x2: 1, int8x3: 2, fp32: 4 }
export const packedBytes: Readonly<Record<Form, number>> = { int8: 1, int8x2: 2, int8x3: 3, fp32: 4 }

/** Whether a matrix may be rounded: those of the layers. What is before and after them costs little and stays exact. */
export const hasForm = (weight: string): boolean => /^(v\.(sam\.)?|a\.)blk\./.test(weight)

/** A weight matrix `[rows, columns]`, which has `columns` inputs. */
export interface Matrix {
  name: string
  rows: number
  columns: number
}

/** Emits the products with weight matrices that are not computed in 32-bit floats. */
export interface Products {
  /**
   * @param x `[tokens, columns]`
   * @param bias `[rows]`
   * @returns `[tokens, rows]`; undefined for a matrix that is computed in 32-bit floats
   */
  emit(x: string, matrix: Matrix, bias: string | undefined): string | undefined
  /** Called when everything is emitted. @returns names of nodes that the graph gives besides the embeddings */
  finish(): readonly string[]
}

/** What products are made of. */
export interface ProductParts extends WeightSource {
  model: OnnxModel
}

/** The matrices of a vision file, and the largest integer that a weight may be. */
interface WeightSource {
  file: TensorFile
  largest: number
}

/** Each matrix of the layers in a form of its own. */
export function productsIn(formOf: (weight: string) => Form) {
  return ({ model, ...source }: ProductParts): Products => {
    const products = new IntegerProducts(model, integersOf(model, source))
    return {
      emit(x, matrix, bias) {
        const form = hasForm(matrix.name) ? formOf(matrix.name) : 'fp32'
        return form === 'fp32' ? undefined : products.emit(x, matrix, form, bias)
      },
      finish: () => [],
    }
  }
}

/** A matrix in 8-bit integers: names of constants. */
export interface IntegerWeights {
  /** `[columns, rows]`, turned, as products of integers take it. */
  values: string
  /** What a 1 of each row stands for: `[rows]` */
  scales: string
}

/** The integers of a matrix, and those of what rounding left of it. */
export interface IntegerSource {
  rounded(matrix: Matrix): IntegerWeights
  rest(matrix: Matrix): IntegerWeights
}

/** Integers made from the matrices of a vision file. */
export function integersOf(model: OnnxModel, { file, largest }: WeightSource): IntegerSource {
  /** Values and scales of a matrix are wanted one after the other. */
  const lastOf = <T>(make: (matrix: Matrix) => T) => {
    let last: { name: string; made: T } | undefined
    return (matrix: Matrix): T => {
      if (last?.name !== matrix.name) last = { name: matrix.name, made: make(matrix) }
      return last.made
    }
  }
  const roundedOf = lastOf(({ name, rows, columns }) => quantizeRows(file.tiles(name), rows, columns, largest))
  const restOf = lastOf((matrix) => quantizeRest(file.tiles(matrix.name), roundedOf(matrix), largest))
  const constants = (of: typeof roundedOf, what: string) => (matrix: Matrix) => {
    const { name, rows, columns } = matrix
    return {
      values: model.constant(`${name} ${what}`, 'i8', [columns, rows], () => [of(matrix).values]),
      scales: model.constant(`${name} ${what} scales`, 'f32', [rows], () => [of(matrix).scales]),
    }
  }
  return { rounded: constants(roundedOf, `to ${largest}`), rest: constants(restOf, `rest to ${largest}`) }
}

/** Activations in integers: names of nodes and constants. */
interface Integers {
  values: string
  /** What a 1 stands for. */
  scale: string
  /** The integer that stands for 0. */
  zero: string
}

/** Emits products of integers, and rounds each matrix of activations once: queries, keys and values have the same. */
export class IntegerProducts {
  readonly #model: OnnxModel
  readonly #weights: IntegerSource
  readonly #rounded = new Map<string, Integers>()
  readonly #rests = new Map<string, Integers>()

  constructor(model: OnnxModel, weights: IntegerSource) {
    this.#model = model
    this.#weights = weights
  }

  emit(x: string, matrix: Matrix, form: Exclude<Form, 'fp32'>, bias?: string): string {
    const products = [this.first(x, matrix, bias)]
    if (form !== 'int8') products.push(this.second(x, matrix))
    if (form === 'int8x3') products.push(this.third(x, matrix))
    return this.sum(products)
  }

  first(x: string, matrix: Matrix, bias?: string): string {
    return this.#product(this.#round(x), this.#weights.rounded(matrix), bias)
  }

  /** @param factor 0 leaves the product out */
  second(x: string, matrix: Matrix, factor?: string): string {
    return this.#product(this.#times(this.#restOf(x), factor), this.#weights.rounded(matrix))
  }

  /** @param factor 0 leaves the product out */
  third(x: string, matrix: Matrix, factor?: string): string {
    return this.#product(this.#times(this.#round(x), factor), this.#weights.rest(matrix))
  }

  /** No form has it: with all four a product is exact. @param factor 0 leaves the product out */
  fourth(x: string, matrix: Matrix, factor?: string): string {
    return this.#product(this.#times(this.#restOf(x), factor), this.#weights.rest(matrix))
  }

  sum([first = '', ...others]: readonly string[]): string {
    return others.reduce((sum, other) => this.#model.node('Add', [sum, other]), first)
  }

  #times(x: Integers, factor: string | undefined): Integers {
    return factor === undefined ? x : { ...x, scale: this.#model.node('Mul', [x.scale, factor]) }
  }

  #round(x: string): Integers {
    const known = this.#rounded.get(x)
    if (known !== undefined) return known
    const [values, scale, zero] = this.#model.nodes('DynamicQuantizeLinear', [x], ['values', 'scale', 'zero'])
    const rounded = { values, scale, zero }
    this.#rounded.set(x, rounded)
    return rounded
  }

  /** What rounding leaves is half a step at most. It has 254 steps around 0. */
  #restOf(x: string): Integers {
    const known = this.#rests.get(x)
    if (known !== undefined) return known
    const { values, scale, zero } = this.#round(x)
    const left = this.#model.node('Sub', [x, this.#model.node('DequantizeLinear', [values, scale, zero])])
    const step = this.#model.constant('1 / 254', 'f32', [], () => [Float32Array.of(1 / 254)])
    const middle = this.#model.constant('128', 'u8', [], () => [Uint8Array.of(128)])
    const smaller = this.#model.node('Mul', [scale, step])
    const rest = { values: this.#model.node('QuantizeLinear', [left, smaller, middle]), scale: smaller, zero: middle }
    this.#rests.set(x, rest)
    return rest
  }

  #product(x: Integers, weights: IntegerWeights, bias?: string): string {
    const inputs = [x.values, weights.values, x.scale, weights.scales, x.zero]
    return this.#model.node('MatMulIntegerToFloat', bias === undefined ? inputs : [...inputs, '', bias], {}, contrib)
  }
}
