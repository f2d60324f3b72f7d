import { outOfMemory } from '../../errors.ts'
import type { Backend, Ggml, Tensor } from '../../native/index.ts'
import type { FloatSource } from '../image-architecture.ts'
import type { TensorFile } from './tensor-file.ts'

/** The tensors of a vision file in the memory of a back end of ggml. */
export interface Weights extends FloatSource {
  /** Frees the memory of the weights, of their descriptions and of the back ends. */
  free(): void
  /** The back ends that compute with the weights: first the one that holds them, last the CPU's. */
  readonly backends: readonly Backend[]
  has(name: string): boolean
  /** A tensor as a matrix `[rows, columns]`. @throws OrielError `invalid` if there is none */
  tensor(name: string): { tensor: Tensor; rows: number; columns: number }
}

/**
 * @param file its descriptions are the weights' from now on
 * @param backends freed with the weights, and if they cannot be loaded
 * @throws OrielError `invalid` for an incomplete file, `internal` if there is not enough memory for the weights
 */
export function loadWeights(ggml: Ggml, file: TensorFile, backends: readonly Backend[]): Weights {
  const { context, names } = file
  const [backend] = backends
  const buffer = backend === undefined ? null : ggml.allocContextTensors(context, backend)
  const free = () => {
    if (buffer !== null) ggml.freeBuffer(buffer)
    ggml.free(context)
    for (const one of backends) ggml.freeBackend(one)
  }
  try {
    if (buffer === null) throw outOfMemory('There is not enough memory for the weights of the encoder.')
    for (const name of names)
      for (const { bytes, at } of file.pieces(name)) ggml.setTensor(file.tensor(name), bytes, at, bytes.length)
  } catch (error) {
    free()
    throw error
  }
  return {
    backends,
    free,
    has: (name) => names.has(name),
    tensor: (name) => ({ tensor: file.tensor(name), ...file.shape(name) }),
    floats: (name) => ggml.toFloats(file.tensor(name)),
  }
}
