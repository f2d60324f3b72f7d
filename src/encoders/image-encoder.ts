import path from 'node:path'
import { OrielError, unsupportedModel } from '../errors.ts'
import { headerOf, metadataOf } from '../gguf/index.ts'
import { type Backend, type Device, type Ggml, openNative } from '../native/index.ts'
import { imageFamilies } from './families/index.ts'
import { ggmlGraphs } from './graph/ggml.ts'
import { buildOnnxGraph, type Precision } from './graph/onnx.ts'
import { openTensors, type TensorFile } from './graph/tensor-file.ts'
import { type CacheSettings, WeightCache } from './graph/weight-cache.ts'
import { loadWeights } from './graph/weights.ts'
import type { ImageArchitecture, Tile } from './image-architecture.ts'
import type { Raster } from './preprocess/resize.ts'

export interface EncoderSettings {
  /** ONNX Runtime is 2 to 5 times as fast on a CPU. If it is not installed, ggml is used. */
  runtime: 'onnx' | 'ggml'
  /** `fp32` is exact; `int8` is faster and needs ONNX Runtime. */
  precision: Precision
  /** Where ONNX Runtime's weights are kept for the next load. By default they are not. */
  cache?: CacheSettings
  /** The maximum number of cores to use. */
  threads: number
  /** A GPU always encodes with ggml. By default the CPU encodes. */
  device?: Device
  /** Called with the share of the weights that is made, 0 to 1, if the cache does not have them. */
  onProgress?: (share: number) => void
}

interface ImageEncoder {
  readonly architecture: ImageArchitecture
  /** The runtime in use, which may differ from the one in the settings. */
  readonly runtime: EncoderSettings['runtime']
  /**
   * Encodes one tile. It blocks its thread, so run it on a separate thread.
   * @param scaled the result of the architecture's `scale`
   * @param threads cores that ggml may use; the threads of ONNX Runtime sleep while they wait and need no such limit
   * @returns `[tile.tokens, architecture.width]`
   */
  encode(scaled: readonly Raster[], tile: Tile, threads: number): Promise<Float32Array>
}

/**
 * Reads the header of a vision file. It needs no native code.
 * @throws OrielError `invalid` if the file is not a vision file or its family is not supported
 */
export async function openImageArchitecture(file: string): Promise<ImageArchitecture> {
  const metadata = metadataOf(await headerOf(file), path.basename(file))
  const name = metadata.string('clip.projector_type', metadata.string('clip.vision.projector_type', 'unnamed'))
  const family = imageFamilies.find(({ types }) => types.includes(name))
  if (family === undefined) {
    const supported = imageFamilies.flatMap(({ types }) => types).join(', ')
    throw unsupportedModel(`Vision files of type ${name} are not supported. Supported types: ${supported}.`)
  }
  const width = family.width(metadata)
  return { name, width, ...family.open(metadata, width) }
}

/**
 * Loads an encoder. If a GPU has not enough memory for the weights, the CPU encodes.
 * @throws OrielError as `openImageArchitecture` does, and `internal` if there is not enough memory for the weights
 */
export async function openImageEncoder(file: string, settings: EncoderSettings): Promise<ImageEncoder> {
  const { device = 'cpu' } = settings
  const architecture = await openImageArchitecture(file)
  const { ggml } = openNative(device)
  const gpu = device === 'cpu' ? null : ggml.initGpu()
  return openOn(gpu, file, architecture, settings).catch((error: unknown) => {
    if (gpu === null || !(error instanceof OrielError) || error.code !== 'out_of_memory') throw error
    return openOn(null, file, architecture, settings)
  })
}

async function openOn(
  gpu: Backend | null,
  file: string,
  architecture: ImageArchitecture,
  settings: EncoderSettings,
): Promise<ImageEncoder> {
  const { ggml } = openNative()
  const tensors = openTensors(ggml, file)
  try {
    const finish = architecture.finisher?.(tensors) ?? ((embeddings) => embeddings)
    const { runtime, ...graph } = await openGraph(ggml, gpu, tensors, file, architecture, settings)
    return {
      architecture,
      runtime,
      encode: async (scaled, tile, threads) =>
        finish(await graph.run(architecture.prepare(scaled, tile), tile, threads), tile),
    }
  } finally {
    tensors.close()
  }
}

async function openGraph(
  ggml: Ggml,
  gpu: Backend | null,
  tensors: TensorFile,
  file: string,
  architecture: ImageArchitecture,
  { runtime, cache, ...settings }: EncoderSettings,
) {
  if (runtime === 'onnx' && gpu === null) {
    const onnx = await buildOnnxGraph(tensors, architecture, cache ? WeightCache.of(file, cache) : null, settings)
    if (onnx !== null) {
      ggml.free(tensors.context)
      return { runtime, ...onnx }
    }
  }
  const cpu = ggml.initCpu()
  if (cpu === null) throw new OrielError('internal', 'No CPU back end of ggml could be loaded.')
  const weights = loadWeights(ggml, tensors, gpu === null ? [cpu] : [gpu, cpu])
  return { runtime: 'ggml' as const, ...ggmlGraphs(ggml, weights, architecture) }
}
