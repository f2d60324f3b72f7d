import { readFileSync } from 'node:fs'
import type { Coordinates } from '../coordinates.ts'
import { badModel, OrielError, unsupportedModel } from '../errors.ts'
import { type GgufHeader, type Metadata, type MetadataValue, metadataOf } from '../gguf/index.ts'
import { packageFile } from '../places.ts'

/** `general.architecture` of the decoders that this release of llama.cpp runs: `LLM_ARCH_NAMES` of its src/llama-arch.cpp. */
const architectures: ReadonlySet<string> = new Set(
  readFileSync(packageFile('models/architectures.txt'), 'utf8').trim().split(/\s+/),
)

/** What the header of a decoder must say before native code may read the file. */
export interface DecoderFacts {
  architecture: string
  layers: number
  /** Numbers in one embedding of an image: those of a token, and as many again for each deepstack layer. */
  width: number
  /** The context that it was trained for, in tokens. */
  contextTokens: number
}

/** What the header of a projector (mmproj) says: it has an image encoder, an audio encoder, or both. */
export interface ProjectorFacts {
  vision: VisionFacts | null
  audio: AudioFacts | null
}

export interface HalfFacts {
  /** The family of encoders: `clip.projector_type`. */
  family: string
  /** Numbers in one embedding; null if the family is not supported. */
  width: number | null
}

export interface AudioFacts extends HalfFacts {
  /** Samples of a long sound for each of its embeddings; 0 if it is not known. */
  samplesPerToken: number
}

export interface VisionFacts extends HalfFacts {
  /** The edge of a tile, or of the largest image, in pixels; 0 if the file does not say. */
  imageSize: number
  /** How models of the family write boxes and points; null if no form of theirs is known. */
  coordinates: Coordinates | null
}

/** A family of encoders, as far as the library needs to know it. */
export interface EncoderFamily {
  /** Its names in `clip.projector_type`. */
  readonly types: readonly string[]
  /** How its models write boxes and points. */
  readonly coordinates?: Coordinates
  /** Numbers in one embedding. @throws OrielError `invalid` if the file does not say */
  width(metadata: Metadata): number
}

/** A family of audio encoders, which says how many embeddings a sound has. */
export interface AudioEncoderFamily extends EncoderFamily {
  /** @throws OrielError `invalid` if the metadata is incomplete */
  open(metadata: Metadata): { plan(samples: number): { layout: readonly (string | { tokens: number })[] } }
}

/** The families of encoders that can be run. */
export interface EncoderFamilies {
  readonly images: readonly EncoderFamily[]
  readonly audio: readonly AudioEncoderFamily[]
}

export const supports = ({ images, audio }: EncoderFamilies, type: string): boolean =>
  [...images, ...audio].some(({ types }) => types.includes(type))

/** What of a file can be run. A half that cannot is left out, if the other one can. */
export const abilitiesOf = ({ vision, audio }: ProjectorFacts): { sees: boolean; hears: boolean } => {
  const hears = audio !== null && audio.width !== null
  return { sees: vision !== null && (vision.width !== null || !hears), hears }
}

/** Whether at least one half of a file can be run. */
export const canRun = ({ vision, audio }: ProjectorFacts): boolean =>
  [vision, audio].some((half) => half !== null && half.width !== null)

/**
 * @param file its name, for messages
 * @throws OrielError `invalid` if the file is not a decoder, or llama.cpp does not run it
 */
export function decoderFacts({ metadata, tensors }: GgufHeader, file: string): DecoderFacts {
  const architecture = textOf(metadata.get('general.architecture'))
  const kind = textOf(metadata.get('general.type')) || 'model'
  if (isProjector(metadata))
    throw new OrielError('invalid', `${file} is a vision file (mmproj), not a model.`, { code: 'vision_file' })
  if (kind !== 'model') throw badModel(`${file} is a GGUF file of type ${word(kind)}, not a model.`)
  if (!architectures.has(architecture))
    throw unsupportedModel(
      `${file} has the architecture ${word(architecture)}, which is not supported${resembling(architecture)}.`,
    )
  if (tensors.length === 0) throw badModel(`${file} has no weights, only a vocabulary.`)
  const number = (key: string, most: number): number => {
    const value = metadata.get(`${architecture}.${key}`)
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > most)
      throw badModel(`${file} has ${word(value)} for ${architecture}.${key}; 1 to ${most} is allowed.`)
    return value
  }
  return {
    architecture,
    // llama.cpp's LLAMA_MAX_LAYERS.
    layers: number('block_count', 512),
    width: number('embedding_length', 1 << 20) * (1 + deepstackParts(metadata, architecture)),
    // llama.cpp's `llama_model_n_ctx_train` is an int32.
    contextTokens: number('context_length', 2 ** 31 - 1),
  }
}

