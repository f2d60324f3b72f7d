import { openOnnxGraph } from './onnx.ts'
import { hasForm, IntegerProducts, integersOf, type Matrix, type ProductParts, type Products } from './products.ts'
import type { GraphSource, Sample } from './source.ts'
import type { TensorFile } from './tensor-file.ts'
import type { WeightCache } from './weight-cache.ts'

export interface TrialMatrix extends Matrix {
  /** Names its activations: some matrices have the same. */
  x: string
}

/** A graph in which every matrix of the layers can change its form with each run. Integers of four terms stand for `fp32`. */
export interface Trial<Part> {
  readonly matrices: readonly TrialMatrix[]
  /**
   * @param terms of each matrix three numbers: whether its second, its third and its fourth product take part, 1 or 0
   */
  run(sample: Sample<Part>, terms: Float32Array): Promise<TrialRun>
  release(): Promise<void>
}

interface TrialRun {
  readonly embeddings: Float32Array
  /** Of each matrix how large its second, its third and its fourth product were: sums of squares of some rows. */
  readonly left: Float32Array
  /** Rows of each matrix's activations: those of the input are others in encoders that convolve or have windows. */
  readonly rows: Float32Array
}

/** @returns null if ONNX Runtime is not installed */
export async function openTrial<Part>(
  file: TensorFile,
  source: GraphSource<Part>,
  cache: WeightCache | null,
  threads: number,
): Promise<Trial<Part> | null> {
  const matrices: TrialMatrix[] = []
  const products = (parts: ProductParts): Products => trialProducts(parts, matrices)
  const graph = await openOnnxGraph(file, source, cache, products, { threads, isBrief: true })
  if (graph === null) return null
  return {
    matrices,
    async run({ values, part }, terms) {
      const more = { [termsInput]: terms }
      const [embeddings, left, rows] = await graph.run(values, part, more)
      if (left === undefined || rows === undefined) throw new Error('the graph has too few outputs')
      return { embeddings, left, rows }
    },
    release: graph.release,
  }
}

const termsInput = 'terms'
/** ONNX's name of 32-bit floats. */
const float = 1
/** Every so many rows of a product are looked at. */
const stride = 16

/** @param matrices those that take part are added */
function trialProducts({ model, ...source }: ProductParts, matrices: TrialMatrix[]): Products {
  const products = new IntegerProducts(model, integersOf(model, source))
  const [left, rows]: [string[], string[]] = [[], []]
  const numbers = (values: readonly number[], shape: readonly number[]) =>
    model.constant(`${shape.length === 0 ? 'number' : 'numbers'} ${values}`, 'i64', shape, () => [
      BigInt64Array.from(values, BigInt),
    ])
  const factor = (index: number) => {
    if (index === 0) model.input(termsInput, 'f32', ['all terms'])
    return model.node('Gather', [termsInput, numbers([index], [])])
  }
  const sizeOf = (product: string) => {
    const places = [0, 1 << 30, 0, stride].map((value) => numbers([value], [1]))
    const sum = model.node('ReduceSumSquare', [model.node('Slice', [product, ...places])], { keepdims: 0 })
    return model.node('Reshape', [sum, numbers([1], [1])])
  }
  return {
    emit(x, matrix, bias) {
      if (!hasForm(matrix.name)) return undefined
      const index = matrices.push({ ...matrix, x }) - 1
      const others = [
        products.second(x, matrix, factor(3 * index)),
        products.third(x, matrix, factor(3 * index + 1)),
        products.fourth(x, matrix, factor(3 * index + 2)),
      ]
      left.push(...others.map(sizeOf))
      rows.push(model.node('Cast', [model.node('Shape', [x], { start: 0, end: 1 })], { to: float }))
      return products.sum([products.first(x, matrix, bias), ...others])
    },
    finish: () => [left, rows].map((numbers) => model.node('Concat', numbers, { axis: 0 })),
  }
}
