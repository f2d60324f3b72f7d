import { createHash } from 'node:crypto'
import { readdir, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Coordinates } from '../coordinates.ts'
import { badModel, OrielError } from '../errors.ts'
import { fileTypes, type GgufHeader, headerOf, type MetadataValue } from '../gguf/index.ts'
import type { CatalogueEntry } from './catalogue.ts'
import { type EmbeddingFacts, embeddingFacts } from './embedding.ts'
import { splitParts } from './file-names.ts'
import {
  abilitiesOf,
  checkFit,
  decoderFacts,
  type EncoderFamilies,
  type HalfFacts,
  projectorFacts,
  textOf,
} from './fit.ts'
import { keptBytes } from './kept-bytes.ts'

/** A model that can be served, as its files describe it. */
export interface ModelCard {
  id: string
  /** Other names for it in requests. */
  aliases: readonly string[]
  /** What the catalogue says about it: the names in files are those of whoever made them. */
  entry?: CatalogueEntry | undefined
  title: string
  description: string
  /** The GGUF file of the decoder; the first part if it is split. */
  decoder: string
  /** The file of its encoders (mmproj); null for a model that takes text only. */
  projector: string | null
  /** Whether it takes images, and audio. */
  sees: boolean
  hears: boolean
  contextTokens: number
  /** Bytes of all files. */
  bytes: number
  /** The sizes from which the memory of a model is computed. */
  size: {
    layers: number
    /** Bytes of the weights, the number of weights in the encoders, and of those in the matrices of their layers. */
    decoderBytes: number
    visionBytes: number
    visionParameters: number
    visionLayers: number
    /** Keys and values of all layers in 16 bits. */
    bytesPerToken: number
    /** Samples of a sound for each of its tokens; 0 for a model that does not hear. */
    samplesPerToken: number
    /** The state of a hybrid decoder, which does not grow with the sequence; 0 for other decoders. */
    bytesPerSequence: number
  }
  /** null: it answers. A model that embeds texts does not. */
  embedding: EmbeddingFacts | null
  /** Jinja; null if the file has none. */
  chatTemplate: string | null
  /** The recommended defaults for requests, from `general.sampling.*` of the file. */
  sampling: { temperature?: number; topP?: number; topK?: number; minP?: number }
  /** How it writes boxes and points; null if no form of it is known. */
  coordinates: Coordinates | null
  /** The modification time of the decoder's file, in seconds since 1970. */
  created: number
  /** Differs when any of its files has been changed or replaced. */
  version: string
}

export interface ModelFiles {
  id: string
  aliases: readonly string[]
  decoder: string
  projector: string | null
  entry?: CatalogueEntry | undefined
}

/**
 * Reads the headers of a model's files and checks that they are complete and belong together.
 * @throws OrielError `invalid` that names the file and its fault, `not_found` if a file does not exist
 */
export async function readCard(files: ModelFiles, families: EncoderFamilies): Promise<ModelCard> {
  try {
    return await cardOf(files, families)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error) || error instanceof OrielError) throw error
    // The model may be removed at the same time.
    throw badModel(`${path.basename(files.decoder)} or a file that belongs to it cannot be read: ${error.code}.`, error)
  }
}

/** What a decoder of several files is: the first one says it, and may have none of the weights. */
const wholeHeader = (first: GgufHeader, parts: readonly GgufHeader[]): GgufHeader => ({
  ...first,
  tensors: parts.flatMap(({ tensors }) => tensors),
})

