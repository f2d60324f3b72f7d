import { contrib, OnnxModel } from './onnx-file.ts'
import { type OnnxRuntime, openSession } from './session.ts'

/** The largest integer that a weight may be: of the whole type, and where products of the whole type overflow. */
const ranges = { whole: 127, half: 63 } as const

let known: Promise<number> | undefined

/**
 * The largest integer that a weight may be on this machine. Without instructions for dot products of bytes (VNNI), x86
 * processors add two products in 16 bits, which overflow if both weights are large. A product of the largest integers shows it.
 */
export function largestWeight(runtime: OnnxRuntime): Promise<number> {
  known ??= overflows(runtime).then((does) => (does ? ranges.half : ranges.whole))
  return known
}

const edge = 64

async function overflows(runtime: OnnxRuntime): Promise<boolean> {
  const model = new OnnxModel()
  const x = model.input('x', 'f32', [edge, edge])
  const [values, scale, zero] = model.nodes('DynamicQuantizeLinear', [x], ['values', 'scale', 'zero'])
  const weight = model.constant('weight', 'i8', [edge, edge], () => [new Int8Array(edge * edge).fill(ranges.whole)])
  const scales = model.constant('scales', 'f32', [edge], () => [new Float32Array(edge).fill(1)])
  const product = model.node('MatMulIntegerToFloat', [values, weight, scale, scales, zero], {}, contrib)
  model.output(product, 'f32', [edge, edge])
  const session = await openSession(runtime, model, null, { threads: 1 })
  const results = await session.run({
    x: new runtime.Tensor('float32', new Float32Array(edge * edge).fill(1), [edge, edge]),
  })
  await session.release()
  const [sum] = results[product]?.data ?? []
  return Math.abs(Number(sum) / (edge * ranges.whole) - 1) > 0.01
}
