import { OrielError } from '../errors.ts'
import {
  type CatalogueEntry,
  catalogue,
  entryOf,
  type Library,
  type ModelCard,
  type ModelFacts,
  purposeOf,
} from '../models/index.ts'
import type { Backend, ModelInfo } from './backend.ts'
import type { Deployment } from './deployment.ts'
import { infoOf, inputsOf } from './embedded/info.ts'
import { isCalled, missing, unfit } from './names.ts'
import type { ReplicaState } from './replica.ts'

/** A model that requests may name, or that can be downloaded. */
export interface ListedModel extends ModelInfo {
  state: ReplicaState | 'not_pulled'
  /** The share that is loaded, 0 to 1; null unless it is loading. */
  progress: number | null
  /** Why it cannot be loaded, or why it takes only texts though it is. */
  error: string | null
}

/** A model of this machine with what its files say. */
export interface InspectedModel extends ListedModel {
  /** null: code of the program answers for it, or its files cannot be read. */
  facts: Omit<ModelFacts, 'files'> | null
  /** Of its files. */
  bytes: number
  /** null unless it is loaded by this server. */
  resident: { bytes: number; idleAt: Date | null } | null
}

/** The models of this machine and of the catalogue. */
export interface Listing {
  /** The models on this machine, the loaded ones first, and those of the catalogue that can be downloaded. */
  list(): Promise<ListedModel[]>
  /** @throws OrielError `not_found` */
  describe(name: string): Promise<ListedModel>
  /** The models on this machine that can be used, the loaded ones first. */
  inspect(): Promise<InspectedModel[]>
}

/**
 * @param cards models that are named by their files, in addition to those that are found by name
 * @param backends further models, which are always ready
 * @param known what has been loaded of a model by its id, or could not be; and what is active
 */
export function createListing(
  library: Library,
  cards: readonly ModelCard[],
  backends: readonly Backend[],
  known: { get(id: string): Deployment | undefined; active(): readonly Deployment[] },
): Listing {
  const named = [...backends.map(({ info }) => info), ...cards].map(({ id }) => id)
  const listed = ({ id, card, fault }: FoundModel): ListedModel => {
    const deployment = known.get(id)
    // Its failure is that of other files.
    const isOther = deployment?.active === false && card !== undefined && deployment.card.version !== card.version
    const { state = 'available', backends: [backend] = [], failure, progress = 0 } = isOther ? {} : (deployment ?? {})
    const described = card === undefined ? { ...unlisted, id, title: id } : infoOf(card)
    const isFailed = fault !== undefined && !deployment?.active
    return {
      ...(backend?.info ?? described),
      state: isFailed ? 'failed' : state,
      progress: state === 'loading' ? progress : null,
      error: (fault === undefined ? failure : unfit(fault))?.message ?? null,
    }
  }

  const rereadIfPossible = async (card: ModelCard): Promise<FoundModel> => {
    try {
      return { id: card.id, card: await library.reread(card), fault: undefined }
    } catch (error) {
      if (!(error instanceof OrielError)) throw error
      return { id: card.id, card, fault: error }
    }
  }
  /** Every model on this machine once: those that the settings name first. A loaded one may have lost its files. */
  const here = async (): Promise<FoundModel[]> => {
    const found = new Map<string, FoundModel>()
    const add = (one: FoundModel): void => {
      found.set(one.id, { ...one, card: one.card ?? found.get(one.id)?.card })
    }
    const { models, broken } = await library.list()
    const now = await Promise.all(cards.map(rereadIfPossible))
    for (const one of now) add(one)
    for (const card of models) if (!found.has(card.id)) add({ id: card.id, card, fault: undefined })
    for (const { id, error } of broken) if (!found.has(id)) add({ id, card: undefined, fault: error })
    for (const { card } of known.active()) add({ id: card.id, card, fault: found.get(card.id)?.fault })
    return [...found.values()]
  }
  const always = backends.map(({ info }): ListedModel => ({ ...info, state: 'loaded', progress: null, error: null }))
  const list = async (): Promise<ListedModel[]> => {
    const all = (await here()).map(listed).toSorted(loadedFirst)
    const names = new Set([...always, ...all].flatMap(({ id, aliases }) => [id, ...aliases]))
    return [...always, ...all, ...catalogue.filter((entry) => !names.has(entry.id)).map(pullable)]
  }

  return {
    list,

    async describe(name) {
      const found = (await list()).find((model) => isCalled(model, name))
      if (found !== undefined) return found
      const entry = entryOf(name)
      if (entry !== undefined) return pullable(entry)
      throw await missing(name, named, library)
    },

    async inspect() {
      const inspected = (await here()).map(async (found): Promise<InspectedModel[]> => {
        const { card, fault } = found
        if (card === undefined || (fault !== undefined && !known.get(card.id)?.active)) return []
        const { backends = [], bytes, idleAt } = known.get(card.id) ?? {}
        const model = {
          ...listed(found),
          facts: await library.facts(card).catch(() => null),
          bytes: card.bytes,
          resident: backends.length === 0 || bytes === undefined ? null : { bytes, idleAt: idleAt ?? null },
        }
        return [model]
      })
      return [
        ...always.map((model) => ({ ...model, facts: null, bytes: 0, resident: null })),
        ...(await Promise.all(inspected)).flat().toSorted(loadedFirst),
      ]
    },
  }
}

/** A model on this machine. */
interface FoundModel {
  id: string
  /** What its files say, or said when it was loaded. */
  card: ModelCard | undefined
  /** Why its files cannot be loaded. */
  fault: OrielError | undefined
}

const loadedFirst = (a: ListedModel, b: ListedModel): number =>
  Number(b.state === 'loaded') - Number(a.state === 'loaded')

const unlisted = {
  aliases: [],
  description: '',
  created: 0,
  contextTokens: 0,
  inputs: [],
  tools: false,
  thoughts: false,
  boxes: false,
  progress: null,
} as const

const pullable = (entry: CatalogueEntry): ListedModel => ({
  ...unlisted,
  ...{ id: entry.id, aliases: entry.aliases, title: entry.title, contextTokens: entry.contextTokens },
  description: purposeOf(entry),
  inputs: inputsOf({
    sees: entry.sees !== null,
    hears: entry.hears !== null,
    contextTokens: entry.contextTokens,
  }),
  state: 'not_pulled',
  error: null,
})
