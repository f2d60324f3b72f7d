import { checkAbi } from './abi.ts'
import { bindGgml, type Ggml } from './ggml.ts'
import { type Device, loadLibraries } from './libraries.ts'
import { bindLlama, type Llama } from './llama.ts'
import { bindThreadPools, type ThreadPools } from './thread-pool.ts'

export { Batch, type Position } from './batch.ts'
export { Candidates } from './candidates.ts'
export type { Backend, Context, Ggml, Gguf, Gpu, Graph, GraphScheduler, Tensor } from './ggml.ts'
export { TensorType } from './ggml.ts'
export { giveBackMemory } from './heap.ts'
export { type Device, findFolder, type GpuDevice, gpusOf, installCommand, isInstalled, thisHost } from './libraries.ts'
export type { Llama, LlamaContext, Sampler, Vocab } from './llama.ts'

export interface Native {
  ggml: Ggml
  llama: Llama
  threadPools: ThreadPools
}

let opened: Native | undefined

/**
 * Loads the libraries into this process, once, and checks that they are the release that the structs were written after.
 * llama.cpp writes its log to stderr; the parent of the engine's process reads it from there.
 * @param device chosen by the first call in a process; two builds do not go together
 * @throws OrielError `internal` when this platform has no library or the library is another release
 */
export function openNative(device: Device = 'cpu'): Native {
  if (opened === undefined) {
    const libraries = loadLibraries(device)
    checkAbi(libraries)
    opened = {
      ggml: bindGgml(libraries),
      llama: bindLlama(libraries),
      threadPools: bindThreadPools(libraries),
    }
  }
  return opened
}
