import type { TensorConstructor } from 'onnxruntime-node'
import type { Grid } from './builder.ts'
import { largestWeight } from './integer-range.ts'
import { OnnxEmitter, type Value } from './onnx-emitter.ts'
import { openOnnxRuntime } from './onnx-runtime.ts'
import type { ProductParts, Products } from './products.ts'
import { openSession, type SessionSettings } from './session.ts'
import type { GraphSource } from './source.ts'
import type { TensorFile } from './tensor-file.ts'
import type { WeightCache } from './weight-cache.ts'

/**
 * An architecture as an ONNX Runtime session for parts of all sizes, run one by one. Batches of tiles do not pay on a
 * CPU: on two cores the encoder of SmolVLM-256M (SigLIP-B, 1024 patches) takes 1106 ms for a tile alone, 1124 ms for each in
 * a batch of two and 1222 ms in a batch of four. Only Pocket's (36 patches) gains: 1.33 ms alone, 0.99 ms in a batch of four.
 * @param file read when the graph is built, and not after that
 * @param cache has the weights in the form of the graph; null: they are made anew, in memory
 * @param productsOf emits the products that are not computed in 32-bit floats
 * @returns null if ONNX Runtime is not installed
 */
export async function openOnnxGraph<Part>(
  file: TensorFile,
  source: GraphSource<Part>,
  cache: WeightCache | null,
  productsOf: (parts: ProductParts) => Products,
  settings: SessionSettings,
) {
  const runtime = await openOnnxRuntime()
  if (runtime === null) return null
  const emitter = new OnnxEmitter(file, productsOf, await largestWeight(runtime))
  const embeddings = source.build<Value>(emitter, source.example)
  emitter.model.output(embeddings.name, 'f32', ['tokens', embeddings.width])
  const others = emitter.products.finish()
  for (const name of others) emitter.model.output(name, 'f32', [`length of ${name}`])
  const session = await openSession(runtime, emitter.model, cache, settings)
  const { Tensor } = runtime
  // The session must not keep the emitter, which holds the weights.
  const { tables } = emitter
  /** The tables of a size, computed once for consecutive parts of the same size. */
  let known: { grid: Grid; feeds: Feeds } = { grid: { rows: 0, columns: 0 }, feeds: {} }
  const constantsOf = (grid: Grid): Feeds => {
    const { rows, columns, frames } = known.grid
    if (rows === grid.rows && columns === grid.columns && frames === grid.frames) return known.feeds
    const feeds: Feeds = {}
    for (const [name, { width, of }] of tables) {
      const data = of(grid)
      const shape = [data.length / width, width]
      feeds[name] =
        data instanceof Float32Array
          ? new Tensor('float32', data, shape)
          : new Tensor('int64', BigInt64Array.from(data, BigInt), shape)
    }
    known = { grid, feeds }
    return feeds
  }
  return {
    /**
     * Blocks its thread.
     * @param values the result of the architecture's `prepare`
     * @param vectors further inputs of the graph
     * @returns the graph's outputs: first its embeddings, row by row
     */
    async run(values: Float32Array, part: Part, vectors: Readonly<Record<string, Float32Array>> = {}) {
      const grid = source.grid(part)
      const tokens = grid.rows * grid.columns * (grid.frames ?? 1)
      const feeds: Feeds = {
        ...constantsOf(grid),
        patches: new Tensor('float32', values, [tokens, values.length / tokens]),
      }
      for (const [name, vector] of Object.entries(vectors)) feeds[name] = new Tensor('float32', vector, [vector.length])
      const results = await session.run(feeds)
      const floatsOf = (name: string): Float32Array => {
        const data = results[name]?.data
        if (!(data instanceof Float32Array)) throw new Error('ONNX Runtime gave no floats')
        return data
      }
      return [floatsOf(embeddings.name), ...others.map(floatsOf)] as const
    },
    release: () => session.release(),
  }
}

type Feeds = Record<string, InstanceType<TensorConstructor>>
