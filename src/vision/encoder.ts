import { OrielError } from '../errors.ts'
import { type Backend, type Device, openNative } from '../native/index.ts'
import type { Architecture, Tile } from './architecture.ts'
import { gemma3 } from './gemma3.ts'
import { GgmlGraphs } from './ggml-graph.ts'
import { idefics3 } from './idefics3.ts'
import { internvl } from './internvl.ts'
import { kimivl } from './kimivl.ts'
import { lfm2 } from './lfm2.ts'
import { llama4 } from './llama4.ts'
import { llava } from './llava.ts'
import { type Metadata, readMetadata } from './metadata.ts'
import { minicpmv } from './minicpmv.ts'
import { ldp, ldpv2 } from './mobilevlm.ts'
import { buildOnnxGraph, type Precision } from './onnx-graph.ts'
import { pixtral } from './pixtral.ts'
import { qwen2vl } from './qwen2vl.ts'
import { qwen3vl } from './qwen3vl.ts'
import { qwen25vl } from './qwen25vl.ts'
import type { Raster } from './resize.ts'
import { loadWeights } from './weights.ts'

/** Every family of vision encoders that is known, by `clip.projector_type`. */
const architectures: Record<string, (metadata: Metadata) => Architecture> = {
  gemma3,
  idefics3,
  internvl,
  kimivl,
  lfm2,
  ldp,
  ldpv2,
  llama4,
  mlp: llava,
  pixtral,
  'qwen2.5vl_merger': qwen25vl,
  qwen2vl_merger: qwen2vl,
  qwen3vl_merger: qwen3vl,
  resampler: minicpmv,
}

export const visionFamilies: readonly string[] = Object.keys(architectures)

/** How pictures are encoded. */
export interface EncoderSettings {
  /** ONNX Runtime is 2 to 5 times faster on a CPU; where it is not installed ggml takes its place. */
  runtime: 'onnx' | 'ggml'
  /** `fp32` is exact; `int8` is faster, and only ONNX Runtime has it. */
  precision: Precision
  /** Cores that may be used at most. */
  threads: number
  /** A GPU encodes by ggml, whatever the runtime. Nothing: the processor. */
  device?: Device
}

/** An architecture, realised for pictures of all sizes. Blocks its thread. */
interface PictureGraph {
  run(values: Float32Array, tile: Tile, threads: number): Promise<Float32Array>
}

/** A vision encoder, ready to turn pictures into embeddings. */
interface Encoder {
  readonly architecture: Architecture
  /** What computes in fact. */
  readonly runtime: EncoderSettings['runtime']
  /**
   * Encodes one tile. Blocks its thread: run it on one of its own.
   * @param scaled what the architecture's `scale` made of the picture
   * @param threads cores that ggml may use for it; ONNX Runtime's threads sleep while they wait and need no such bound
   * @returns `[tile.tokens, architecture.width]`
   */
  encode(scaled: readonly Raster[], tile: Tile, threads: number): Promise<Float32Array>
}

/**
 * Reads how pictures are laid out from a vision file's header, without its weights.
 * @throws OrielError `invalid` for a file that is no vision file, or of a family that is not known
 */
export function openArchitecture(file: string): Architecture {
  const { ggml } = openNative()
  const opened = openFile(file)
  try {
    return architectureOf(readMetadata(ggml, opened.gguf, opened.context))
  } finally {
    ggml.freeGguf(opened.gguf)
    ggml.free(opened.context)
  }
}

/**
 * Where a GPU has no memory for the weights, the processor encodes.
 * @throws OrielError as `openArchitecture` does, and `internal` when there is no memory for the weights
 */
export async function openEncoder(file: string, settings: EncoderSettings): Promise<Encoder> {
  const { device = 'cpu' } = settings
  const { ggml } = openNative(device)
  const gpu = device === 'cpu' ? null : ggml.initGpu()
  if (gpu !== null)
    try {
      return await openOn(gpu, file, settings)
    } catch (error) {
      if (!(error instanceof OrielError) || error.code !== 'out_of_memory') throw error
    }
  return openOn(null, file, settings)
}

async function openOn(gpu: Backend | null, file: string, settings: EncoderSettings): Promise<Encoder> {
  const { ggml } = openNative()
  const cpu = ggml.initCpu()
  if (cpu === null) throw new OrielError('internal', 'No CPU back end of ggml could be loaded.')
  const { gguf, context } = openFile(file)
  const architecture = architectureOf(readMetadata(ggml, gguf, context))
  const weights = loadWeights(ggml, file, gguf, context, gpu === null ? [cpu] : [gpu, cpu])
  ggml.freeGguf(gguf)
  const finish = architecture.finisher(weights)
  const onnx =
    settings.runtime === 'onnx' && gpu === null
      ? await buildOnnxGraph(weights, architecture, settings.precision, settings.threads)
      : null
  // The session keeps weights of its own.
  if (onnx !== null) weights.free()
  const graph: PictureGraph = onnx ?? new GgmlGraphs(ggml, weights, architecture)
  return {
    architecture,
    runtime: onnx === null ? 'ggml' : 'onnx',
    encode: async (scaled, tile, threads) =>
      finish(await graph.run(architecture.prepare(scaled, tile), tile, threads), tile),
  }
}

function openFile(file: string) {
  const opened = openNative().ggml.openGguf(file)
  if (opened === null)
    throw new OrielError('invalid', 'The vision file is no GGUF file, or it is broken.', { code: 'bad_model' })
  return opened
}

function architectureOf(metadata: Metadata): Architecture {
  const name = metadata.string('clip.projector_type', metadata.string('clip.vision.projector_type', 'unnamed'))
  const make = architectures[name]
  if (make === undefined) {
    const known = Object.keys(architectures).join(', ')
    throw new OrielError('invalid', `Vision files of type ${name} cannot be read; these can: ${known}.`, {
      code: 'unsupported_model',
    })
  }
  return make(metadata)
}
