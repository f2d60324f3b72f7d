import path from 'node:path'
import { OrielError, unsupportedModel } from '../errors.ts'
import { headerOf, metadataOf } from '../gguf/index.ts'
import { type Backend, type Device, type Ggml, openNative } from '../native/index.ts'
import { type Choice, recallChoice } from './calibration/kept.ts'
import { imageFamilies } from './families/index.ts'
import { ggmlGraphs } from './graph/ggml.ts'
import { openOnnxGraph } from './graph/onnx.ts'
import { hasForm, productsIn } from './graph/products.ts'
import { openTensors, type TensorFile } from './graph/tensor-file.ts'
import { type CacheSettings, WeightCache } from './graph/weight-cache.ts'
import { loadWeights } from './graph/weights.ts'
import type { ImageArchitecture, Tile } from './image-architecture.ts'
import { formsFor, isChosen, type Precision } from './precision.ts'
import type { Raster } from './preprocess/resize.ts'

export interface EncoderSettings {
  /** ONNX Runtime is 2 to 5 times as fast on a CPU. If it is not installed, ggml is used. */
  runtime: 'onnx' | 'ggml'
  precision: Precision
  /** For the precision `auto`, instead of what the cache remembers. */
  choice?: Choice
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
  /** Whether the forms of its matrices are yet to be chosen, by `calibrateEncoder`. */
  readonly isUncalibrated: boolean
  /**
   * Encodes one tile. It blocks its thread, so run it on a separate thread.
   * @param scaled the result of the architecture's `scale`
   * @param threads cores that ggml may use; the threads of ONNX Runtime sleep while they wait and need no such limit
   * @returns `[tile.tokens, architecture.width]`
   */
  encode(scaled: readonly Raster[], tile: Tile, threads: number): Promise<Float32Array>
  /** Gives its memory back. It must not encode any more. */
  close(): Promise<void>
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
    const { run, ...facts } = await openGraph(ggml, gpu, tensors, file, architecture, settings)
    return {
      architecture,
      ...facts,
      async encode(scaled, tile, threads) {
        const encoded: Float32Array[] = []
        for (const part of tile.parts ?? [tile])
          encoded.push(await run(architecture.prepare(scaled, part), part, threads))
        return finish(joinFloats(encoded), tile)
      },
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
  { runtime, cache: kept, precision, choice: given, ...settings }: EncoderSettings,
) {
  if (runtime === 'onnx' && gpu === null) {
    const weights = inLayers(tensors)
    const wanted = isChosen(precision, weights)
    // The weights of a small encoder are made in no time, and somebody who tries the built-in model finds no new files.
    const cache = kept && (wanted || precision !== 'auto') ? WeightCache.of(file, kept) : null
    const choice = given ?? (wanted && cache !== null ? recallChoice(cache, settings.threads) : undefined)
    const products = productsIn(formsFor(precision, weights, choice))
    const packs = choice?.packs ?? precision === 'int8'
    const onnx = await openOnnxGraph(tensors, architecture, cache, products, { ...settings, packs })
    if (onnx !== null) {
      ggml.free(tensors.context)
      return {
        runtime,
        isUncalibrated: wanted && choice === undefined,
        async run(values: Float32Array, tile: Tile) {
          const [embeddings] = await onnx.run(values, tile)
          return embeddings
        },
        close: onnx.release,
      }
    }
  }
  const cpu = ggml.initCpu()
  if (cpu === null) throw new OrielError('internal', 'No CPU back end of ggml could be loaded.')
  const weights = loadWeights(ggml, tensors, gpu === null ? [cpu] : [gpu, cpu])
  const graphs = ggmlGraphs(ggml, weights, architecture)
  const close = async () => {
    graphs.free()
    weights.free()
  }
  return { runtime: 'ggml' as const, isUncalibrated: false, run: graphs.run, close }
}

function joinFloats(pieces: readonly Float32Array[]): Float32Array {
  const [only] = pieces
  if (only !== undefined && pieces.length === 1) return only
  const out = new Float32Array(pieces.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}

/** Weights of the matrices of the layers. */
const inLayers = ({ names, shape }: TensorFile): number =>
  [...names]
    .filter(hasForm)
    .map(shape)
    .filter(({ rows }) => rows > 1)
    .reduce((sum, { rows, columns }) => sum + rows * columns, 0)
