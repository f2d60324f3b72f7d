import { checkAbi } from './abi.ts'
import { bindGgml, type Ggml } from './ggml.ts'
import { type Device, loadLibraries } from './libraries.ts'
import { bindLlama, type Llama } from './llama.ts'
import { bindThreadPools, type ThreadPools } from './thread-pool.ts'

export { openAffinity } from './affinity.ts'
export { Batch, type Position } from './batch.ts'
export { Candidates } from './candidates.ts'
export type { Backend, Context, Ggml, Gguf, Gpu, Graph, GraphScheduler, Tensor } from './ggml.ts'
export { TensorType } from './ggml.ts'
export { countOutlived, giveBackMemory } from './heap.ts'
export { type Device, findFolder, type GpuDevice, gpusOf, installCommand, isInstalled, thisHost } from './libraries.ts'
export { dieWithParent } from './lifeline.ts'
export type { Llama, LlamaContext, Sampler, Vocab } from './llama.ts'
export { confinement } from './thread-pool.ts'

export interface Native {
  ggml: Ggml
  llama: Llama
  threadPools: ThreadPools
}

let opened: (Native & { device: Device }) | undefined

/**
 * Loads the libraries into this process, once, and checks that they are the release that the structs were written after.
 * llama.cpp writes its log to stderr; the parent of the engine's process reads it from there.
 * @param device chosen by the first call in a process, the processor if that does not say; two builds do not go together
 * @throws OrielError `internal` when this platform has no library or the library is another release
 */
export function openNative(device?: Device): Native {
  if (opened !== undefined && device !== undefined && opened.device !== device)
    throw new Error(`the libraries for ${opened.device} are open, those for ${device} cannot be beside them`)
  if (opened === undefined) {
    const libraries = loadLibraries(device ?? 'cpu')
    checkAbi(libraries)
    opened = {
      device: device ?? 'cpu',
      ggml: bindGgml(libraries),
      llama: bindLlama(libraries),
      threadPools: bindThreadPools(libraries),
    }
  }
  return opened
}
