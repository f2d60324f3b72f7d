import { OrielError } from '../errors.ts'
import { type CatalogueEntry, catalogue, entryOf, type ModelCard, type ModelFacts, purposeOf } from '../models/index.ts'
import type { ModelInfo } from './backend.ts'
import type { Deployment } from './deployment.ts'
import { infoOf, inputsOf } from './embedded/info.ts'
import type { Aliases } from './fallbacks.ts'
import { isCalled, missing, unfit } from './names.ts'
import type { ReplicaState } from './replica.ts'
import type { Sources } from './resolver.ts'
import { besideThose } from './upstream-models.ts'

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

/** @param known what has been loaded of a model by its id, or could not be; and what is active */
export function createListing(
  { library, cards, backends, upstreams, aliases }: Sources & { aliases: () => Aliases },
  known: { get(id: string): Deployment | undefined; active(): readonly Deployment[] },
): Listing {
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
  /** Models of servers elsewhere whose names mean none of these. */
  const elsewhere = (own: readonly Pick<ListedModel, 'id' | 'aliases'>[]): ListedModel[] => {
    const names = namesOf(own)
    return upstreams.list().flatMap(({ backend, fault }) =>
      besideThose((name) => names.has(name), backend.info).map((info): ListedModel => {
        const state = fault === undefined ? 'loaded' : 'failed'
        return { ...info, state, progress: null, error: fault?.message ?? null }
      }),
    )
  }
  const list = async (): Promise<ListedModel[]> => {
    await upstreams.known()
    const own = [...always, ...(await here()).map(listed).toSorted(loadedFirst)]
    const all = withAliases([...own, ...elsewhere(own)], aliases())
    const names = namesOf(all)
    return [...all, ...catalogue.filter((entry) => !names.has(entry.id)).map(pullable)]
  }

  return {
    list,

    async describe(name) {
      const found = (await list()).find((model) => isCalled(model, name))
      if (found !== undefined) return found
      const entry = entryOf(name)
      if (entry !== undefined) return pullable(entry)
      const known = [...always, ...cards, ...elsewhere([])].map(({ id }) => id)
      throw await missing(name, known, library)
    },

    async inspect() {
      await upstreams.known()
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
      const own = (await Promise.all(inspected)).flat().toSorted(loadedFirst)
      const withoutFiles = (model: ListedModel): InspectedModel => ({ ...model, facts: null, bytes: 0, resident: null })
      const all = [...always.map(withoutFiles), ...own]
      return withAliases([...all, ...elsewhere(all).map(withoutFiles)], aliases())
    },
  }
}

const namesOf = (models: readonly Pick<ListedModel, 'id' | 'aliases'>[]): Set<string> =>
  new Set(models.flatMap(({ id, aliases }) => [id, ...aliases]))

/** Models with the names that the configuration gives them: each to the first that it means. */
function withAliases<Model extends ListedModel>(models: readonly Model[], aliases: Aliases): Model[] {
  const given = new Map<Model, string[]>()
  for (const [alias, names] of Object.entries(aliases)) {
    if (models.some((model) => isCalled(model, alias))) continue
    const [first] = names.flatMap((name) => models.find((model) => isCalled(model, name)) ?? [])
    if (first !== undefined) given.set(first, [...(given.get(first) ?? []), alias])
  }
  return models.map((model) => ({ ...model, aliases: [...model.aliases, ...(given.get(model) ?? [])] }))
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
