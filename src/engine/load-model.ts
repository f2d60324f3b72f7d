import { statSync } from 'node:fs'
import { longestSound, type Modality, openAudioArchitecture, openImageArchitecture } from '../encoders/index.ts'
import { badModel } from '../errors.ts'
import { weightsFolder } from '../home.ts'
import { type Decoder, openDecoder } from '../language/index.ts'
import { dieWithParent, openNative } from '../native/index.ts'
import { withVisionAdapters } from './adapted-encoders.ts'
import { Calibration } from './calibration.ts'
import { Cores } from './cores.ts'
import { dropEncoder, type EncoderCores, embeddingCache, type OpenedEncoder, startEncoder } from './encoder.ts'
import type { EncoderStart } from './encoder-thread.ts'
import type { EngineModel } from './generation.ts'
import { whileOpening } from './opening-encoder.ts'
import type { Architectures } from './prompt-cells.ts'
import type { LoadOptions } from './protocol.ts'
import type { SchedulerParts } from './scheduler.ts'

/** A loaded model: its parts for the scheduler, and its description for the parent. */
export interface LoadedModel extends Pick<SchedulerParts, 'decoder' | 'architectures' | 'encoder' | 'cores'> {
  model: EngineModel
  /** The encoders may still be opening; null for a model that takes text only. */
  opening: Promise<Opened> | null
}

interface Opened extends Pick<OpenedEncoder, 'runtimes'> {
  /** Chooses the forms of the encoders' matrices; null if nothing is to be chosen. */
  calibration: Calibration | null
}

/** Encoders with an adapter that are open at one time, if the memory for adapters has room for as many. One always may be. */
const mostOpen = 4

/**
 * Loads a model's files into this process. When the decoder is loaded, texts can be answered; attachments are answered
 * when the encoders are open, too.
 * @param onProgress called with the share of all weights that is loaded, 0 to 1
 * @param isDecoding whether answers are running, which then share the cores with the encoders
 * @param onAdapted called with the number of encoders with an adapter that are open
 * @throws OrielError `invalid` for files that cannot be loaded, `internal` if they do not fit in memory
 */
