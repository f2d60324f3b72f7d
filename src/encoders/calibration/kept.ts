import { cpus } from 'node:os'
import { z } from 'zod'
import { type Form, forms } from '../graph/products.ts'
import type { Modality } from '../graph/source.ts'
import { type CacheSettings, WeightCache } from '../graph/weight-cache.ts'

/** To be increased when a choice of before must not be used any more. */
const version = 3

const share = z.number().nonnegative()
const choiceSchema = z.object({
  /** The form of each matrix of the layers, by its name. */
  forms: z.record(z.string(), z.enum(forms)),
  /** The error of the embeddings, as a share of them. */
  error: share,
  /** The error that was aimed at. */
  aim: share,
  /** The error of ggml, which computes with the number types of the file. */
  ggml: share,
  /** The time of an encoding, relative to one in 32-bit floats. */
  ratio: share,
  /** Bytes of the weights of the layers. */
  bytes: share,
  /** Whether a session packs the weights. */
  packs: z.boolean(),
})

/** The forms that were chosen for an encoder on this machine, and what came of it. */
export type Choice = Readonly<z.output<typeof choiceSchema>>

/** Times differ with the machine, and so does the choice. */
const nameFor = (modality: Modality, threads: number): string =>
  `${modality === 'vision' ? '' : `${modality} `}forms ${version}: ${cpus()[0]?.model ?? ''}, ${threads} threads`

/** The choice that an earlier calibration kept. */
export function recallChoice(cache: WeightCache, modality: Modality, threads: number): Choice | undefined {
  return choiceSchema.safeParse(cache.recall(nameFor(modality, threads))).data
}

export const keepChoice = (cache: WeightCache, modality: Modality, threads: number, choice: Choice): void =>
  cache.keep(nameFor(modality, threads), choice)

/** The choice for one half of a file; undefined if none has been made on this machine. */
export function chosenFor(
  file: string,
  threads: number,
  settings: CacheSettings,
  modality: Modality = 'vision',
): Choice | undefined {
  const cache = WeightCache.of(file, settings)
  return cache === null ? undefined : recallChoice(cache, modality, threads)
}

/** How many matrices have each form. */
export function formCounts(chosen: Choice['forms']): Readonly<Partial<Record<Form, number>>> {
  const counts: Partial<Record<Form, number>> = {}
  for (const form of Object.values(chosen)) counts[form] = (counts[form] ?? 0) + 1
  return counts
}
