import { badModel, OrielError } from '../errors.ts'
import { type Backend, type Device, type Ggml, openNative } from '../native/index.ts'
import { type Choice, recallChoice } from './calibration/kept.ts'
import { readAdditions } from './graph/additions.ts'
import { ggmlGraphs } from './graph/ggml.ts'
import { openOnnxGraph } from './graph/onnx.ts'
import { hasForm, productsIn } from './graph/products.ts'
import type { Half } from './graph/source.ts'
import { type Additions, openTensors, type TensorFile } from './graph/tensor-file.ts'
import { type CacheSettings, WeightCache } from './graph/weight-cache.ts'
import { loadWeights } from './graph/weights.ts'
import type { FloatSource } from './image-architecture.ts'
import { formsFor, isChosen, type Precision } from './precision.ts'

export interface EncoderSettings {
  /** ONNX Runtime is 2 to 5 times as fast on a CPU. If it is not installed, ggml is used. */
  runtime: 'onnx' | 'ggml'
  precision: Precision
  /** For the precision `auto`, instead of what the cache remembers. */
  choice?: Choice
  /** Path of a GGUF file of matrices (`TENSOR.lora_a`, `.lora_b`) whose products are added to those of the encoder. */
  adapter?: string | undefined
  /** Where ONNX Runtime's weights are kept for the next load. By default they are not. */
  cache?: CacheSettings
  /** The maximum number of cores to use. */
  threads: number
  /** A GPU always encodes with ggml. By default the CPU encodes. */
  device?: Device
  /** Called with the share of the weights that is made, 0 to 1, if the cache does not have them. */
  onProgress?: (share: number) => void
}

/** What encoders of images and of sounds have in common. */
export interface Encoder {
  /** The runtime in use, which may differ from the one in the settings. */
  readonly runtime: EncoderSettings['runtime']
  /** Whether the forms of its matrices are yet to be chosen, by `calibrateEncoder`. */
  readonly isUncalibrated: boolean
  /** Gives its memory back. It must not encode any more. */
  close(): Promise<void>
}

interface HalfEncoder<Part> extends Encoder {
  /**
   * Blocks its thread.
   * @param values of a part, as the graph takes them
   * @param threads cores that ggml may use; the threads of ONNX Runtime sleep while they wait and need no such limit
   */
  run(values: Float32Array, part: Part, threads: number): Promise<Float32Array>
}

/**
 * Loads the encoder of one half of a file. If a GPU has not enough memory for the weights, the CPU encodes.
 * @param finisherOf makes what needs some of the weights outside of the graph
 * @throws OrielError `invalid` for an incomplete file, and `internal` if there is not enough memory for the weights
 */
export async function openEncoder<Part, Finisher>(
  file: string,
  half: Half<Part>,
  settings: EncoderSettings,
  finisherOf: (weights: FloatSource) => Finisher,
): Promise<HalfEncoder<Part> & { finisher: Finisher }> {
  const { device = 'cpu', adapter } = settings
  const { ggml } = openNative(device)
  const gpu = device === 'cpu' ? null : ggml.initGpu()
  const additions = adapter === undefined ? undefined : await readAdditions(ggml, adapter, half.modality)
  const openOn = async (backend: Backend | null) => {
    const tensors = openTensors(ggml, file, half.modality, additions)
    try {
      checkAdditions(tensors, additions)
      return { finisher: finisherOf(tensors), ...(await openGraph(ggml, backend, tensors, file, half, settings)) }
    } finally {
      tensors.close()
    }
  }
  return openOn(gpu).catch((error: unknown) => {
    if (gpu === null || !(error instanceof OrielError) || error.code !== 'out_of_memory') throw error
    return openOn(null)
  })
}

async function openGraph<Part>(
  ggml: Ggml,
  gpu: Backend | null,
  tensors: TensorFile,
  file: string,
  half: Half<Part>,
  { runtime, cache: kept, precision, choice: given, adapter, ...settings }: EncoderSettings,
): Promise<HalfEncoder<Part>> {
  if (runtime === 'onnx' && gpu === null) {
    const weights = inLayers(tensors)
    const wanted = isChosen(precision, weights)
    // The weights of a small encoder are made in no time, and somebody who tries the built-in model finds no new files.
    const keeps = kept && (wanted || precision !== 'auto') ? kept : null
    const cache = keeps && WeightCache.of(file, keeps, adapter)
    // An adapter changes numbers a little, and what forms do to them hardly: it has those that were chosen for its base.
    const chosen = keeps && wanted ? WeightCache.of(file, keeps) : null
    const choice = given ?? (chosen === null ? undefined : recallChoice(chosen, half.modality, settings.threads))
    const products = productsIn(formsFor(precision, weights, choice))
    const packs = choice?.packs ?? precision === 'int8'
    const onnx = await openOnnxGraph(tensors, half, cache, products, { ...settings, packs })
    if (onnx !== null) {
      ggml.free(tensors.context)
      return {
        runtime,
        isUncalibrated: wanted && choice === undefined,
        async run(values, part) {
          const [embeddings] = await onnx.run(values, part)
          return embeddings
        },
        close: onnx.release,
      }
    }
  }
  const cpu = ggml.initCpu()
  if (cpu === null) throw new OrielError('internal', 'No CPU back end of ggml could be loaded.')
  const weights = loadWeights(ggml, tensors, gpu === null ? [cpu] : [gpu, cpu])
  const graphs = ggmlGraphs(ggml, weights, half)
  const close = async () => {
    graphs.free()
    weights.free()
  }
  return { runtime: 'ggml', isUncalibrated: false, run: graphs.run, close }
}

/** @throws OrielError `invalid` if an adapter is for another encoder */
function checkAdditions({ names, shape }: TensorFile, additions: Additions | undefined): void {
  for (const name of additions?.names ?? []) {
    const wanted = additions?.shape(name)
    const found = names.has(name) ? shape(name) : undefined
    if (found === undefined || found.rows !== wanted?.rows || found.columns !== wanted.columns)
      throw badModel(
        `The adapter does not fit the vision file: it changes ${name}, which is another or is missing there.`,
      )
  }
}

/** Weights of the matrices of the layers. */
const inLayers = ({ names, shape }: TensorFile): number =>
  [...names]
    .filter(hasForm)
    .map(shape)
    .filter(({ rows }) => rows > 1)
    .reduce((sum, { rows, columns }) => sum + rows * columns, 0)
