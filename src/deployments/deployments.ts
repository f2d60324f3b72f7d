import type { Config } from '../config.ts'
import { shuttingDown } from '../errors.ts'
import { ownClient } from '../fairness.ts'
import type { Logger } from '../log.ts'
import type { Media } from '../media/index.ts'
import { availableMemory } from '../memory.ts'
import type { AdapterCard, Library, ModelCard } from '../models/index.ts'
import { adapted } from './adapted.ts'
import type { Backend, ModelInfo } from './backend.ts'
import { checkAnswers, checkEmbeds, checkRequest, doesNotAnswer, doesNotEmbed } from './checks.ts'
import { type Configured, ConfiguredDeployments } from './configured.ts'
import { DeployedModels } from './deployed-models.ts'
import { Deployment } from './deployment.ts'
import { infoOf } from './embedded/info.ts'
import { embeds, type Served } from './embedder.ts'
import { type Aliases, firstOf, meantBy } from './fallbacks.ts'
import type { ResourceStore } from './kept.ts'
import { createListing, type Listing } from './listing.ts'
import { MemoryBudget, type Reserved } from './memory-budget.ts'
import { type MemoryPlan, planMemory } from './memory-plan.ts'
import type { NamedModel, UseOptions } from './named-model.ts'
import { adapterCalled, isCalled, readable } from './names.ts'
import { OnDemand } from './on-demand.ts'
import type { ReplicaState } from './replica.ts'
import { type Resolved, Resolver } from './resolver.ts'
import { noTraces, tracesOf } from './routing.ts'
import type { Starter } from './starter.ts'
import { noUpstreams, type UpstreamModels, type UpstreamStatus } from './upstream-models.ts'

/** Default share of the memory that is free at the start that models may take. */
const budgetShare = 0.8

/** Bytes that all models together may take. @param gpuMemory bytes of memory that GPUs have of their own */
export const memoryBudget = ({ memoryBytes }: Config['loading'], gpuMemory = 0): number =>
  memoryBytes || Math.floor(availableMemory() * budgetShare) + gpuMemory

/** The models that answer, by the names that requests use. */
export interface Deployments extends Listing {
  /**
   * The model that requests mean by a name, or a deployment of it.
   * @param account who asks, whose deployments it may use. undefined: those of all
   * @throws OrielError `not_found`; what is wrong with its files
   */
  lookUp(name: string, account?: string): Promise<NamedModel>
  /** The models in memory, and those that are about to be. */
  residents(): readonly ResidentModel[]
  /**
   * Begins to load a model that no request waits for. It stays until another one needs its memory.
   * @throws OrielError as `lookUp` does; after `close`; why it cannot be loaded, if it has just been tried
   */
  load(name: string): Promise<{ id: string; state: ReplicaState }>
  /**
   * Unloads a model when its running requests are over. Its load ends if nobody else waits for it.
   * @param client who asks for it: a model that others have used stays. undefined: whoever runs the server
   * @returns when its memory is free, if no request uses it
   * @throws OrielError `not_found`
   */
  unload(name: string, client?: string): Promise<void>
  /** The models that are ready now. */
  loaded(): readonly Served[]
  /** The servers elsewhere whose models answer here. */
  upstreams(): readonly UpstreamStatus[]
  /** The deployments that somebody has configured. */
  readonly configured: Configured
  /** The adapters that are on them. */
  readonly deployedModels: DeployedModels
  /** The adapters of this machine that can be used. */
  adapters(): Promise<AdapterCard[]>
  /** Holds to the deployments of a store from now on. */
  open(store: ResourceStore): Promise<void>
  /** Adapters of one model that may be loaded at one time. */
  readonly maxAdapters: number
  /** Bytes that models may take, and that they take. */
  readonly memory: {
    readonly budget: number
    readonly taken: number
    /** Takes memory for other work, as `MemoryBudget.reserve` does. */
    reserve(bytes: number, signal: AbortSignal): Promise<Reserved>
  }
  close(): Promise<void>
}

