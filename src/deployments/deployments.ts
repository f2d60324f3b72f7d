import type { Config } from '../config.ts'
import { shuttingDown } from '../errors.ts'
import { ownClient } from '../fairness.ts'
import type { Logger } from '../log.ts'
import type { AttachmentSource, Media } from '../media/index.ts'
import { availableMemory } from '../memory.ts'
import type { Library, ModelCard } from '../models/index.ts'
import type { Settings } from './ask.ts'
import type { Backend, ModelInfo } from './backend.ts'
import { checkAnswers, checkEmbeds, checkRequest, doesNotAnswer, doesNotEmbed } from './checks.ts'
import { Deployment, type DeploymentState, type Starter } from './deployment.ts'
import { infoOf } from './embedded/info.ts'
import { type Embedder, embeds, type Served } from './embedder.ts'
import { createListing, type Listing } from './listing.ts'
import { MemoryBudget } from './memory-budget.ts'
import { planMemory } from './memory-plan.ts'
import { cardOf, isCalled, readable } from './names.ts'

/** Default share of the memory that is free at the start that models may take. */
const budgetShare = 0.8

/** Bytes that all models together may take. @param gpuMemory bytes of memory that GPUs have of their own */
export const memoryBudget = ({ memoryBytes }: Config['loading'], gpuMemory = 0): number =>
  memoryBytes || Math.floor(availableMemory() * budgetShare) + gpuMemory

/** The models that answer, by the names that requests use. */
export interface Deployments extends Listing {
  /** The model that requests mean by a name. @throws OrielError `not_found`; what is wrong with its files */
  lookUp(name: string): Promise<NamedModel>
  /** The models in memory, and those that are about to be. */
  residents(): readonly ResidentModel[]
  /**
   * Begins to load a model that no request waits for. It stays until another one needs its memory.
   * @throws OrielError as `lookUp` does; after `close`; why it cannot be loaded, if it has just been tried
   */
  load(name: string): Promise<{ id: string; state: DeploymentState }>
  /**
   * Unloads a model when its running requests are over. Its load ends if nobody else waits for it.
   * @param client who asks for it: a model that others have used stays. undefined: whoever runs the server
   * @returns when its memory is free, if no request uses it
   * @throws OrielError `not_found`
   */
  unload(name: string, client?: string): Promise<void>
  /** The models that are ready now. */
  loaded(): readonly Served[]
  /** Bytes that models may take, and that they take. */
  readonly memory: { readonly budget: number; readonly taken: number }
  close(): Promise<void>
}

/** A model that a request names. It is looked up once, whatever is asked of it then. */
export interface NamedModel {
  readonly id: string
  /**
   * The model, ready to answer. It is loaded if necessary, and stays loaded until the signal aborts, which must happen at the
   * end of the request.
   * @throws OrielError what is wrong with the attachments; `overloaded` when the wait is too long or after `close`; why it cannot be loaded
   */
  backend(signal: AbortSignal, options?: UseOptions): Promise<Backend>
  /** The model, ready to embed, as `backend` has it. @throws OrielError as `backend` does */
  embedder(signal: AbortSignal, options?: UseOptions): Promise<Embedder>
  /** Loads it, whatever it does, and keeps it as `backend` does. @throws OrielError as `backend` does */
  hold(signal: AbortSignal, options?: UseOptions): Promise<Served>
}

/** A model that takes memory. */
export interface ResidentModel extends Pick<ModelInfo, 'id' | 'aliases'> {
  state: DeploymentState
  /** That it takes. */
  bytes: number
  /** Requests that use it. */
  users: number
  /** How long it has had none, in ms; null while it has. */
  idleMs: number | null
  /** The share that is loaded, 0 to 1. */
  progress: number
}

interface UseOptions {
  /** How long to wait for the model. Default: `loading.timeoutMs`. */
  timeoutMs?: number
  /** Attachments of the request. They are checked before the model loads, and their downloads begin meanwhile. */
  attachments?: readonly AttachmentSource[]
  settings?: Pick<Settings, 'wantsBoxes'>
  client?: string
  /** Whether an error may name a model of this server. Default: every one. */
  knows?: (id: string) => boolean
  /** Whether the model is unloaded after this use of it, unless others use it. */
  unload?: boolean
}

export interface DeploymentOptions {
  config: Pick<Config, 'engine' | 'loading'>
  library: Library
  /** Further models, which are always ready. */
  backends: readonly Backend[]
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
  const budgetBytes = memoryBudget(config.loading, gpuMemory)
  const budget = new MemoryBudget(budgetBytes)
  const known = new Map<string, Deployment>()
  /** Ends the loads that no request waits for, by the model's id. */
  const loads = new Map<string, AbortController>()
  const reread = (card: ModelCard) => readable(library.reread(card))
  const services = { budget, start, reread, config: config.loading, log }
  const ids = backends.map(({ info }) => info.id)
  const found = (name: string) => cardOf(name, library, cards, ids)
  const listing = createListing(library, cards, backends, known)
  let closed = false

