import { OnnxModel } from '../graph/onnx-file.ts'
import { openOnnxRuntime } from '../graph/onnx-runtime.ts'
import { type Form, forms, IntegerProducts, type IntegerSource, type Matrix } from '../graph/products.ts'
import { openSession } from '../graph/session.ts'

/** The shape of a product. */
export interface ProductShape {
  /** Of activations. */
  rows: number
  inputs: number
  outputs: number
  /** How many products have the same activations, which are rounded once: queries, keys and values do. */
  sharing: number
}

/** The first run allocates memory. */
const runs = { first: 1, measured: 5 }

/** How long a product takes on this machine in each form, in ms. Equal shapes are measured once. */
export function productCosts(threads: number): (shape: ProductShape) => Promise<Readonly<Record<Form, number>>> {
  const known = new Map<string, Promise<Readonly<Record<Form, number>>>>()
  return (shape) => {
    const key = Object.values(shape).join(' ')
    const costs = known.get(key) ?? measure(shape, threads)
    known.set(key, costs)
    return costs
  }
}

async function measure(shape: ProductShape, threads: number): Promise<Readonly<Record<Form, number>>> {
  const costs = { int8: 0, int8x2: 0, int8x3: 0, fp32: 0 }
  for (const form of forms) costs[form] = await msOf(form, shape, threads)
  return costs
}

async function msOf(form: Form, { rows, inputs, outputs, sharing }: ProductShape, threads: number): Promise<number> {
  const runtime = await openOnnxRuntime()
  if (runtime === null) return 0
  const model = new OnnxModel()
  const x = model.input('x', 'f32', [rows, inputs])
  const integers = new IntegerProducts(model, pattern(model))
  for (let index = 0; index < sharing; index++) {
    const matrix = { name: `weight ${index}`, rows: outputs, columns: inputs }
    const product = form === 'fp32' ? inFloats(model, x, matrix) : integers.emit(x, matrix, form)
    model.output(product, 'f32', [rows, outputs])
  }
  const session = await openSession(runtime, model, null, { threads, isBrief: true })
  const values = Float32Array.from({ length: rows * inputs }, (_, at) => Math.sin(at))
  const feeds = { x: new runtime.Tensor('float32', values, [rows, inputs]) }
  const times: number[] = []
  for (let done = 0; done < runs.first + runs.measured; done++) {
    const start = performance.now()
    await session.run(feeds)
    if (done >= runs.first) times.push(performance.now() - start)
  }
  await session.release()
  // The fastest run is the one that other programs disturbed least.
  return Math.min(...times) / sharing
}

function inFloats(model: OnnxModel, x: string, { name, rows, columns }: Matrix): string {
  const weight = model.constant(name, 'f32', [rows, columns], () => [new Float32Array(rows * columns).fill(0.01)])
  return model.node('Gemm', [x, weight], { transB: 1 })
}

/** Any integers: they take equally long. */
function pattern(model: OnnxModel): IntegerSource {
  const integers =
    (what: string) =>
    ({ name, rows, columns }: Matrix) => ({
      values: model.constant(`${name} ${what}`, 'i8', [columns, rows], () => [new Int8Array(rows * columns).fill(3)]),
      scales: model.constant(`${name} ${what} scales`, 'f32', [rows], () => [new Float32Array(rows).fill(1)]),
    })
  return { rounded: integers('rounded'), rest: integers('rest') }
}
