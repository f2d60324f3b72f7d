import { OnnxModel, wholeOf } from './graph/onnx-file.ts'
import { openOnnxRuntime } from './graph/onnx-runtime.ts'

/** The product of one layer of a usual vision encoder: 1024 patches, 768 numbers to 3072. */
const product = { rows: 1024, inner: 768, columns: 3072 }
/** The first runs allocate memory. */
const runs = { first: 2, measured: 5 }

/**
 * How many floating-point operations a second ONNX Runtime computes on this CPU in 32 bits. It takes a fraction of a second.
 * @returns null if ONNX Runtime cannot be loaded
 */
export async function measureOperations(threads: number): Promise<number | null> {
  const runtime = await openOnnxRuntime()
  if (runtime === null) return null
  const { rows, inner, columns } = product
  const model = new OnnxModel()
  const weight = model.constant('weight', 'f32', [columns, inner], () => [new Float32Array(columns * inner).fill(0.01)])
  const input = model.input('x', 'f32', [rows, inner])
  const output = model.node('Gemm', [input, weight], { transB: 1 })
  model.output(output, 'f32', [rows, columns])
  const session = await runtime.InferenceSession.create(
    model.encode(({ name }) => ({ file: name, at: 0 })),
    {
      executionProviders: ['cpu'],
      externalData: model.outside.map((constant) => ({ path: constant.name, data: wholeOf(constant) })),
      intraOpNumThreads: threads,
      logSeverityLevel: 3,
    },
  )
  const feeds = { x: new runtime.Tensor('float32', new Float32Array(rows * inner).fill(0.5), [rows, inner]) }
  const run = async (): Promise<number> => {
    const start = performance.now()
    await session.run(feeds)
    return (performance.now() - start) / 1000
  }
  for (let done = 0; done < runs.first; done++) await run()
  const times: number[] = []
  while (times.length < runs.measured) times.push(await run())
  await session.release()
  // The fastest run is the one that other programs disturbed least.
  return (2 * rows * inner * columns) / Math.min(...times)
}