/** A model that takes memory. */
export interface ResidentModel extends Pick<ModelInfo, 'id' | 'aliases'> {
  state: ReplicaState
  /** That it takes. */
  bytes: number
  /** Requests that use it. */
  users: number
  /** How long it has had none, in ms; null while it has. */
  idleMs: number | null
  /** The share that is loaded, 0 to 1. */
  progress: number
}

export interface DeploymentOptions {
  config: Pick<Config, 'engine' | 'loading' | 'media'>
  library: Library
  /** Further models, which are always ready. */
  backends: readonly Backend[]
  /** Models of servers elsewhere, for names that mean none of this machine. */
  upstreams?: UpstreamModels
  /** Further names, as they are now. They come before all others. */
  aliases?: () => Aliases
  /** Models that are named by their files, in addition to those that are found by name. */
  cards: readonly ModelCard[]
  start: Starter
  media: Pick<Media, 'check' | 'prefetch'>
  /** Bytes of memory that GPUs have of their own; undefined: no GPU is used. */
  gpuMemory: number | undefined
  log: Logger
}

export function deploy(options: DeploymentOptions): Deployments {
  const { config, library, backends, cards, start, media, gpuMemory, log } = options
  const { upstreams = noUpstreams, aliases = () => ({}) } = options
  const budgetBytes = memoryBudget(config.loading, gpuMemory)
  const budget = new MemoryBudget(budgetBytes)
  const reread = (card: ModelCard) => readable(library.reread(card))
  const services = { budget, start, reread, config: config.loading, log }
  const planOf = (card: ModelCard): MemoryPlan =>
    planMemory(card, { ...config.engine, maxSamples: config.media.maxSamples }, budgetBytes, gpuMemory !== undefined)
  const onDemand = new OnDemand((card) => new Deployment(card, planOf(card), services))
  const sources = { library, cards, backends, upstreams }
  const resolver = new Resolver(sources, () => ({
    onDemand,
    configured,
    deployedModels,
  }))
  const configured: ConfiguredDeployments = new ConfiguredDeployments({
    find: (name) => resolver.card(name),
    make(card, record) {
      // It answers for the name of its model from now on: what is loaded under that name is its first replica.
      const loaded = onDemand.give(card)
      loaded?.configure(record)
      return loaded ?? new Deployment(card, planOf(card), services, record)
    },
    bytesOf: (card) => planOf(card).total,
    onReload: () => deployedModels.reload(),
    forget: (record) => deployedModels.forget(record),
    budget: budgetBytes,
    sequencesOf: (card) => planOf(card).sequences.running,
    log,
  })
  const deployedModels = new DeployedModels({
    deployments: () => configured.records(() => true),
    adapter: (name) => adapterCalled(name, library),
    load: async (record, card) => configured.runningOf(record)?.loadAdapter(card),
    log,
  })
  const all = (): Deployment[] => [...onDemand.deployments, ...configured.deployments]
  /** What is known of a model: by the deployment that answers, if one does. */
  const knownOf = (id: string): Deployment | undefined => {
    const own = all().filter(({ card }) => card.id === id)
    return own.find(({ state }) => state === 'loaded') ?? own.find(({ active }) => active) ?? onDemand.get(id)
  }
  const listing = createListing({ ...sources, aliases }, { get: knownOf, active: () => all().filter(isActive) })
  let closed = false

  /** @param check refuses a model before it is loaded */
  const use = async (
    { deployed, adapter }: Resolved,
    signal: AbortSignal,
    options: UseOptions = {},
    check: (info: ModelInfo) => void = () => {},
  ): Promise<Served> => {
    const { timeoutMs = config.loading.timeoutMs, attachments = [], client = ownClient, unload = false } = options
    const { settings, prompt, knows = () => true, onCold } = options
    const deployment = await deployed()
    if (closed) throw shuttingDown()
    const info = deployment instanceof Deployment ? infoOf(deployment.card) : deployment.info
    check(info)
    await checkRequest(info, attachments, settings?.wantsBoxes ?? false, async () =>
      (await listing.list()).filter(({ id, state }) => state === 'not_pulled' || knows(id)),
    )
    if (!(deployment instanceof Deployment)) return deployment
    media.check(attachments)
    if (!deployment.isReady) {
      onCold?.()
      media.prefetch(attachments, client, signal)
    }
    const isolation = [...(settings?.isolation ?? []), adapter?.id ?? '']
    const traces = () =>
      prompt === undefined ? noTraces : tracesOf(prompt, options.attachments, isolation, settings?.affinity)
    const backend = await deployment.use(signal, timeoutMs, traces)
    if (client !== ownClient) deployment.usedBy(client)
    if (unload) void deployment.leave(client)
    return backend
  }
  const lookUp = async (name: string, account?: string): Promise<NamedModel> => {
    const model = await resolver.resolve(name, account)
    return {
      id: model.id,
      adapter: model.adapter,
      hold: (signal, options) => use(model, signal, options),
      async backend(signal, options) {
        const served = await use(model, signal, options, checkAnswers)
        if (embeds(served)) throw doesNotAnswer(served.info)
        return model.adapter === undefined ? served : adapted(served, model.adapter)
      },
      async embedder(signal, options) {
        const served = await use(model, signal, options, checkEmbeds)
        if (!embeds(served)) throw doesNotEmbed(served.info)
        return served
      },
    }
  }
  return {
    lookUp(name, account) {
      const names = meantBy(name, aliases())
      return firstOf(names, (one) => lookUp(one, account), log)
    },
    ...listing,
    residents() {
      const active = all().filter(isActive)
      const models = new Set(active.map(({ card }) => card.id))
      return [...models].map((id) => residentOf(active.filter(({ card }) => card.id === id)))
    },
    async load(name) {
      const [meant = name] = meantBy(name, aliases())
      const deployment = await (await resolver.resolve(meant)).deployed()
      if (closed) throw shuttingDown()
      if (!(deployment instanceof Deployment)) return { id: deployment.info.id, state: 'loaded' }
      const loaded = deployment.start()
      // Later failures are told by its state.
      loaded.catch(() => {})
      // It has just failed, and is not tried again yet.
      if (!deployment.active) await loaded
      return { id: deployment.card.id, state: deployment.state }
    },
    async unload(name, client) {
      const [meant = name] = meantBy(name, aliases())
      const active = all().filter((one) => one.active && isCalled(one.card, meant))
      if (active.length === 0) await listing.describe(name)
      await Promise.all(active.map((one) => one.leave(client)))
    },
    loaded: () => [...backends, ...all().flatMap(({ backends }) => backends)],
    ...{ configured, deployedModels },
    upstreams: () => upstreams.upstreams(),
    adapters: async () => (await library.adapters()).adapters,
    async open(store) {
      // What is purged of the deployments takes its adapters with it.
      await deployedModels.open(store)
      await configured.open(store)
    },
    maxAdapters: config.engine.maxAdapters,
    memory: {
      budget: budgetBytes,
      get taken() {
        return budget.taken
      },
      reserve: (bytes, signal) => budget.reserve(bytes, signal),
    },
    async close() {
      closed = true
      await Promise.all([...backends, ...onDemand.deployments, configured].map((one) => one.close()))
    },
  }
}

const isActive = ({ active }: Deployment): boolean => active

/** @param deployments of one model, all of them active */
function residentOf(deployments: readonly Deployment[]): ResidentModel {
  const [{ card }] = deployments as [Deployment]
  const states = deployments.map(({ state }) => state)
  const users = deployments.reduce((sum, { users }) => sum + users, 0)
  const usedAt = Math.max(...deployments.map(({ usedAt }) => usedAt))
  return {
    ...{ id: card.id, aliases: card.aliases, users },
    state: (['loaded', 'loading', 'failed'] as const).find((state) => states.includes(state)) ?? 'available',
    bytes: deployments.reduce((sum, { bytes }) => sum + bytes, 0),
    idleMs: users > 0 ? null : performance.now() - usedAt,
    progress: Math.max(...deployments.map(({ progress }) => progress)),
  }
}