/**
 * @param file its name, for messages
 * @throws OrielError `invalid` if the file is no projector, has no encoder, or is of a supported family but has no width
 */
export function projectorFacts(header: GgufHeader, file: string, { images, audio }: EncoderFamilies): ProjectorFacts {
  const { metadata } = header
  if (!isProjector(metadata))
    throw badModel(
      `${file} is a model of the architecture ${word(metadata.get('general.architecture'))}, not a vision file.`,
    )
  const hears = metadata.get('clip.has_audio_encoder') === true
  // Only files that hear too, or nothing else, say whether they see.
  const sees = metadata.get('clip.has_vision_encoder') ?? !hears
  const half = <Family extends EncoderFamily>(modality: 'vision' | 'audio', families: readonly Family[]) => {
    const family =
      textOf(metadata.get('clip.projector_type')) ||
      textOf(metadata.get(`clip.${modality}.projector_type`)) ||
      'unnamed'
    const supported = families.find(({ types }) => types.includes(family))
    return { family, width: supported?.width(metadataOf(header, file)) ?? null, supported }
  }
  const seeing = sees === true ? half('vision', images) : null
  const hearing = hears ? half('audio', audio) : null
  if (seeing === null && hearing === null) throw badModel(`${file} has no encoder of images or audio.`)
  const imageSize = metadata.get('clip.vision.image_size')
  return {
    vision: seeing && {
      ...{ family: seeing.family, width: seeing.width, coordinates: seeing.supported?.coordinates ?? null },
      imageSize: typeof imageSize === 'number' ? imageSize : 0,
    },
    audio: hearing && {
      ...{ family: hearing.family, width: hearing.width },
      samplesPerToken:
        hearing.supported === undefined ? 0 : samplesPerToken(hearing.supported, metadataOf(header, file)),
    },
  }
}

/** A sound whose embeddings are counted, in samples: an hour. */
const countedSamples = 3600 * 16_000

function samplesPerToken(family: AudioEncoderFamily, metadata: Metadata): number {
  try {
    const { layout } = family.open(metadata).plan(countedSamples)
    return countedSamples / layout.reduce((sum, part) => sum + (typeof part === 'string' ? 0 : part.tokens), 0)
  } catch (error) {
    // The engine says what is wrong, if it is loaded.
    if (error instanceof OrielError) return 0
    throw error
  }
}

/** @throws OrielError `invalid` if the embeddings of a projector do not have the decoder's width */
export function checkFit(decoder: DecoderFacts, { vision, audio }: ProjectorFacts, file: string): void {
  const wrong = [vision?.width, audio?.width].find(
    // Those of sounds have nothing for deepstack layers.
    (width, half) => typeof width === 'number' && (half === 0 ? width !== decoder.width : decoder.width % width !== 0),
  )
  if (wrong !== undefined)
    throw badModel(
      `${file} does not belong to this model: its embeddings have ${wrong} numbers, and the model requires ${decoder.width}.`,
    )
}

/**
 * Parts of an image's embeddings that layers of the decoder take, beside that of its input: as many as the file says, as in
 * Qwen3-VL, or those that it maps to layers, as in Granite 4 Vision.
 */
function deepstackParts(metadata: GgufHeader['metadata'], architecture: string): number {
  const layers = metadata.get(`${architecture}.n_deepstack_layers`)
  if (typeof layers === 'number') return layers >= 0 && layers <= 512 ? layers : 0
  const mapping = metadata.get(`${architecture}.deepstack_mapping`)
  const parts = (typeof mapping === 'object' && mapping.numbers) || []
  return new Set(parts.filter((part) => part >= 0)).size
}

const isProjector = (metadata: GgufHeader['metadata']): boolean =>
  textOf(metadata.get('general.architecture')) === 'clip' || textOf(metadata.get('general.type')) === 'mmproj'

export const textOf = (value: MetadataValue | undefined): string => (typeof value === 'string' ? value : '')

/** A value of the file for a message: short, and without control characters. */
const word = (value: MetadataValue | undefined): string =>
  typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : value === undefined ? 'no value' : String(value)

function resembling(name: string): string {
  const stem = name.slice(0, 4).toLowerCase()
  const near = [...architectures].filter((other) => stem.length > 2 && other.startsWith(stem))
  return near.length > 0 ? ` (similar: ${near.join(', ')})` : ''
}
