import { badModel, OrielError, outOfMemory, unsupportedModel } from '../errors.ts'
import { availableMemory } from '../memory.ts'
import { type Device, type Model, openNative } from '../native/index.ts'
import { bytesText } from '../sizes.ts'
import { layersThatFit } from './offload.ts'

export interface LoadSettings {
  /** Omitted when the CPU computes everything. */
  gpu?: GpuSettings
  /** Called with the share of the weights that is loaded, 0 to 1. */
  onProgress?: (share: number) => void
}

/** The numbers that decide how many layers a GPU computes. */
export interface GpuSettings {
  device: Device
  layers: number
  /** Bytes of the model's weights and of its KV memory. */
  bytes: number
  /** Bytes that are kept free for the image encoder. */
  reserved: number
}

/**
 * Loads a model and makes its context. If the GPU runs out of memory, tries again with half of the layers, down to none.
 * @throws OrielError `invalid` for a file that llama.cpp cannot load, `internal` if it does not fit in memory
 */
export function loadWithin<Made>(
  file: string,
  settings: LoadSettings,
  contextOf: (model: Model, gpuLayers: number) => Made,
): Made & { model: Model; gpuLayers: number } {
  const { gpu } = settings
  const { ggml } = openNative()
  const free = gpu === undefined ? 0 : ggml.gpus().reduce((sum, { freeMemory }) => sum + freeMemory, 0)
  let gpuLayers = gpu === undefined ? 0 : layersThatFit(gpu.layers, gpu.bytes, free - gpu.reserved)
  for (;;)
    try {
      return { ...load(file, settings, gpuLayers, contextOf), gpuLayers }
    } catch (error) {
      if (gpuLayers === 0 || !(error instanceof OrielError) || error.code !== 'out_of_memory') throw error
      gpuLayers >>= 1
    }
}

function load<Made>(
  file: string,
  settings: LoadSettings,
  gpuLayers: number,
  contextOf: (model: Model, gpuLayers: number) => Made,
) {
  const { llama } = openNative()
  const model = llama.loadModel(file, gpuLayers, settings.onProgress ?? (() => {}))
  // llama.cpp gives no reason. A file that is not a model also fails without a GPU.
  if (model === null && gpuLayers > 0) throw outOfMemory('The GPU does not have enough memory for the weights.')
  if (model === null)
    throw badModel('The model file could not be loaded: it is damaged, or its architecture is not supported.')
  try {
    return { model, ...contextOf(model, gpuLayers) }
  } catch (error) {
    llama.freeModel(model)
    throw error
  }
}

/** The share of a model that is not on the GPU. */
export const cpuShare = (gpu: GpuSettings | undefined, gpuLayers: number): number =>
  gpu === undefined ? 1 : Math.max(0, 1 - gpuLayers / (gpu.layers + 1))

/**
 * @param what takes the second number of bytes
 * @param share of both that this machine's own memory holds
 * @throws OrielError `internal`
 */
export function checkMemory(weightsBytes: number, bytes: number, what: string, share: number): void {
  const free = availableMemory()
  if ((weightsBytes + bytes) * share > free)
    throw outOfMemory(
      `The model does not fit in memory: its weights take ${bytesText(weightsBytes)} and ${what} takes ${bytesText(bytes)}, but ${bytesText(free)} are free.`,
    )
}

/** @throws OrielError `invalid` */
export function checkVocabulary(model: Model): void {
  const { llama } = openNative()
  if (llama.vocabType(llama.vocab(model)) === noVocabulary)
    throw unsupportedModel('This model has no vocabulary, so it cannot read or write text.')
}

/** `LLAMA_VOCAB_TYPE_NONE` */
const noVocabulary = 0
