import type { Config } from '../config.ts'
import type { Deployments, InspectedModel, ListedModel } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import {
  type CatalogueEntry,
  entryOf,
  estimatedBytes,
  type Library,
  type ModelCard,
  type ModelFile,
  type Origin,
  Pulls,
  type Uploads,
} from '../models/index.ts'
import { within } from '../within.ts'
import { type Estimates, estimatesFor } from './estimates.ts'
import { type ImageSize, type ImageTokens, imageTokens } from './image-tokens.ts'

/** A model that this machine has, or could have. */
export interface MachineModel extends Omit<ListedModel, 'tools' | 'thoughts'> {
  /** null: its files are not here to tell. */
  readonly tools: boolean | null
  readonly thoughts: boolean | null
  /** On the hub; null for other models. */
  readonly repo: string | null
  /** Of its files; estimated for one that is not here. */
  readonly bytes: number
  readonly licence: string | null
  readonly architecture: string | null
  readonly parameters: number | null
  readonly quantization: string | null
  readonly vision: { readonly family: string; readonly supported: boolean } | null
  /** What it takes when it is loaded; null: not known. */
  readonly memoryBytes: number | null
  /** Whether models may take that much here. */
  readonly fits: boolean | null
  /** To the first word about a usual image, in ms, estimated; null: not known. */
  readonly imageMs: number | null
  /** Whether its files may be removed now. */
  readonly removable: boolean
}

/** The models of this machine, as whoever runs it sees them. */
export interface Machine {
  /** Whether a GPU computes. */
  readonly gpu: boolean
  readonly pulls: Pulls
  readonly uploads: Uploads
  /** The loaded ones first, then the others here, then those of the catalogue. */
  list(): Promise<MachineModel[]>
  /** What an image costs with each model here that reads images. None is loaded for it. */
  imageTokens(size: ImageSize): Promise<{ id: string; tokens: ImageTokens }[]>
  /** The files of a model or an adapter. @throws OrielError `not_found` */
  files(name: string): Promise<ModelFile[]>
  /**
   * Removes the files of a model that is not in memory.
   * @param dryRun only says what would be removed
   * @throws OrielError `not_found`; `invalid` for the built-in model; `precondition_failed` for one that is in memory or pulled
   */
  remove(name: string, options?: { dryRun?: boolean }): Promise<{ id: string; files: string[]; bytes: number }>
}

export interface MachineOptions {
  config: Pick<Config, 'engine' | 'media'>
  library: Library
  deployments: Deployments
  /** Models that are named by their files. */
  cards: readonly ModelCard[]
  gpu: boolean
  log: Logger
}

/** How long a list waits for the speed of this machine, in ms. It is measured once a day at most. */
const longestMeasurement = 3000

export function createMachine({ config, library, deployments, cards, gpu, log }: MachineOptions): Machine {
  const engine = { ...config.engine, maxSamples: config.media.maxSamples }
  const estimates = estimatesFor(library, { engine, memory: deployments.memory.budget, gpu })
  /** By id, as requests reach them. */
  const cardsHere = async (): Promise<Map<string, ModelCard>> => {
    const { models } = await library.list()
    return new Map([...models, ...cards].map((card) => [card.id, card]))
  }
  return {
    gpu,
    pulls: new Pulls(library, log),
    uploads: library.uploads,
    files: library.files,
    async list() {
      const [all, inspected, origins, here] = await Promise.all([
        deployments.list(),
        deployments.inspect(),
        library.origins(),
        cardsHere(),
      ])
      const inMemory = new Set(deployments.residents().map(({ id }) => id))
      const details = new Map(inspected.map((model) => [model.id, model]))
      return Promise.all(
        all.map(async (model): Promise<MachineModel> => {
          const { id } = model
          const entry = model.state === 'not_pulled' ? entryOf(id) : undefined
          if (entry !== undefined) return { ...model, ...pullable(entry, library, estimates) }
          const origin = origins.get(id)
          const repo = origin?.kind === 'hub' ? origin.repo : null
          const card = here.get(id)
          return {
            ...model,
            ...factsOf(details.get(id), repo),
            ...(await needsOf(card, estimates)),
            repo,
            removable: isRemovable(origin) && !inMemory.has(id),
          }
        }),
      )
    },

    async imageTokens(size) {
      const counted = [...(await cardsHere()).values()].map(async ({ id, projector }) => {
        if (projector === null) return []
        // Those whose family is not supported are listed with their error.
        const [tokens] = await imageTokens(projector, [size]).catch(() => [])
        return tokens === undefined ? [] : [{ id, tokens }]
      })
      return (await Promise.all(counted)).flat()
    },

    async remove(name, { dryRun = false } = {}) {
      const removal = await library.removal(name)
      const { id, decoder, files, bytes } = removal
      // A setting may name the same file.
      const ids = [id, ...cards.filter((card) => card.decoder === decoder).map((card) => card.id)]
      if (deployments.residents().some((model) => ids.includes(model.id)))
        throw new OrielError('precondition_failed', `The model ${id} is in memory. Unload it first.`, {
          param: 'model',
          code: 'model_in_memory',
        })
      const names = files.map((file) => file.split(/[\\/]/).at(-1) ?? file)
      if (dryRun) return { id, files: names, bytes }
      const freed = await removal.remove()
      log.info({ model: id, bytes: freed }, 'a model was removed')
      return { id, files: names, bytes: freed }
    },
  }
}

const isRemovable = (origin: Origin | undefined): boolean => origin !== undefined && origin.kind !== 'built-in'

/** Few files say what their licence is. */
function factsOf(inspected: InspectedModel | undefined, repo: string | null) {
  const { facts = null, bytes = 0 } = inspected ?? {}
  return {
    bytes,
    licence: facts?.licence || (entryOf(repo ?? '')?.licence ?? null),
    architecture: facts?.architecture ?? null,
    parameters: facts?.parameters ?? null,
    quantization: facts?.quantization ?? null,
    vision: facts?.vision ?? null,
  }
}

async function needsOf(card: ModelCard | undefined, estimates: Estimates) {
  if (card === undefined) return { memoryBytes: null, fits: null, imageMs: null }
  const { fits, bytes } = estimates.fits(card)
  const seconds = await within(
    longestMeasurement,
    estimates.secondsFor(card).catch(() => null),
  )
  return { memoryBytes: bytes, fits, imageMs: seconds == null ? null : Math.round(seconds * 1000) }
}

function pullable(entry: CatalogueEntry, library: Library, estimates: Estimates) {
  const { fits, bytes: memoryBytes } = estimates.fits(entry)
  return {
    ...{ tools: null, thoughts: null, repo: entry.repo, licence: entry.licence, architecture: null },
    ...{ parameters: entry.parameters * 1e9, quantization: entry.quant },
    vision: entry.sees === null ? null : { family: entry.sees, supported: library.supports(entry.sees) },
    ...{ bytes: estimatedBytes(entry), memoryBytes, fits, imageMs: null, removable: false },
  }
}
