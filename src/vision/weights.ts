import { closeSync, openSync, readSync } from 'node:fs'
import { OrielError } from '../errors.ts'
import type { Backend, Context, Ggml, Gguf, Tensor } from '../native/index.ts'
import type { FloatSource } from './architecture.ts'
import { matrixShape } from './metadata.ts'

/** The tensors of a vision file (mmproj) in the memory of a back end. */
export interface Weights extends FloatSource {
  /** Gives the memory of weights and back ends back. */
  free(): void
  /** What computes with them: the one that holds them first, the CPU's last. */
  readonly backends: readonly Backend[]
  has(name: string): boolean
  /** As a matrix `[rows, columns]`, whatever shape the file gives it. @throws OrielError `invalid` if there is none */
  tensor(name: string): { tensor: Tensor; rows: number; columns: number }
}

/** Bytes read from the file at a time. */
const chunk = 16 << 20

/**
 * @param context of the file, and `backends`: freed with the weights, and where these cannot be loaded
 * @throws OrielError `invalid` for a truncated file, `internal` when there is no memory for the weights
 */
export function loadWeights(
  ggml: Ggml,
  file: string,
  gguf: Gguf,
  context: Context,
  backends: readonly Backend[],
): Weights {
  const [backend] = backends
  const buffer = backend === undefined ? null : ggml.allocContextTensors(context, backend)
  const free = () => {
    if (buffer !== null) ggml.freeBuffer(buffer)
    ggml.free(context)
    for (const one of backends) ggml.freeBackend(one)
  }
  if (buffer === null) {
    free()
    throw new OrielError('internal', 'There is not enough memory for the weights of the vision encoder.', {
      code: 'out_of_memory',
    })
  }
  let names: ReadonlySet<string>
  try {
    names = copyTensors(ggml, file, gguf, context)
  } catch (error) {
    free()
    throw error
  }

  const find = (name: string): Tensor => {
    const tensor = names.has(name) ? ggml.findTensor(context, name) : null
    if (tensor === null)
      throw new OrielError('invalid', `The vision file lacks the tensor ${name}.`, { code: 'bad_model' })
    return tensor
  }
  return {
    backends,
    free,
    has: (name) => names.has(name),
    tensor: (name) => {
      const tensor = find(name)
      return { tensor, ...matrixShape(ggml, tensor) }
    },
    floats: (name) => ggml.toFloats(find(name)),
  }
}

function copyTensors(ggml: Ggml, file: string, gguf: Gguf, context: Context): ReadonlySet<string> {
  const names = new Set<string>()
  const descriptor = openSync(file, 'r')
  try {
    const start = Number(ggml.dataOffset(gguf))
    const buffer = Buffer.alloc(chunk)
    for (let index = 0; index < Number(ggml.tensorCount(gguf)); index++) {
      const name = ggml.tensorName(gguf, index)
      const tensor = ggml.findTensor(context, name)
      if (tensor === null) continue
      const bytes = Number(ggml.tensorSize(gguf, index))
      const from = start + Number(ggml.tensorOffset(gguf, index))
      for (let at = 0; at < bytes; ) {
        const read = readSync(descriptor, buffer, 0, Math.min(chunk, bytes - at), from + at)
        if (read === 0)
          throw new OrielError('invalid', `The vision file is truncated: ${name} is not all there.`, {
            code: 'bad_model',
          })
        ggml.setTensor(tensor, buffer, at, read)
        at += read
      }
      names.add(name)
    }
    return names
  } finally {
    closeSync(descriptor)
  }
}
