import { OrielError } from '../errors.ts'
import { architectures } from './architectures.ts'
import type { GgufHeader, MetadataValue } from './gguf.ts'

/** What a decoder's header must say before anything native may read the file. */
export interface DecoderFacts {
  architecture: string
  layers: number
  /** Numbers in one of a picture's embeddings: a token's own, and as many again for each layer that is given a part of it. */
  width: number
  /** Tokens that it was trained for. */
  contextTokens: number
}

/** What is known of a vision file before it is opened. */
export interface ProjectorFacts {
  /** The family of vision encoders: `clip.projector_type`. */
  family: string
  /** Numbers in one embedding that it makes; 0: not said. */
  width: number
  /** The edge of a tile, or of the largest picture; 0: not said. */
  imageSize: number
}

/**
 * @param file its name, for messages
 * @throws OrielError `invalid` for a file that is no decoder, or one that llama.cpp does not run
 */
export function decoderFacts({ metadata, tensors }: GgufHeader, file: string): DecoderFacts {
  const architecture = textOf(metadata.get('general.architecture'))
  const kind = textOf(metadata.get('general.type')) || 'model'
  if (isVisionFile(metadata))
    throw unfit(`${file} is a vision file (mmproj): name the model's own file instead, and this one with --mmproj.`)
  if (kind !== 'model') throw unfit(`${file} is a GGUF of the type ${word(kind)}, and a model has the type model.`)
  if (!architectures.has(architecture))
    throw new OrielError(
      'invalid',
      `${file} is of the architecture ${word(architecture)}, which is none of the ${architectures.size} that run here${resembling(architecture)}.`,
      { code: 'unsupported_model' },
    )
  if (tensors.length === 0) throw unfit(`${file} has no weights: it is a vocabulary alone.`)
  const number = (key: string, most: number): number => {
    const value = metadata.get(`${architecture}.${key}`)
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > most)
      throw unfit(`${file} says ${word(value)} for ${architecture}.${key}, and 1 to ${most} are allowed.`)
    return value
  }
  return {
    architecture,
    // llama.cpp's LLAMA_MAX_LAYERS.
    layers: number('block_count', 512),
    width:
      number('embedding_length', 1 << 20) * (1 + deepstackLayers(metadata.get(`${architecture}.n_deepstack_layers`))),
    // llama.cpp's `llama_model_n_ctx_train` is an int32.
    contextTokens: number('context_length', 2 ** 31 - 1),
  }
}

/** @throws OrielError `invalid` for a file that is no vision file */
export function projectorFacts({ metadata, tensors }: GgufHeader, file: string): ProjectorFacts {
  const architecture = textOf(metadata.get('general.architecture'))
  if (!isVisionFile(metadata))
    throw unfit(`${file} is no vision file but a model's own file, of the architecture ${word(architecture)}.`)
  if (metadata.get('clip.has_vision_encoder') === false) throw unfit(`${file} has no vision encoder: it is for sound.`)
  const family =
    textOf(metadata.get('clip.projector_type')) || textOf(metadata.get('clip.vision.projector_type')) || 'unnamed'
  const number = (key: string): number => {
    const value = metadata.get(`clip.vision.${key}`)
    return typeof value === 'number' ? value : 0
  }
  const [last, axis = 0] = lastTensors[family] ?? []
  const width =
    last === undefined ? number('projection_dim') : (tensors.find(({ name }) => name === last)?.shape[axis] ?? 0)
  const deepstack = tensors.filter(({ name }) => /^v\.deepstack\.\d+\.fc2\.weight$/.test(name)).length
  return { family, width: width * (1 + deepstack), imageSize: number('image_size') }
}

/** @throws OrielError `invalid` where a vision file's embeddings are not of the decoder's width */
export function checkFit(decoder: DecoderFacts, projector: ProjectorFacts, file: string): void {
  if (projector.width > 0 && projector.width !== decoder.width)
    throw unfit(
      `${file} does not belong to this model: it makes embeddings of ${projector.width} numbers, and the model's have ${decoder.width}.`,
    )
}

/** Layers of a decoder that are given a part of a picture's embeddings, as Qwen3-VL's first ones are. */
const deepstackLayers = (value: MetadataValue | undefined): number =>
  typeof value === 'number' && value >= 0 && value <= 512 ? value : 0

const isVisionFile = (metadata: GgufHeader['metadata']): boolean =>
  textOf(metadata.get('general.architecture')) === 'clip' || textOf(metadata.get('general.type')) === 'mmproj'

export const textOf = (value: MetadataValue | undefined): string => (typeof value === 'string' ? value : '')

/**
 * The tensor that makes embeddings of each family, and its axis that counts their numbers (`clip_n_mmproj_embd` of
 * tools/mtmd/clip.cpp). More to be trusted than `projection_dim`, which in files of 2023 and 2024 is CLIP's own.
 */
const lastTensors: Readonly<Record<string, readonly [string, number]>> = {
  adapter: ['adapter.linear.dense_4h_to_h.weight', 1],
  gemma3: ['mm.input_projection.weight', 0],
  idefics3: ['mm.model.fc.weight', 1],
  internvl: ['mm.model.mlp.3.weight', 1],
  kimivl: ['mm.2.weight', 1],
  ldp: ['mm.model.mb_block.1.block.2.1.bias', 0],
  ldpv2: ['mm.model.peg.0.bias', 0],
  lfm2: ['mm.2.weight', 1],
  llama4: ['mm.model.fc.weight', 1],
  mlp: ['mm.2.weight', 1],
  pixtral: ['mm.2.weight', 1],
  'qwen2.5vl_merger': ['mm.2.bias', 0],
  qwen2vl_merger: ['mm.2.bias', 0],
  qwen3vl_merger: ['mm.2.bias', 0],
  resampler: ['resampler.proj.weight', 0],
}

const unfit = (message: string): OrielError => new OrielError('invalid', message, { code: 'bad_model' })

/** A word of a file, short and harmless. */
const word = (value: MetadataValue | undefined): string =>
  typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : value === undefined ? 'nothing' : String(value)

function resembling(name: string): string {
  const stem = name.slice(0, 4).toLowerCase()
  const near = [...architectures].filter((other) => stem.length > 2 && other.startsWith(stem))
  return near.length > 0 ? ` (of that name: ${near.join(', ')})` : ''
}
