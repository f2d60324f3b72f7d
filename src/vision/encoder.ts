import { OrielError } from '../errors.ts'
import { openNative } from '../native/index.ts'
import type { Architecture, PicturePlan } from './architecture.ts'
import { buildGgmlGraph, type GgmlGraph } from './ggml-graph.ts'
import { type Metadata, readMetadata } from './metadata.ts'
import { pixtral } from './pixtral.ts'
import { loadWeights } from './weights.ts'

/** Every family of vision encoders that is known, by `clip.projector_type`. */
const architectures: Record<string, (metadata: Metadata) => Architecture> = { pixtral }

/** Graphs kept, one for each picture size seen lately. */
const graphsKept = 16

/** A vision encoder, ready to turn pictures into embeddings. */
export interface Encoder {
  readonly architecture: Architecture
  /**
   * Encodes one picture. Blocks its thread: run it on one of its own.
   * @param rgb `[height, width, 3]` of `plan.original`
   * @param threads cores that may be used for it
   * @returns `[plan.tokens, architecture.width]`
   */
  encode(rgb: Uint8Array, plan: PicturePlan, threads: number): Float32Array
}

/**
 * Reads how pictures are laid out from a vision file's header, without its weights.
 * @throws OrielError `invalid` for a file that is no vision file, or of a family that is not known
 */
export function openArchitecture(file: string): Architecture {
  const { ggml } = openNative()
  const opened = openFile(file)
  try {
    return architectureOf(readMetadata(ggml, opened.gguf))
  } finally {
    ggml.freeGguf(opened.gguf)
    ggml.free(opened.context)
  }
}

/** @throws OrielError as `openArchitecture` does, and `internal` when there is no memory for the weights */
export function openEncoder(file: string): Encoder {
  const { ggml } = openNative()
  const { gguf, context } = openFile(file)
  const architecture = architectureOf(readMetadata(ggml, gguf))
  const backend = ggml.initCpu()
  if (backend === null) throw new OrielError('internal', 'No CPU back end of ggml could be loaded.')
  const weights = loadWeights(ggml, file, gguf, context, backend)
  const graphs = new Map<string, GgmlGraph>()

  const graphFor = (plan: PicturePlan): GgmlGraph => {
    const size = `${plan.scaled.width}x${plan.scaled.height}`
    const graph = graphs.get(size) ?? buildGgmlGraph(ggml, weights, architecture, plan)
    // Taken out and put back, so that a Map's own order is the order of last use.
    graphs.delete(size)
    graphs.set(size, graph)
    const oldest = graphs.keys().next().value
    if (graphs.size > graphsKept && oldest !== undefined) {
      graphs.get(oldest)?.free()
      graphs.delete(oldest)
    }
    return graph
  }

  return {
    architecture,
    encode(rgb, plan, threads) {
      ggml.setThreads(backend, threads)
      const rows = graphFor(plan).run(architecture.prepare(rgb, plan))
      return architecture.finish(rows, plan, weights)
    },
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
