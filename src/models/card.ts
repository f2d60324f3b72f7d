import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { OrielError } from '../errors.ts'
import { splitParts } from './file-names.ts'
import { checkFit, type DecoderFacts, decoderFacts, projectorFacts, textOf } from './fit.ts'
import type { GgufHeader, MetadataValue } from './gguf.ts'
import { headerOf } from './headers.ts'

/** A model that can be served, as far as its files tell without loading it. */
export interface ModelCard {
  id: string
  /** Other names that requests may use for it. */
  aliases: readonly string[]
  title: string
  description: string
  /** The decoder's GGUF: the first, if it is split. */
  decoder: string
  /** The vision GGUF (mmproj); null for a model that takes no pictures. */
  projector: string | null
  contextTokens: number
  /** Bytes of all files. */
  bytes: number
  size: ModelSize
  /** Jinja; null where the file has none. */
  chatTemplate: string | null
  /** What its makers recommend for requests that do not say, from the GGUF's `general.sampling.*`. */
  sampling: { temperature?: number; topP?: number; topK?: number; minP?: number }
  /** Whether a message's pictures must come before its text, as Llama 3.2 Vision wants it. */
  picturesFirst: boolean
  /** When the decoder's file was made. Seconds since 1970. */
  created: number
}

/** What a model's memory is reckoned from. */
interface ModelSize {
  layers: number
  /** Bytes of the weights, and how many numbers the vision file's are. */
  decoderBytes: number
  visionBytes: number
  visionParameters: number
  /** Keys and values of 16 bits, of every layer. */
  bytesPerToken: number
}

/** Where a model's files are, and what it is called. */
export interface ModelFiles {
  id: string
  aliases: readonly string[]
  decoder: string
  projector: string | null
}

/**
 * Reads the headers of a model's files and checks that they are whole and belong together.
 * @throws OrielError `invalid` that names the file and what is wrong with it, `not_found` where a file is not there
 */
export async function readCard(files: ModelFiles): Promise<ModelCard> {
  try {
    return await cardOf(files)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error) || error instanceof OrielError) throw error
    // Somebody may be removing it just now.
    throw unfit(`${path.basename(files.decoder)} and what belongs to it cannot be read: ${error.code}.`, error)
  }
}

async function cardOf({ id, aliases, decoder, projector }: ModelFiles): Promise<ModelCard> {
  const header = await headerOf(decoder)
  const facts = decoderFacts(header, path.basename(decoder))
  const parts = await readParts(decoder, header.metadata)
  const vision = projector === null ? null : await headerOf(projector)
  if (projector !== null && vision !== null)
    checkFit(facts, projectorFacts(vision, path.basename(projector)), path.basename(projector))
  const files = await Promise.all([...parts, projector].filter((file) => file !== null).map((file) => stat(file)))
  return {
    id,
    aliases,
    title: textOf(header.metadata.get('general.name')) || id,
    description: textOf(header.metadata.get('general.description')),
    decoder,
    projector,
    contextTokens: facts.contextTokens,
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    size: {
      layers: facts.layers,
      decoderBytes: (await Promise.all(parts.map(headerOf))).reduce((sum, part) => sum + bytesOf(part), 0),
      visionBytes: vision === null ? 0 : bytesOf(vision),
      visionParameters: vision === null ? 0 : parametersOf(vision),
      bytesPerToken: keptPerToken(header, facts),
    },
    chatTemplate: textOf(header.metadata.get('tokenizer.chat_template')) || null,
    sampling: recommended(header.metadata),
    picturesFirst: header.metadata.get('general.architecture') === 'mllama',
    created: Math.floor((files[0]?.mtimeMs ?? 0) / 1000),
  }
}

/** All files of a decoder, each of them whole. @throws OrielError `invalid` where one lacks */
async function readParts(decoder: string, metadata: ReadonlyMap<string, MetadataValue>): Promise<string[]> {
  const count = metadata.get('split.count')
  if (typeof count !== 'number' || count < 2) return [decoder]
  const name = path.basename(decoder)
  if (metadata.get('split.no') !== 0) throw unfit(`${name} is a later part of a split model: name its first part.`)
  const parts = splitParts(decoder)
  if (parts.length !== count)
    throw unfit(`${name} is the first of ${count} parts by its header, and of ${parts.length} by its name.`)
  const there = new Set(await readdir(path.dirname(decoder)))
  const lacking = parts.map((part) => path.basename(part)).filter((part) => !there.has(part))
  if (lacking.length > 0) throw unfit(`${name} is split, and these parts are not there: ${lacking.join(', ')}.`)
  for (const part of parts.slice(1)) await headerOf(part)
  return parts
}

const bytesOf = ({ tensors }: GgufHeader): number => tensors.reduce((sum, { bytes }) => sum + bytes, 0)

export const parametersOf = ({ tensors }: GgufHeader): number =>
  tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0)

/** Where a file does not say how many heads there are, keys and values as wide as the model. */
function keptPerToken({ metadata }: GgufHeader, { architecture, layers, width }: DecoderFacts): number {
  const number = (key: string): number | undefined => {
    const value = metadata.get(`${architecture}.${key}`)
    return typeof value === 'number' ? value : undefined
  }
  const heads = number('attention.head_count') ?? 1
  // Mamba and RWKV: none of it is attention.
  if (heads === 0) return 0
  const shared = number('attention.head_count_kv') ?? heads
  const keys = number('attention.key_length') ?? width / heads
  const values = number('attention.value_length') ?? width / heads
  return layers * shared * (keys + values) * 2
}

const unfit = (message: string, cause?: Error): OrielError =>
  new OrielError('invalid', message, { code: 'bad_model', cause })

function recommended(metadata: ReadonlyMap<string, MetadataValue>): ModelCard['sampling'] {
  const names = { temperature: 'temp', topP: 'top_p', topK: 'top_k', minP: 'min_p' } as const
  const given = Object.entries(names).flatMap(([field, key]) => {
    const value = metadata.get(`general.sampling.${key}`)
    return typeof value === 'number' ? [[field, value] as const] : []
  })
  return Object.fromEntries(given)
}
