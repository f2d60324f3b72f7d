import { type GpuDevice, openNative } from '../native/index.ts'

/** The child process of `devices.ts`: sends the GPUs that one build of the libraries can use. */
const [, , device] = process.argv
process.send?.(openNative(device as GpuDevice).ggml.gpus(), () => process.disconnect())
