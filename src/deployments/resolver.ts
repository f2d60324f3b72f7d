import type { OrielError } from '../errors.ts'
import type { AdapterCard, Library, ModelCard } from '../models/index.ts'
import type { Backend } from './backend.ts'
import type { ConfiguredDeployments } from './configured.ts'
import type { DeployedModels } from './deployed-models.ts'
import type { Deployment } from './deployment.ts'
import {
  adapterIn,
  cardOf,
  checkFits,
  isCalled,
  neitherAdapterNorDeployment,
  parseName,
  withoutAccount,
} from './names.ts'
import type { OnDemand } from './on-demand.ts'
import type { DeploymentRecord } from './record.ts'
import { noDeployment } from './registry.ts'
import { besideThose, NamesHere, type UpstreamModels } from './upstream-models.ts'

/** What a name means, and what will serve it. */
export interface Resolved {
  /** The id of the model. With an adapter it is that of its base. */
  id: string
  /** undefined: nobody has configured it. */
  record?: DeploymentRecord
  adapter?: AdapterCard
  deployed(): Promise<Backend | Deployment>
}

/** Where models come from. */
export interface Sources {
  library: Library
  /** Models that are named by their files, in addition to those that are found by name. */
  cards: readonly ModelCard[]
  /** Further models, which are always ready. */
  backends: readonly Backend[]
  upstreams: UpstreamModels
}

/** What serves them. */
interface Held {
  onDemand: OnDemand
  configured: ConfiguredDeployments
  deployedModels: DeployedModels
}

/** Resolves the names of requests. */
export class Resolver {
  readonly #sources: Sources
  readonly #held: () => Held
  readonly #namesHere: NamesHere

  constructor(sources: Sources, held: () => Held) {
    this.#sources = sources
    this.#held = held
    this.#namesHere = new NamesHere(sources.library, sources.cards)
  }

  /**
   * @param account who asks, whose deployments the name may mean. undefined: those of all
   * @throws OrielError `not_found`; what is wrong with its files
   */
  async resolve(name: string, account?: string): Promise<Resolved> {
    const remote = await this.#elsewhere(name)
    if (remote !== undefined) return { id: remote.info.id, deployed: async () => remote }
    const found = this.#isHere(name) ? undefined : await adapterIn(name, this.#sources.library, () => this.#near())
    const { deployedModels } = this.#held()
    if (found === undefined) {
      const model = await this.#model(name, account)
      const merged = model.record && (await deployedModels.mergedInto(model.record))
      if (merged === undefined) return model
      checkFits(merged, model.id)
      return { ...model, adapter: merged }
    }
    const { adapter, base } = found
    const own = name.includes('#') ? undefined : deployedModels.defaultOf(adapter.id, this.#recordsFor(account))
    const model = own === undefined ? await this.#model(base, account) : this.#at(own)
    checkFits(adapter, model.id)
    return { ...model, adapter }
  }

  /** The card of a model of this machine. @throws OrielError as `cardOf` does */
  async card(name: string): Promise<ModelCard> {
    return this.#activeCalled(name)?.card ?? (await this.#read(name))
  }

  /** The deployments whose models take memory, or are about to. */
  #active(): Deployment[] {
    const { onDemand, configured } = this.#held()
    return [...onDemand.deployments, ...configured.deployments].filter(({ active }) => active)
  }

  #activeCalled(name: string): Deployment | undefined {
    return this.#active().find(({ card }) => isCalled(card, name))
  }

  #read(name: string): Promise<ModelCard> {
    const { library, cards, backends, upstreams } = this.#sources
    const others = () => [...backends, ...upstreams.list().map(({ backend }) => backend)].map(({ info }) => info.id)
    return cardOf(name, library, cards, others)
  }

  #ready(name: string): Backend | undefined {
    return this.#sources.backends.find(({ info }) => isCalled(info, name))
  }

  /** Whether a name means a model that is known without a look at the files. */
  #isHere(name: string): boolean {
    return this.#activeCalled(name) !== undefined || this.#ready(name) !== undefined
  }

  /** Models that an adapter of several is rather used with. */
  #near(): ModelCard[] {
    return [...this.#active().map(({ card }) => card), ...this.#sources.cards]
  }

  /** The model that servers elsewhere have of this name, if this one has none. */
  async #elsewhere(name: string): Promise<Backend | undefined> {
    const { upstreams } = this.#sources
    if (this.#isHere(name) || upstreams.upstreams().length === 0 || (await this.#namesHere.has(name))) return undefined
    await upstreams.known(name)
    const remote = upstreams.find(name)
    if (remote === undefined) return undefined
    const names = await this.#namesHere.all()
    const infos = besideThose((id) => names.has(id) || this.#isHere(id), remote.info)
    return {
      ...remote,
      info: infos.find(({ id }) => id === name || id === withoutAccount(name)) ?? infos[0] ?? remote.info,
    }
  }

  /** What serves a model of this machine, by a name without an adapter. */
  async #model(name: string, account: string | undefined): Promise<Resolved> {
    const ready = this.#ready(name)
    if (ready !== undefined) return { id: ready.info.id, deployed: async () => ready }
    const { model, adapter, deployment } = parseName(name)
    if (deployment !== null) {
      const card = model === null ? undefined : await this.#read(model)
      const meant = this.#recordsFor(account).find(
        ({ account, id, model }) =>
          id === deployment.id &&
          (deployment.account === null || deployment.account === account) &&
          (card === undefined || card.id === model),
      )
      if (meant !== undefined) return this.#at(meant)
      throw adapter === null ? noDeployment(deployment.id).at('model') : await this.#neither(adapter, card)
    }
    const active = this.#activeCalled(name)
    const card = active?.card ?? (await this.#read(name))
    // The oldest deployment of a model answers for its name, so that it is not loaded twice.
    const own = () => this.#recordsFor(account).find(({ model, maxReplicas }) => model === card.id && maxReplicas > 0)
    const record = own()
    if (record !== undefined) return this.#at(record)
    const { onDemand, configured } = this.#held()
    return {
      id: card.id,
      // Meanwhile it may have been loaded for others, or unloaded and replaced, or have got a deployment.
      deployed: async () => {
        const configuredNow = own()
        if (configuredNow !== undefined) return configured.deployed(configuredNow)
        const loaded = onDemand.deployments.find((one) => one.active && isCalled(one.card, name))
        return loaded ?? onDemand.of(active === undefined ? card : await this.#read(name))
      },
    }
  }

  #recordsFor(account: string | undefined): DeploymentRecord[] {
    return this.#held().configured.records((owner) => account === undefined || owner === account)
  }

  #at(record: DeploymentRecord): Resolved {
    return { id: record.model, record, deployed: () => this.#held().configured.deployed(record) }
  }

  /** What is behind `#` is the name of nothing. @param card of the model before it */
  async #neither(name: string, card: ModelCard | undefined): Promise<OrielError> {
    const { adapters } = await this.#sources.library.adapters()
    const own = adapters.filter(({ fits }) => card !== undefined && fits.includes(card.id))
    return neitherAdapterNorDeployment(
      name,
      own.map(({ id }) => id),
    )
  }
}
