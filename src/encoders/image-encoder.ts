import path from 'node:path'
import { OrielError, unsupportedModel } from '../errors.ts'
import { headerOf, metadataOf } from '../gguf/index.ts'
import { type Backend, type Device, openNative } from '../native/index.ts'
import { imageFamilies } from './families/index.ts'
import { ggmlGraphs } from './graph/ggml.ts'
import { buildOnnxGraph, type Precision } from './graph/onnx.ts'
import { loadWeights } from './graph/weights.ts'
import type { ImageArchitecture, Tile } from './image-architecture.ts'
import type { Raster } from './preprocess/resize.ts'

export interface EncoderSettings {
  /** ONNX Runtime is 2 to 5 times as fast on a CPU. If it is not installed, ggml is used. */
  runtime: 'onnx' | 'ggml'
  /** `fp32` is exact; `int8` is faster and needs ONNX Runtime. */
  precision: Precision
  /** The maximum number of cores to use. */
  threads: number
  /** A GPU always encodes with ggml. By default the CPU encodes. */
  device?: Device
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
  const cpu = ggml.initCpu()
  if (cpu === null) throw new OrielError('internal', 'No CPU back end of ggml could be loaded.')
  const weights = loadWeights(ggml, file, gpu === null ? [cpu] : [gpu, cpu])
  const finish = architecture.finisher?.(weights) ?? ((embeddings) => embeddings)
  const onnx =
    settings.runtime === 'onnx' && gpu === null
      ? await buildOnnxGraph(weights, architecture, settings.precision, settings.threads)
      : null
  // The session has its own copy of the weights.
  if (onnx !== null) weights.free()
  const graph = onnx ?? ggmlGraphs(ggml, weights, architecture)
  return {
    architecture,
    runtime: onnx === null ? 'ggml' : 'onnx',
    encode: async (scaled, tile, threads) =>
      finish(await graph.run(architecture.prepare(scaled, tile), tile, threads), tile),
  }
}
