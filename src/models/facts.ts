import { stat } from 'node:fs/promises'
import path from 'node:path'
import { type ModelCard, parametersOf } from './card.ts'
import { splitParts } from './file-names.ts'
import { decoderFacts, projectorFacts, textOf } from './fit.ts'
import type { GgufHeader } from './gguf.ts'
import { fileTypes } from './gguf-types.ts'
import { headerOf } from './headers.ts'

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
}

/** @throws OrielError as `readGguf` does */
export async function factsOf({ decoder, projector }: ModelCard): Promise<ModelFacts> {
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
    vision:
      vision === null
        ? null
        : { ...projectorFacts(vision, path.basename(projector ?? '')), parameters: parametersOf(vision) },
    files: await Promise.all(files.map(async (file) => ({ file, bytes: (await stat(file)).size }))),
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
