import { stat } from 'node:fs/promises'
import path from 'node:path'
import type { ModelCard } from './card.ts'
import { splitParts } from './file-names.ts'
import { decoderFacts, projectorFacts, textOf } from './fit.ts'
import { type GgufHeader, readGguf } from './gguf.ts'
import { fileTypes } from './gguf-types.ts'

/** What there is to know of a model without loading it. */
export interface ModelFacts {
  architecture: string
  layers: number
  /** `Q4_K_M`, or what most of its weights are. */
  quantization: string
  /** Numbers that were trained, the vision encoder's among them. */
  parameters: number
  licence: string
  vision: { family: string; imageSize: number; parameters: number } | null
  files: readonly { file: string; bytes: number }[]
  /** Memory of the weights, and what each token of context adds to it; null where a file does not say. */
  memory: { weights: number; perToken: number | null }
}

/** @throws OrielError as `readGguf` does */
export async function factsOf({ decoder, projector }: ModelCard): Promise<ModelFacts> {
  const parts = splitParts(decoder)
  const headers = await Promise.all(parts.map(readGguf))
  const [header] = headers
  if (header === undefined) throw new Error('a model without files')
  const vision = projector === null ? null : await readGguf(projector)
  const { architecture, layers } = decoderFacts(header, path.basename(decoder))
  const all = [...headers, ...(vision === null ? [] : [vision])]
  const files = [...parts, ...(projector === null ? [] : [projector])]
  return {
    architecture,
    layers,
    quantization: quantizationOf(headers),
    parameters: all.reduce((sum, one) => sum + parametersOf(one), 0),
    licence: textOf(header.metadata.get('general.license')),
    vision:
      vision === null
        ? null
        : { ...projectorFacts(vision, path.basename(projector ?? '')), parameters: parametersOf(vision) },
    files: await Promise.all(files.map(async (file) => ({ file, bytes: (await stat(file)).size }))),
    memory: {
      weights: all.flatMap(({ tensors }) => tensors).reduce((sum, { bytes }) => sum + bytes, 0),
      perToken: keptPerToken(header, architecture, layers),
    },
  }
}

const parametersOf = ({ tensors }: GgufHeader): number =>
  tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0)

function quantizationOf(headers: readonly GgufHeader[]): string {
  const said = headers[0]?.metadata.get('general.file_type')
  const bytes = new Map<string, number>()
  for (const tensor of headers.flatMap(({ tensors }) => tensors))
    bytes.set(tensor.type, (bytes.get(tensor.type) ?? 0) + tensor.bytes)
  const [most] = [...bytes].toSorted(([, a], [, b]) => b - a)
  return (typeof said === 'number' ? fileTypes[said] : undefined) ?? most?.[0] ?? 'unknown'
}

/** Keys and values of 16 bits, of every layer. */
function keptPerToken({ metadata }: GgufHeader, architecture: string, layers: number): number | null {
  const number = (key: string): number | null => {
    const value = metadata.get(`${architecture}.${key}`)
    return typeof value === 'number' ? value : null
  }
  const heads = number('attention.head_count')
  const shared = number('attention.head_count_kv') ?? heads
  const width = number('embedding_length')
  if (heads === null || shared === null || width === null) return null
  const keys = number('attention.key_length') ?? width / heads
  const values = number('attention.value_length') ?? width / heads
  return layers * shared * (keys + values) * 2
}