async function cardOf({ id, aliases, decoder, projector, entry }: ModelFiles, families: EncoderFamilies) {
  const first = await headerOf(decoder)
  const parts = await readParts(decoder, first.metadata)
  const headers = await Promise.all(parts.map(headerOf))
  const header = wholeHeader(first, headers)
  const facts = decoderFacts(header, path.basename(decoder))
  const encoders = projector === null ? null : await headerOf(projector)
  const halves =
    projector === null || encoders === null ? null : projectorFacts(encoders, path.basename(projector), families)
  if (projector !== null && halves !== null) checkFit(facts, halves, path.basename(projector))
  const embedding = embeddingFacts(header, facts, path.basename(decoder))
  const kept = keptBytes(header, facts)
  const files = await Promise.all([...parts, projector].filter((file) => file !== null).map((file) => stat(file)))
  return {
    id,
    aliases,
    entry,
    title: entry?.title ?? (textOf(header.metadata.get('general.name')) || id),
    description: entry?.use ?? textOf(header.metadata.get('general.description')),
    decoder,
    projector,
    ...(halves === null ? { sees: false, hears: false } : abilitiesOf(halves)),
    contextTokens: facts.contextTokens,
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    size: {
      layers: facts.layers,
      decoderBytes: headers.reduce((sum, part) => sum + bytesOf(part), 0),
      visionBytes: encoders === null ? 0 : bytesOf(encoders),
      visionParameters: encoders === null ? 0 : parametersOf(encoders),
      visionLayers: encoders === null ? 0 : parametersOf({ tensors: encoders.tensors.filter(isLayerMatrix) }),
      ...kept,
      samplesPerToken: halves?.audio?.samplesPerToken ?? 0,
      bytesPerToken: embedding === null || embedding.keeps ? kept.bytesPerToken : 0,
    },
    embedding,
    chatTemplate: textOf(header.metadata.get('tokenizer.chat_template')) || null,
    sampling: recommended(header.metadata),
    coordinates: halves?.vision?.coordinates ?? null,
    created: Math.floor((files[0]?.mtimeMs ?? 0) / 1000),
    version: files.map(({ ino, size, mtimeMs, ctimeMs }) => [ino, size, mtimeMs, ctimeMs].join(' ')).join('\n'),
  }
}

/** The paths of all files of a decoder. @throws OrielError `invalid` if one is missing */
async function readParts(decoder: string, metadata: ReadonlyMap<string, MetadataValue>): Promise<string[]> {
  const count = metadata.get('split.count')
  if (typeof count !== 'number' || count < 2) return [decoder]
  const name = path.basename(decoder)
  if (metadata.get('split.no') !== 0) throw badModel(`${name} is a later part of a split model. Use its first part.`)
  const parts = splitParts(decoder)
  if (parts.length !== count)
    throw badModel(
      `${name} is the first of ${count} parts according to its header, but of ${parts.length} according to its name.`,
    )
  const present = new Set(await readdir(path.dirname(decoder)))
  const missing = parts.map((part) => path.basename(part)).filter((part) => !present.has(part))
  if (missing.length > 0) throw badModel(`${name} is split, and these parts are missing: ${missing.join(', ')}.`)
  return parts
}

const bytesOf = ({ tensors }: GgufHeader): number => tensors.reduce((sum, { bytes }) => sum + bytes, 0)

const isLayerMatrix = ({ name, shape }: GgufHeader['tensors'][number]): boolean =>
  /^[av]\.blk\./.test(name) && shape.length > 1

const parametersOf = ({ tensors }: Pick<GgufHeader, 'tensors'>): number =>
  tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0)

function recommended(metadata: ReadonlyMap<string, MetadataValue>): ModelCard['sampling'] {
  const names = { temperature: 'temp', topP: 'top_p', topK: 'top_k', minP: 'min_p' } as const
  const given = Object.entries(names).flatMap(([field, key]) => {
    const value = metadata.get(`general.sampling.${key}`)
    return typeof value === 'number' ? [[field, value] as const] : []
  })
  return Object.fromEntries(given)
}

/** What the encoders' file says about one of its halves. */
export interface EncoderFacts {
  family: string
  /** Whether this version can run it. */
  supported: boolean
  parameters: number
  /** Of these in the matrices of its layers. */
  inLayers: number
}

/** What the files of a model say about it. */
export interface ModelFacts {
  architecture: string
  layers: number
  /** `Q4_K_M`, or the type of most of its weights. */
  quantization: string
  /** Including those of the encoders. */
  parameters: number
  /** Those of the decoder that compute a token: of many experts only the ones that are used. */
  activeParameters: number
  licence: string
  vision: (EncoderFacts & { imageSize: number }) | null
  audio: EncoderFacts | null
  files: readonly { file: string; bytes: number }[]
  /** Identifies the decoder: its SHA-256 where the hub's cache has it, or else a hash of its name and size. */
  digest: string
}

