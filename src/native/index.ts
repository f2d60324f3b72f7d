import { checkAbi } from './abi.ts'
import { bindGgml } from './ggml.ts'
import { bindGgufFiles } from './gguf-files.ts'
import { type Device, loadLibraries } from './libraries.ts'
import { bindLlama } from './llama.ts'
import { bindThreadPools } from './thread-pool.ts'

export { openAffinity } from './affinity.ts'
export { Batch, type Position } from './batch.ts'
export { Candidates } from './candidates.ts'
export {
  type Backend,
  type Context,
  type Ggml,
  type Gpu,
  type Graph,
  type GraphScheduler,
  type Tensor,
  TensorType,
} from './ggml.ts'
export { countOutlived, giveBackMemory } from './heap.ts'
export { type Device, findFolder, type GpuDevice, gpusOf, installCommand, isInstalled, thisHost } from './libraries.ts'
export { dieWithParent } from './lifeline.ts'
export type { Llama, LlamaContext, Model, NativeAdapter, Sampler, Vocab } from './llama.ts'
export { confinement } from './thread-pool.ts'

/**
 * Loads the libraries into this process once, and checks that they are the release that the structs are written for.
 * llama.cpp writes its log to stderr, where the parent of the engine process reads it.
 * @param device decided by the first call in a process, by default the CPU; one process cannot load two builds
 * @throws OrielError `internal` if this platform has no library or the library is another release
 */
export function openNative(device?: Device): Native {
  if (opened !== undefined && device !== undefined && opened.device !== device)
    throw new Error(`the libraries for ${opened.device} are loaded; those for ${device} cannot be loaded beside them`)
  opened ??= open(device ?? 'cpu')
  return opened
}

type Native = ReturnType<typeof open>
let opened: Native | undefined

function open(device: Device) {
  const libraries = loadLibraries(device)
  checkAbi(libraries)
  const [ggml, llama, newThreadPool] = [bindGgml(libraries), bindLlama(libraries), bindThreadPools(libraries)]
  return { device, ggml, ggufFiles: bindGgufFiles(libraries), llama, newThreadPool }
}
