import { stat } from 'node:fs/promises'
import path from 'node:path'
import { fileTypes, type GgufHeader, headerOf } from '../gguf/index.ts'
import { type ModelCard, parametersOf } from './card.ts'
import { splitParts } from './file-names.ts'
import { decoderFacts, type EncoderFamily, projectorFacts, supports, textOf } from './fit.ts'

/** What the files of a model say about it. */
export interface ModelFacts {
  architecture: string
  layers: number
  /** `Q4_K_M`, or the type of most of its weights. */
  quantization: string
  /** Including those of the vision encoder. */
  parameters: number
  licence: string
  /** `supported`: whether this version can run the encoder. */
  vision: { family: string; supported: boolean; imageSize: number; parameters: number } | null
  files: readonly { file: string; bytes: number }[]
}

export async function factsOf(
  { decoder, projector }: ModelCard,
  families: readonly EncoderFamily[],
): Promise<ModelFacts> {
  const parts = splitParts(decoder)
  const headers = await Promise.all(parts.map(headerOf))
  const [header] = headers
  if (header === undefined) throw new Error('a model without files')
  const vision = projector === null ? null : await headerOf(projector)
  const { architecture, layers } = decoderFacts(header, path.basename(decoder))
  const all = [...headers, ...(vision === null ? [] : [vision])]
  const files = [...parts, ...(projector === null ? [] : [projector])]
  return {
    architecture,
    layers,
    quantization: quantizationOf(headers),
    parameters: all.reduce((sum, one) => sum + parametersOf(one), 0),
    licence: textOf(header.metadata.get('general.license')),
    vision: vision === null ? null : visionFacts(vision, path.basename(projector ?? ''), families),
    files: await Promise.all(files.map(async (file) => ({ file, bytes: (await stat(file)).size }))),
  }
}

function visionFacts(header: GgufHeader, file: string, families: readonly EncoderFamily[]): ModelFacts['vision'] {
  const { family, imageSize } = projectorFacts(header, file, families)
  return { family, supported: supports(families, family), imageSize, parameters: parametersOf(header) }
}

function quantizationOf(headers: readonly GgufHeader[]): string {
  const said = headers[0]?.metadata.get('general.file_type')
  const bytes = new Map<string, number>()
  for (const tensor of headers.flatMap(({ tensors }) => tensors))
    bytes.set(tensor.type, (bytes.get(tensor.type) ?? 0) + tensor.bytes)
  const [most] = [...bytes].toSorted(([, a], [, b]) => b - a)
  return (typeof said === 'number' ? fileTypes[said] : undefined) ?? most?.[0] ?? 'unknown'
}
