import { closeSync, openSync, readSync } from 'node:fs'
import { badModel, outOfMemory } from '../../errors.ts'
import type { Backend, Context, Ggml, Gguf, Tensor } from '../../native/index.ts'
import type { FloatSource } from '../image-architecture.ts'

/** The tensors of a vision file (mmproj) in the memory of a back end. */
export interface Weights extends FloatSource {
  /** Frees the memory of the weights and of the back ends. */
  free(): void
  /** The back ends that compute with the weights: first the one that holds them, last the CPU's. */
  readonly backends: readonly Backend[]
  has(name: string): boolean
  /** A tensor as a matrix `[rows, columns]`, whatever shape the file gives it. @throws OrielError `invalid` if there is none */
  tensor(name: string): { tensor: Tensor; rows: number; columns: number }
}

/** Bytes read from the file at a time. */
const chunk = 16 << 20

/**
 * @param backends freed with the weights, and if the weights cannot be loaded
 * @throws OrielError `invalid` if ggml cannot read the file, `internal` if there is not enough memory for the weights
 */
export function loadWeights(ggml: Ggml, file: string, backends: readonly Backend[]): Weights {
  const opened = ggml.openGguf(file)
  if (opened === null) {
    for (const one of backends) ggml.freeBackend(one)
    throw badModel('The vision file is not a valid GGUF file.')
  }
  const { gguf, context } = opened
  const [backend] = backends
  const buffer = backend === undefined ? null : ggml.allocContextTensors(context, backend)
  const free = () => {
    if (buffer !== null) ggml.freeBuffer(buffer)
    ggml.free(context)
    for (const one of backends) ggml.freeBackend(one)
  }
  let names: ReadonlySet<string>
  try {
    if (buffer === null) throw outOfMemory('There is not enough memory for the weights of the vision encoder.')
    names = copyTensors(ggml, file, gguf, context)
  } catch (error) {
    free()
    throw error
  } finally {
    ggml.freeGguf(gguf)
  }

  const find = (name: string): Tensor => {
    const tensor = names.has(name) ? ggml.findTensor(context, name) : null
    if (tensor === null) throw badModel(`The vision file has no tensor ${name}.`)
    return tensor
  }
  return {
    backends,
    free,
    has: (name) => names.has(name),
    tensor: (name) => {
      const tensor = find(name)
      const rows = Number(ggml.outerCount(tensor))
      return { tensor, rows, columns: Number(ggml.elementCount(tensor)) / rows }
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
        if (read === 0) throw badModel(`The vision file is truncated: the tensor ${name} is incomplete.`)
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