export async function loadModel(
  { decoder: file, projector, name, settings, gpu }: LoadOptions,
  onProgress: (share: number) => void,
  isDecoding: () => boolean,
  onAdapted: (encoders: number) => void,
): Promise<LoadedModel> {
  // The first call decides which build of the libraries is loaded.
  openNative(gpu?.device)
  dieWithParent()
  const cores = new Cores(settings.threads)
  const architectures = await architecturesIn(projector)
  const { images, audio } = architectures
  const encodersBytes = projector === null ? 0 : statSync(projector).size
  const progress = loadProgress(statSync(file).size, encodersBytes, onProgress)
  const encoderSettings: EncoderStart['settings'] = {
    runtime: settings.visionRuntime,
    precision: settings.visionPrecision,
    cache: { folder: weightsFolder(), mostBytes: settings.weightCacheBytes },
    threads: cores.all,
    device: gpu?.device ?? 'cpu',
  }
  const modalities: Modality[] = [...(images ? (['vision'] as const) : []), ...(audio ? (['audio'] as const) : [])]
  const start = projector === null ? null : { file: projector, modalities, settings: encoderSettings }
  if (start === null) dropEncoder()
  const cache = embeddingCache(settings.encoderCacheBytes)
  const encoderCores: EncoderCores = {
    shared: gpu === undefined ? { all: cores.all, decoding: cores.half } : null,
    next: (kind) => cores.forEncoding(kind, isDecoding()),
    took: (kind, threads, tokens, ms) => {
      if (!isDecoding()) cores.encoded(kind, threads, tokens, ms)
    },
  }
  const mostAdapted = Math.max(
    1,
    Math.min(mostOpen, Math.floor(settings.adapterBytes / Math.max(1, settings.visionBytes))),
  )
  const startEncoding = () => {
    if (start === null) return null
    const opened = startEncoder({ ...start, progress: progress.encoders }, cache, encoderCores)
    const openWith = (adapter: string) => {
      const adapted = { ...start, modalities: ['vision' as const], settings: { ...encoderSettings, adapter } }
      return startEncoder({ ...adapted, progress: new Float32Array(1) }, cache, encoderCores)
    }
    return opened.then((own) => withVisionAdapters(own, mostAdapted, openWith, onAdapted))
  }
  // Both halves load at once, except on a GPU: the decoder takes what memory is free there, with room for the encoder.
  const starting = gpu === undefined ? startEncoding() : null
  // If both fail, the decoder's error is the one that is told.
  starting?.catch(() => {})
  const decoder = openDecoder(file, {
    cells: settings.contextCells,
    bytesPerCell: settings.bytesPerCell,
    sequences: settings.maxSequences + settings.storedSequences,
    batchRows: Math.max(settings.chunkTokens, images?.atOnce ?? 0) + settings.maxSequences,
    threads: cores.all,
    kvType: settings.kvType,
    flashAttention: settings.flashAttention,
    ...(gpu === undefined ? {} : { gpu }),
    onProgress: progress.decoder,
  })
  await warmUp(decoder)
  const width = images?.width ?? audio?.width ?? decoder.width
  // Images may have parts for deepstack layers in addition.
  if (width !== decoder.width || (audio !== null && width % audio.width !== 0))
    throw badModel(
      `The encoders' file does not belong to this model: its embeddings have ${width} numbers, and the model's have ${decoder.width}.`,
    )
  const opening = starting ?? startEncoding()
  const encoder = opening && whileOpening(opening)
  const { vocabulary, chatTemplate, contextTokens } = decoder
  const model: EngineModel = {
    name,
    contextTokens,
    vocabulary: vocabulary.size,
    inputs: {
      image: images && {
        family: images.name,
        longestEdge: images.longestEdge,
        framesPerTile: images.framesPerTile,
      },
      audio: audio && { family: audio.name, longest: longestSound(audio, contextTokens) },
    },
    memory: { ...decoder.memory, encodersBytes },
    gpuLayers: decoder.gpuLayers,
    chatTemplate,
    bosToken: vocabulary.bos,
    eosToken: vocabulary.eos,
    controlTokens: vocabulary.controlTokens,
    endTokens: vocabulary.endTokens,
  }
  return { decoder, architectures, encoder, cores, model, opening: start && opening && opened(opening, start) }
}

async function opened(opening: Promise<OpenedEncoder>, start: EncoderStart): Promise<Opened> {
  const { runtimes, uncalibrated } = await opening
  return { runtimes, calibration: uncalibrated.length > 0 ? new Calibration(start, uncalibrated) : null }
}

/** The encoders of a file. One that this version cannot run is left out if it can run the other. */
async function architecturesIn(projector: string | null): Promise<Architectures> {
  if (projector === null) return { images: null, audio: null }
  const [images, audio] = await Promise.allSettled([openImageArchitecture(projector), openAudioArchitecture(projector)])
  const found = {
    images: images.status === 'fulfilled' ? images.value : null,
    audio: audio.status === 'fulfilled' ? audio.value : null,
  }
  if (found.images === null && found.audio === null)
    throw [images, audio].find((half) => half.status === 'rejected')?.reason ?? badModel('The file has no encoder.')
  return found
}

/** The first step brings all weights into memory. No request must wait for it, and no measurement must include it. */
async function warmUp(decoder: Decoder): Promise<void> {
  const batch = decoder.newTokenBatch()
  batch.addToken(0, 0, 0, true)
  await decoder.decode(batch)
  decoder.forget(0)
}

/** The progress of both halves as one share, by their bytes, while the decoder loads. */
function loadProgress(decoderBytes: number, encodersBytes: number, onProgress: (share: number) => void) {
  const encoders = new Float32Array(new SharedArrayBuffer(Float32Array.BYTES_PER_ELEMENT))
  return {
    /** Shared with the encoder's thread, which writes its share. */
    encoders,
    decoder: (share: number): void =>
      onProgress((share * decoderBytes + (encoders[0] ?? 0) * encodersBytes) / (decoderBytes + encodersBytes)),
  }
}
