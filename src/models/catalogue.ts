import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { packageFile } from '../places.ts'

/** A well-known model that sees or hears, with GGUF files on the hub. */
const entrySchema = z.strictObject({
  id: z.string(),
  title: z.string(),
  /** Its names at hosted services and its makers, so that requests written for those work unchanged. */
  aliases: z.array(z.string()),
  /** The repository of the GGUF files. */
  repo: z.string(),
  /** The recommended quantization. */
  quant: z.string(),
  /** In billions, including all experts and the encoders. */
  parameters: z.number(),
  /** In billions, with what fits embeddings to the decoder. */
  visionParameters: z.number(),
  /** Of these in the matrices of its layers, in billions. */
  visionLayers: z.number(),
  /** Keys and values of all layers in 16 bits, as the makers' `config.json` has them: heads of keys x size of a head x 4 of each layer. */
  kvBytesPerToken: z.int(),
  /** The state of a sequence of a hybrid decoder. */
  stateBytes: z.int().default(0),
  /** The context that its makers state. */
  contextTokens: z.int(),
  licence: z.string(),
  /** The families of its encoders of images and of audio, `clip.projector_type`; null: it has none. */
  sees: z.string().nullable().default(null),
  hears: z.string().nullable().default(null),
  /** Of its decoder: `general.architecture`. */
  architecture: z.string(),
  use: z.string(),
  /**
   * What `bench/speeds.ts` measured of its shape with random weights on the machine of reference: the time to the first token
   * about an image of 512 x 512 pixels, and the tokens of one answer.
   */
  measured: z.strictObject({ imageSeconds: z.number(), tokensPerSecond: z.number() }).optional(),
  /** Whether its repository, quantization or sizes could not be checked against the maker's files. */
  unverified: z.boolean().default(false),
})

export type CatalogueEntry = z.output<typeof entrySchema>

/**
 * The entries of models/catalogue.json. Sources of its repositories and quantizations: docs/multimodal.md and
 * tools/mtmd/tests.sh of llama.cpp v0.5.0; of families and architectures: its conversion/*.py; of the rest: the makers'
 * model cards and `config.json`.
 */
export const catalogue: readonly CatalogueEntry[] = z
  .array(entrySchema)
  .parse(JSON.parse(readFileSync(packageFile('models/catalogue.json'), 'utf8')))

/** @param name an id, an alias or a repository, in any case */
export function entryOf(name: string): CatalogueEntry | undefined {
  const wanted = name.toLowerCase()
  return catalogue.find((entry) =>
    [entry.repo, ...catalogueNames(entry)].some((other) => other.toLowerCase() === wanted),
  )
}

export const entryOfRepo = (repo: string): CatalogueEntry | undefined => catalogue.find((entry) => entry.repo === repo)

export const catalogueNames = ({ id, aliases }: CatalogueEntry): string[] => [id, ...aliases]

/** The machine on which the speeds of the catalogue were measured. */
export const machineOfReference = '2 cores of an AMD EPYC server'

/** The families of all its encoders. */
export const familiesOf = ({ sees, hears }: CatalogueEntry): string[] =>
  [sees, hears].filter((family) => family !== null)

/** What a model that is not here is good for, and whether that is all that is known. */
export const purposeOf = ({ use, unverified }: CatalogueEntry): string => (unverified ? `${use} (unverified)` : use)

/** Most families have 6 to 25 tokens for a second of sound. */
const usualSamplesPerToken = 16_000 / 12.5

/** The sizes from which the memory of a model is computed, estimated for one that is not here. */
export function estimatedSize({
  parameters,
  visionParameters,
  visionLayers,
  kvBytesPerToken,
  stateBytes,
  quant,
  hears,
}: CatalogueEntry) {
  const vision = visionParameters * 1e9
  const decoderBytes = (Math.max(0, parameters * 1e9 - vision) * (bitsPerWeight[quant] ?? 16)) / 8
  // Most vision files have 16 bits for a weight.
  const size = { decoderBytes, visionBytes: vision * 2, bytesPerToken: kvBytesPerToken, bytesPerSequence: stateBytes }
  const samplesPerToken = hears === null ? 0 : usualSamplesPerToken
  return { ...size, visionParameters: vision, visionLayers: visionLayers * 1e9, samplesPerToken }
}

/** The estimated bytes of its files. */
export function estimatedBytes(entry: CatalogueEntry): number {
  const { decoderBytes, visionBytes } = estimatedSize(entry)
  return Number((decoderBytes + visionBytes).toPrecision(2))
}

/** Averages over whole files of the llama type, from llama.cpp's tools/quantize/README.md. */
const bitsPerWeight: Readonly<Record<string, number>> = {
  IQ2_M: 2.93,
  Q4_K_M: 4.89,
  Q5_K_M: 5.7,
  Q6_K: 6.56,
  Q8_0: 8.5,
  F16: 16,
}
