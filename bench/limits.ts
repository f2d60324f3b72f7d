import { Worker } from 'node:worker_threads'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { OnnxModel } from '../src/encoders/graph/onnx-file.ts'
import { median } from './figures.ts'
import { quiet } from './machine.ts'
import type { Server } from './servers.ts'

/** What this machine can do at most. A row that misses its bar is read beside it. */
export interface Limits {
  /** The fastest product of large matrices, in 10^9 operations per second. */
  fp32: number
  int8: number
  /** Reading of memory by all cores, in 10^9 bytes per second. */
  reading: number
}

/** Measures for some seconds. */
export async function measureLimits(threads: number): Promise<Limits> {
  await quiet()
  return { fp32: await product('fp32', threads), int8: await product('int8', threads), reading: await reading(threads) }
}

/** @returns the time of a request that asks for nothing, in ms: what HTTP and the client cost */
export async function emptyRequest({ url }: Server): Promise<number> {
  const times: number[] = []
  for (let asked = 0; asked < 50; asked++) {
    const start = performance.now()
    await (await fetch(`${url}/health`)).text()
    times.push(performance.now() - start)
  }
  return median(times)
}

/** The edge of the matrices: more work for each byte than any layer of an encoder has. */
const edge = 2048
const rounds = 8

async function product(type: 'fp32' | 'int8', threads: number): Promise<number> {
  const model = new OnnxModel()
  const shape = [edge, edge]
  const whole =
    type === 'fp32'
      ? model.node('MatMul', [model.input('a', 'f32', shape), model.input('b', 'f32', shape)])
      : model.node(
          'Cast',
          [model.node('MatMulInteger', [model.input('a', 'u8', shape), model.input('b', 'i8', shape)])],
          {
            to: float,
          },
        )
  // One number of the result, since fetching all of it would be measured too.
  model.output(model.node('ReduceMax', [whole], { keepdims: 0 }), 'f32', [])
  const session = await InferenceSession.create(model.encode(noConstants), {
    intraOpNumThreads: threads,
    logSeverityLevel: 3,
  })
  const feeds =
    type === 'fp32'
      ? { a: matrix('float32', new Float32Array(edge * edge)), b: matrix('float32', new Float32Array(edge * edge)) }
      : { a: matrix('uint8', new Uint8Array(edge * edge)), b: matrix('int8', new Int8Array(edge * edge)) }
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round++) {
    const start = performance.now()
    await session.run(feeds)
    least = Math.min(least, performance.now() - start)
  }
  await session.release()
  return (2 * edge ** 3) / least / 1e6
}

const noConstants = (): never => {
  throw new Error('The model has no constants.')
}

/** `TensorProto.DataType`, as `Cast` takes it. */
const float = 1

const matrix = (type: 'float32' | 'uint8' | 'int8', values: Float32Array | Uint8Array | Int8Array): Tensor =>
  new Tensor(type, values.fill(1), [edge, edge])

/** Compares buffers that no cache holds, on all cores at once. */
async function reading(threads: number): Promise<number> {
  const bytes = 2 ** 27
  const code = `
    const { parentPort } = require('node:worker_threads')
    const [a, b] = [Buffer.alloc(${bytes}, 1), Buffer.alloc(${bytes}, 1)]
    parentPort.on('message', () => {
      a.equals(b)
      parentPort.postMessage(0)
    })
    parentPort.postMessage(0)`
  const workers = Array.from({ length: threads }, () => new Worker(code, { eval: true }))
  const answered = () => Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
  await answered()
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round++) {
    const start = performance.now()
    const all = answered()
    for (const worker of workers) worker.postMessage(0)
    await all
    least = Math.min(least, performance.now() - start)
  }
  await Promise.all(workers.map((worker) => worker.terminate()))
  return (2 * bytes * threads) / least / 1e6
}
