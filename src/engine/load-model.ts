import { statSync } from 'node:fs'
import { needImageArchitecture } from '../encoders/index.ts'
import { badModel } from '../errors.ts'
import { weightsFolder } from '../home.ts'
import { type Decoder, openDecoder } from '../language/index.ts'
import { dieWithParent, openNative } from '../native/index.ts'
import { Calibration } from './calibration.ts'
import { Cores } from './cores.ts'
import type { EngineModel } from './generation.ts'
import { dropImageEncoder, type OpenedEncoder, startImageEncoder } from './image-encoder.ts'
import type { EncoderStart } from './image-encoder-thread.ts'
import { whileOpening } from './opening-encoder.ts'
import type { LoadOptions } from './protocol.ts'
import type { SchedulerParts } from './scheduler.ts'

/** A loaded model: its parts for the scheduler, and its description for the parent. */
export interface LoadedModel extends Pick<SchedulerParts, 'decoder' | 'images' | 'cores'> {
  model: EngineModel
  /** The image encoder may still be opening; null for a model that takes no images. */
  opening: Promise<Opened> | null
}

interface Opened {
  runtime: OpenedEncoder['runtime']
  /** Chooses the forms of its matrices; null if nothing is to be chosen. */
  calibration: Calibration | null
}

/**
 * Loads a model's files into this process. When the decoder is loaded, texts can be answered; images are answered when the
 * encoder is open, too.
 * @param onProgress called with the share of all weights that is loaded, 0 to 1
 * @param isDecoding whether answers are running, which then share the cores with the image encoder
 * @throws OrielError `invalid` for files that cannot be loaded, `internal` if they do not fit in memory
 */
export async function loadModel(
  { decoder: file, projector, name, settings, gpu }: LoadOptions,
  onProgress: (share: number) => void,
  isDecoding: () => boolean,
): Promise<LoadedModel> {
  // The first call decides which build of the libraries is loaded.
  openNative(gpu?.device)
  dieWithParent()
  const cores = new Cores(settings.threads)
  const architecture = projector === null ? null : await needImageArchitecture(projector)
  const visionBytes = projector === null ? 0 : statSync(projector).size
  const progress = loadProgress(statSync(file).size, visionBytes, onProgress)
  const encoderSettings: EncoderStart['settings'] = {
    runtime: settings.visionRuntime,
    precision: settings.visionPrecision,
    cache: { folder: weightsFolder(), mostBytes: settings.weightCacheBytes },
    threads: cores.all,
    device: gpu?.device ?? 'cpu',
  }
  const start = projector === null ? null : { file: projector, settings: encoderSettings }
  if (start === null) dropImageEncoder()
  const startEncoder = () =>
    start === null
      ? null
      : startImageEncoder({ ...start, progress: progress.vision }, settings.encoderCacheBytes, {
          shared: gpu === undefined ? { all: cores.all, decoding: cores.half } : null,
          next: () => cores.forEncoding(isDecoding()),
          took: (threads, tokens, ms) => {
            if (!isDecoding()) cores.encoded(threads, tokens, ms)
          },
        })
  // Both halves load at once, except on a GPU: the decoder takes what memory is free there, with room for the encoder.
  const starting = gpu === undefined ? startEncoder() : null
  // If both fail, the decoder's error is the one that is told.
  starting?.catch(() => {})
  const decoder = openDecoder(file, {
    cells: settings.contextCells,
    sequences: settings.maxSequences + settings.storedSequences,
    batchRows: Math.max(settings.chunkTokens, architecture?.atOnce ?? 0) + settings.maxSequences,
    threads: cores.all,
    kvType: settings.kvType,
    flashAttention: settings.flashAttention,
    ...(gpu === undefined ? {} : { gpu }),
    onProgress: progress.decoder,
  })
  await warmUp(decoder)
  if (architecture !== null && architecture.width !== decoder.width)
    throw badModel(
      `The vision file does not belong to this model: its embeddings have ${architecture.width} numbers, and the model's have ${decoder.width}.`,
    )
  const opening = starting ?? startEncoder()
  const images = architecture && opening && { architecture, encoder: whileOpening(opening) }
  const { vocabulary, chatTemplate, contextTokens } = decoder
  const model: EngineModel = {
    name,
    contextTokens,
    vocabulary: vocabulary.size,
    inputs: {
      image: images && {
        family: images.architecture.name,
        longestEdge: images.architecture.longestEdge,
      },
    },
    memory: { ...decoder.memory, visionBytes },
    gpuLayers: decoder.gpuLayers,
    chatTemplate,
    bosToken: vocabulary.bos,
    eosToken: vocabulary.eos,
    controlTokens: vocabulary.controlTokens,
  }
  return { decoder, images, cores, model, opening: start && opening && opened(opening, start) }
}

async function opened(opening: Promise<OpenedEncoder>, start: EncoderStart): Promise<Opened> {
  const { runtime, isUncalibrated } = await opening
  return { runtime, calibration: isUncalibrated ? new Calibration(start) : null }
}

/** The first step brings all weights into memory. No request must wait for it, and no measurement must include it. */
async function warmUp(decoder: Decoder): Promise<void> {
  const batch = decoder.newTokenBatch()
  batch.addToken(0, 0, 0, true)
  await decoder.decode(batch)
  decoder.forget(0)
}

/** The progress of both halves as one share, by their bytes, while the decoder loads. */
function loadProgress(decoderBytes: number, visionBytes: number, onProgress: (share: number) => void) {
  const vision = new Float32Array(new SharedArrayBuffer(Float32Array.BYTES_PER_ELEMENT))
  return {
    /** Shared with the encoder's thread, which writes its share. */
    vision,
    decoder: (share: number): void =>
      onProgress((share * decoderBytes + (vision[0] ?? 0) * visionBytes) / (decoderBytes + visionBytes)),
  }
}