export async function factsOf(
  { id, bytes, decoder, projector }: ModelCard,
  families: EncoderFamilies,
): Promise<ModelFacts> {
  const parts = splitParts(decoder)
  const headers = await Promise.all(parts.map(headerOf))
  const header = wholeHeader(await headerOf(decoder), headers)
  const encoders = projector === null ? null : await headerOf(projector)
  const { architecture, layers } = decoderFacts(header, path.basename(decoder))
  const all = [...headers, ...(encoders === null ? [] : [encoders])]
  const files = [...parts, ...(projector === null ? [] : [projector])]
  return {
    architecture,
    layers,
    quantization: quantizationOf(headers),
    parameters: all.reduce((sum, one) => sum + parametersOf(one), 0),
    activeParameters: headers.reduce(
      (sum, part) => sum + activeParametersOf(part, usedExperts(header, architecture)),
      0,
    ),
    licence: textOf(header.metadata.get('general.license')),
    ...(encoders === null
      ? { vision: null, audio: null }
      : encoderFacts(encoders, path.basename(projector ?? ''), families)),
    files: await Promise.all(files.map(async (file) => ({ file, bytes: (await stat(file)).size }))),
    digest: await digestOf(decoder, `${id} ${bytes}`),
  }
}

/** The hub's cache names a file by its hash. Files elsewhere are gigabytes, which nobody reads for a list of models. */
async function digestOf(decoder: string, otherwise: string): Promise<string> {
  const blob = path.basename(await realpath(decoder))
  return /^[0-9a-f]{64}$/.test(blob) ? blob : createHash('sha256').update(otherwise).digest('hex')
}

/** The share of its experts that a token uses. */
function usedExperts({ metadata }: GgufHeader, architecture: string): number {
  const count = metadata.get(`${architecture}.expert_count`)
  const used = metadata.get(`${architecture}.expert_used_count`)
  return typeof count === 'number' && typeof used === 'number' && count > 0 ? Math.min(1, used / count) : 1
}

/** The table of token embeddings is read, not multiplied. @param share of the experts that a token uses */
const activeParametersOf = ({ tensors }: GgufHeader, share: number): number =>
  tensors
    .filter(({ name }) => name !== 'token_embd.weight')
    .reduce(
      (sum, { name, shape }) =>
        sum + shape.reduce((product, size) => product * size, 1) * (/_exps\b/.test(name) ? share : 1),
      0,
    )

function encoderFacts(
  header: GgufHeader,
  file: string,
  families: EncoderFamilies,
): Pick<ModelFacts, 'vision' | 'audio'> {
  const { vision, audio } = projectorFacts(header, file, families)
  const ofAudio = ({ name }: GgufHeader['tensors'][number]): boolean => /^(mm\.)?a\./.test(name)
  const factsOf = ({ family, width }: HalfFacts, isOwn: (tensor: GgufHeader['tensors'][number]) => boolean) => {
    const tensors = header.tensors.filter(isOwn)
    return {
      family,
      supported: width !== null,
      parameters: parametersOf({ tensors }),
      inLayers: parametersOf({ tensors: tensors.filter(isLayerMatrix) }),
    }
  }
  return {
    vision: vision && { ...factsOf(vision, (tensor) => !ofAudio(tensor)), imageSize: vision.imageSize },
    audio: audio && factsOf(audio, ofAudio),
  }
}

function quantizationOf(headers: readonly GgufHeader[]): string {
  const said = headers[0]?.metadata.get('general.file_type')
  const bytes = new Map<string, number>()
  for (const tensor of headers.flatMap(({ tensors }) => tensors))
    bytes.set(tensor.type, (bytes.get(tensor.type) ?? 0) + tensor.bytes)
  const [most] = [...bytes].toSorted(([, a], [, b]) => b - a)
  return (typeof said === 'number' ? fileTypes[said] : undefined) ?? most?.[0] ?? 'unknown'
}
