import { readFileSync } from 'node:fs'
import { z } from 'zod'

/** A well-known vision-language model with GGUF files on the hub. */
const entrySchema = z.strictObject({
  id: z.string(),
  title: z.string(),
  /** Its names at hosted services and its makers, so that requests written for those work unchanged. */
  aliases: z.array(z.string()),
  /** The repository of the GGUF files. */
  repo: z.string(),
  /** The recommended quantization. */
  quant: z.string(),
  /** In billions, including all experts. */
  parameters: z.number(),
  /** The context that its makers state. */
  contextTokens: z.int(),
  licence: z.string(),
  /** The family of its vision encoder: `clip.projector_type`. */
  family: z.string(),
  use: z.string(),
})

export type CatalogueEntry = z.output<typeof entrySchema>

/**
 * The entries of models/catalogue.json. Sources of its repositories and quantizations: docs/multimodal.md and
 * tools/mtmd/tests.sh of llama.cpp v0.5.0; of families: its conversion/*.py; of the rest: the makers' model cards.
 */
export const catalogue: readonly CatalogueEntry[] = z
  .array(entrySchema)
  .parse(JSON.parse(readFileSync(new URL('../../models/catalogue.json', import.meta.url), 'utf8')))

/** @param name an id, an alias or a repository, in any case */
export function entryOf(name: string): CatalogueEntry | undefined {
  const wanted = name.toLowerCase()
  return catalogue.find((entry) =>
    [entry.repo, ...catalogueNames(entry)].some((other) => other.toLowerCase() === wanted),
  )
}

export const entryOfRepo = (repo: string): CatalogueEntry | undefined => catalogue.find((entry) => entry.repo === repo)

export const catalogueNames = ({ id, aliases }: CatalogueEntry): string[] => [id, ...aliases]

/**
 * The estimated size of a model on disk and in memory, without context, in bytes: its parameters in its quantization, and
 * the vision file.
 */
export const estimatedBytes = ({ parameters, quant }: CatalogueEntry): number =>
  Number(((parameters * 1e9 * (bitsPerWeight[quant] ?? 16)) / 8 + 0.5e9 * Math.min(1, parameters / 2)).toPrecision(2))

/** Averages over whole files of the llama type, from llama.cpp's tools/quantize/README.md. */
const bitsPerWeight: Readonly<Record<string, number>> = {
  IQ2_M: 2.93,
  Q4_K_M: 4.89,
  Q5_K_M: 5.7,
  Q6_K: 6.56,
  Q8_0: 8.5,
  F16: 16,
}
