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

/** What the header of a vision file says. */
export interface ProjectorFacts {
  /** The family of vision encoders: `clip.projector_type`. */
  family: string
  /** Numbers in one embedding; null if the family is not supported. */
  width: number | null
  /** The edge of a tile, or of the largest image, in pixels; 0 if the file does not say. */
  imageSize: number
  /** How models of the family write boxes and points; null if no form of theirs is known. */
  coordinates: Coordinates | null
}

/** A family of vision encoders, as far as the library needs to know it. */
export interface EncoderFamily {
  /** Its names in `clip.projector_type`. */
  readonly types: readonly string[]
  /** How its models write boxes and points. */
  readonly coordinates?: Coordinates
  /** Numbers in one embedding. @throws OrielError `invalid` if the file does not say */
  width(metadata: Metadata): number
}

export const supports = (families: readonly EncoderFamily[], type: string): boolean =>
  families.some(({ types }) => types.includes(type))

/**
 * @param file its name, for messages
 * @throws OrielError `invalid` if the file is not a decoder, or llama.cpp does not run it
 */
export function decoderFacts({ metadata, tensors }: GgufHeader, file: string): DecoderFacts {
  const architecture = textOf(metadata.get('general.architecture'))
  const kind = textOf(metadata.get('general.type')) || 'model'
  if (isVisionFile(metadata))
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
 * @throws OrielError `invalid` if the file is not a vision file, or is of a supported family but has no width
 */
export function projectorFacts(header: GgufHeader, file: string, families: readonly EncoderFamily[]): ProjectorFacts {
  const { metadata } = header
  const architecture = textOf(metadata.get('general.architecture'))
  if (!isVisionFile(metadata))
    throw badModel(`${file} is a model of the architecture ${word(architecture)}, not a vision file.`)
  if (metadata.get('clip.has_vision_encoder') === false)
    throw badModel(`${file} has an audio encoder only, no vision encoder.`)
  const family =
    textOf(metadata.get('clip.projector_type')) || textOf(metadata.get('clip.vision.projector_type')) || 'unnamed'
  const imageSize = metadata.get('clip.vision.image_size')
  const supported = families.find(({ types }) => types.includes(family))
  return {
    family,
    width: supported?.width(metadataOf(header, file)) ?? null,
    imageSize: typeof imageSize === 'number' ? imageSize : 0,
    coordinates: supported?.coordinates ?? null,
  }
}

/** @throws OrielError `invalid` if the embeddings of a vision file do not have the decoder's width */
export function checkFit(decoder: DecoderFacts, projector: ProjectorFacts, file: string): void {
  if (projector.width !== null && projector.width !== decoder.width)
    throw badModel(
      `${file} does not belong to this model: its embeddings have ${projector.width} numbers, and the model requires ${decoder.width}.`,
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

const isVisionFile = (metadata: GgufHeader['metadata']): boolean =>
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