  const activeOf = (name: string): Deployment | undefined =>
    [...known.values()].find((one) => one.active && isCalled(one.card, name))
  /** A file that has changed is another model with the same name. */
  const deploymentOf = (card: ModelCard): Deployment => {
    const before = known.get(card.id)
    if (before !== undefined && (before.active || before.card.version === card.version)) return before
    const deployment = new Deployment(
      card,
      planMemory(card, config.engine, budgetBytes, gpuMemory !== undefined),
      services,
    )
    known.set(card.id, deployment)
    return deployment
  }
  const named = async (name: string): Promise<Named> => {
    const ready = backends.find(({ info }) => isCalled(info, name))
    if (ready !== undefined) return { id: ready.info.id, deployed: async () => ready }
    const active = activeOf(name)
    const card = active?.card ?? (await found(name))
    return {
      id: card.id,
      // Meanwhile it may have been loaded for others, or unloaded and replaced.
      deployed: async () => activeOf(name) ?? deploymentOf(active === undefined ? card : await found(name)),
    }
  }
  /** @param check refuses a model before it is loaded */
  const use = async (
    { deployed }: Named,
    signal: AbortSignal,
    options: UseOptions = {},
    check: (info: ModelInfo) => void = () => {},
  ): Promise<Served> => {
    const { timeoutMs = config.loading.timeoutMs, attachments = [], client = ownClient, unload = false } = options
    const { settings, knows = () => true } = options
    const deployment = await deployed()
    if (closed) throw shuttingDown()
    const info = deployment instanceof Deployment ? infoOf(deployment.card) : deployment.info
    check(info)
    await checkRequest(info, attachments, settings?.wantsBoxes ?? false, async () =>
      (await listing.list()).filter(({ id, state }) => state === 'not_pulled' || knows(id)),
    )
    if (!(deployment instanceof Deployment)) return deployment
    media.check(attachments)
    if (deployment.backend === undefined) media.prefetch(attachments, client, signal)
    const backend = await deployment.use(signal, timeoutMs)
    if (client !== ownClient) deployment.usedBy(client)
    if (unload) void deployment.leave(client)
    return backend
  }
  return {
    async lookUp(name) {
      const model = await named(name)
      return {
        id: model.id,
        hold: (signal, options) => use(model, signal, options),
        async backend(signal, options) {
          const served = await use(model, signal, options, checkAnswers)
          if (embeds(served)) throw doesNotAnswer(served.info)
          return served
        },
        async embedder(signal, options) {
          const served = await use(model, signal, options, checkEmbeds)
          if (!embeds(served)) throw doesNotEmbed(served.info)
          return served
        },
      }
    },
    ...listing,
    residents: () =>
      [...known.values()]
        .filter(({ active }) => active)
        .map(({ card: { id, aliases }, state, bytes, users, usedAt, progress }) => ({
          ...{ id, aliases, state, bytes, users, progress },
          idleMs: users > 0 ? null : performance.now() - usedAt,
        })),
    async load(name) {
      const deployment = await (await named(name)).deployed()
      if (closed) throw shuttingDown()
      if (!(deployment instanceof Deployment)) return { id: deployment.info.id, state: 'loaded' }
      const { id } = deployment.card
      const over = new AbortController()
      loads.get(id)?.abort()
      loads.set(id, over)
      const loaded = deployment.use(over.signal, Number.POSITIVE_INFINITY)
      // Later failures are told by its state.
      void loaded
        .catch(() => {})
        .then(() => {
          over.abort()
          if (loads.get(id) === over) loads.delete(id)
        })
      // It has just failed, and is not tried again yet.
      if (!deployment.active) await loaded
      return { id, state: deployment.state }
    },
    async unload(name, client) {
      const active = activeOf(name)
      if (active === undefined) await listing.describe(name)
      if (client === undefined && active !== undefined) loads.get(active.card.id)?.abort()
      await active?.leave(client)
    },
    loaded: () => [...backends, ...[...known.values()].flatMap(({ backend }) => backend ?? [])],
    memory: {
      budget: budgetBytes,
      get taken() {
        return budget.taken
      },
    },
    async close() {
      closed = true
      await Promise.all([...backends, ...known.values()].map((one) => one.close()))
    },
  }
}

/** The model that a name means, and what will serve it. */
interface Named {
  id: string
  deployed(): Promise<Backend | Deployment>
}
