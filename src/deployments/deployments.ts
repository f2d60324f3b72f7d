import type { Config } from '../config.ts'
import { OrielError, shuttingDown } from '../errors.ts'
import { ownClient } from '../fairness.ts'
import type { Logger } from '../log.ts'
import type { AttachmentSource, Media } from '../media/index.ts'
import { availableMemory } from '../memory.ts'
import {
  type CatalogueEntry,
  catalogue,
  entryOf,
  type Library,
  type ModelCard,
  type ModelFacts,
  purposeOf,
} from '../models/index.ts'
import type { Settings } from './ask.ts'
import type { Backend, ModelInfo } from './backend.ts'
import { Deployment, type DeploymentState, type Starter } from './deployment.ts'
import { infoOf } from './embedded/info.ts'
import { type Embedder, embeds, type Served } from './embedder.ts'
import { MemoryBudget } from './memory-budget.ts'
import { planMemory } from './memory-plan.ts'

/** Fireworks' form of a name. The account is ignored. */
const inAccount = /^accounts\/[^/]+\/models\//

/** Default share of the memory that is free at the start that models may take. */
const budgetShare = 0.8

/** Bytes that all models together may take. @param gpuMemory bytes of memory that GPUs have of their own */
export const memoryBudget = ({ memoryBytes }: Config['loading'], gpuMemory = 0): number =>
  memoryBytes || Math.floor(availableMemory() * budgetShare) + gpuMemory

/** A model that requests may name, or that can be downloaded. */
export interface ListedModel extends ModelInfo {
  state: DeploymentState | 'not_pulled'
  /** The share that is loaded, 0 to 1; null unless it is loading. */
  progress: number | null
  /** Why it cannot be loaded. */
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

/** The models that answer, by the names that requests use. */
export interface Deployments {
  /**
   * A model that is ready to answer. It is loaded if necessary, and stays loaded until the signal aborts, which must happen at
   * the end of the request.
   * @throws OrielError `not_found`; what is wrong with the attachments; `overloaded` when the wait is too long or after `close`; why it cannot be loaded
   */
  find(name: string, signal: AbortSignal, options?: FindOptions): Promise<Backend>
  /** A model that is ready to embed, as `find` has it. @throws OrielError as `find` does */
  findEmbedder(name: string, signal: AbortSignal, options?: FindOptions): Promise<Embedder>
  /** Loads a model, whatever it does, and keeps it as `find` does. @throws OrielError as `find` does */
  hold(name: string, signal: AbortSignal, options?: FindOptions): Promise<Served>
  /** The id of the model that requests mean by a name. @throws OrielError `not_found`; what is wrong with its files */
  idOf(name: string): Promise<string>
  /** The models on this machine, the loaded ones first, and those of the catalogue that can be downloaded. */
  list(): Promise<ListedModel[]>
  /** @throws OrielError `not_found` */
  describe(name: string): Promise<ListedModel>
  /** The models on this machine that can be used, the loaded ones first. */
  inspect(): Promise<InspectedModel[]>
  /** The models in memory, and those that are about to be. */
  residents(): readonly ResidentModel[]
  /**
   * Begins to load a model that no request waits for. It stays until another one needs its memory.
   * @throws OrielError as `find` does, without the wait
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

interface FindOptions {
  /** How long to wait for the model. Default: `loading.timeoutMs`. */
  timeoutMs?: number
  /** Attachments of the request. They are checked before the model loads, and their downloads begin meanwhile. */
  attachments?: readonly AttachmentSource[]
  settings?: Pick<Settings, 'wantsBoxes'>
  client?: string
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
  const named = [...backends.map(({ info }) => info), ...cards]
  let closed = false

  const cardOf = async (name: string): Promise<ModelCard> => {
    const short = name.replace(inAccount, '')
    const found = (called: string) => readable(library.lookUp(called))
    const own = cards.find((one) => isCalled(one, name))
    const card =
      (own && (await reread(own))) ?? (await found(name)) ?? (short === name ? undefined : await found(short))
    if (card === undefined) throw await missing(name, named, library)
    return card
  }
  const readyOf = (name: string): Backend | undefined => backends.find(({ info }) => isCalled(info, name))
  /** @param check refuses a model before it is loaded */
  const use = async (
    name: string,
    signal: AbortSignal,
    options: FindOptions = {},
    check: (info: ModelInfo) => void = () => {},
  ): Promise<Served> => {
    const { timeoutMs = config.loading.timeoutMs, attachments = [], client = ownClient, unload = false } = options
    const deployment = readyOf(name) ?? activeOf(name) ?? deploymentOf(await cardOf(name))
    if (closed) throw shuttingDown()
    const info = deployment instanceof Deployment ? infoOf(deployment.card) : deployment.info
    check(info)
    checkRequest(info, attachments, options.settings?.wantsBoxes ?? false)
    if (!(deployment instanceof Deployment)) return deployment
    media.check(attachments)
    if (deployment.backend === undefined) media.prefetch(attachments, client, signal)
    const backend = await deployment.use(signal, timeoutMs)
    if (client !== ownClient) deployment.usedBy(client)
    if (unload) void deployment.leave(client)
    return backend
  }
  const find: Deployments['find'] = async (name, signal, options) => {
    const served = await use(name, signal, options, checkAnswers)
    if (embeds(served)) throw doesNotAnswer(served.info)
    return served
  }
  const findEmbedder: Deployments['findEmbedder'] = async (name, signal, options) => {
    const served = await use(name, signal, options, checkEmbeds)
    if (!embeds(served)) throw doesNotEmbed(served.info)
    return served
  }
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
  const listed = ({ id, card, fault }: FoundModel): ListedModel => {
    const deployment = known.get(id)
    // Its failure is that of other files.
    const isOther = deployment?.active === false && card !== undefined && deployment.card.version !== card.version
    const { state = 'available', backend, failure, progress = 0 } = isOther ? {} : (deployment ?? {})
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
    for (const { card, active } of known.values())
      if (active) add({ id: card.id, card, fault: found.get(card.id)?.fault })
    return [...found.values()]
  }
  const always = backends.map(({ info }): ListedModel => ({ ...info, state: 'loaded', progress: null, error: null }))
  const list = async (): Promise<ListedModel[]> => {
    const all = (await here()).map(listed).toSorted(loadedFirst)
    const names = new Set([...always, ...all].flatMap(({ id, aliases }) => [id, ...aliases]))
    return [...always, ...all, ...catalogue.filter((entry) => !names.has(entry.id)).map(pullable)]
  }

  const describe: Deployments['describe'] = async (name) => {
    const found = (await list()).find((model) => isCalled(model, name))
    const entry = entryOf(name)
    if (found !== undefined) return found
    if (entry !== undefined) return pullable(entry)
    throw await missing(name, named, library)
  }

  return {
    find,
    findEmbedder,
    hold: (name, signal, options) => use(name, signal, options),
    idOf: async (name) => readyOf(name)?.info.id ?? (activeOf(name)?.card ?? (await cardOf(name))).id,
    list,
    describe,
    async inspect() {
      const inspected = (await here()).map(async (found): Promise<InspectedModel[]> => {
        const { card, fault } = found
        if (card === undefined || (fault !== undefined && !known.get(card.id)?.active)) return []
        const { backend, bytes, idleAt } = known.get(card.id) ?? {}
        const model = {
          ...listed(found),
          facts: await library.facts(card).catch(() => null),
          bytes: card.bytes,
          resident: backend === undefined || bytes === undefined ? null : { bytes, idleAt: idleAt ?? null },
        }
        return [model]
      })
      return [
        ...always.map((model) => ({ ...model, facts: null, bytes: 0, resident: null })),
        ...(await Promise.all(inspected)).flat().toSorted(loadedFirst),
      ]
    },
    residents: () =>
      [...known.values()]
        .filter(({ active }) => active)
        .map(({ card: { id, aliases }, state, bytes, users, usedAt, progress }) => ({
          ...{ id, aliases, state, bytes, users, progress },
          idleMs: users > 0 ? null : performance.now() - usedAt,
        })),
    async load(name) {
      const deployment = readyOf(name) ?? activeOf(name) ?? deploymentOf(await cardOf(name))
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
      if (active === undefined) await describe(name)
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

/** Whether a request that names a model by `name` means this one. */
export const isCalled = ({ id, aliases }: Pick<ModelCard, 'id' | 'aliases'>, name: string): boolean =>
  id === name || id === name.replace(inAccount, '') || aliases.includes(name)

function checkAnswers(info: ModelInfo): void {
  if (info.dimensions !== undefined) throw doesNotAnswer(info)
}

function checkEmbeds(info: ModelInfo): void {
  if (info.dimensions === undefined) throw doesNotEmbed(info)
}

const doesNotAnswer = ({ id }: ModelInfo): OrielError =>
  new OrielError('invalid', `The model ${id} embeds texts and does not answer. Send texts to /v1/embeddings.`, {
    param: 'model',
    code: 'model_embeds',
  })

const doesNotEmbed = ({ id }: ModelInfo): OrielError =>
  new OrielError(
    'invalid',
    `The model ${id} answers and does not embed. Name an embedding model: GET /v1/models?features=embeddings lists them.`,
    { param: 'model', code: 'model_answers' },
  )

/** @throws OrielError `invalid` about the first attachment that the model does not take, or boxes that it does not write */
function checkRequest(
  { id, inputs, boxes }: ModelInfo,
  attachments: readonly AttachmentSource[],
  wantsBoxes: boolean,
): void {
  for (const { kind, param } of attachments)
    if (!inputs.includes(kind))
      throw new OrielError('invalid', `The model ${id} does not accept ${nouns[kind]}.`, {
        param,
        code: `${kind}_not_supported`,
      })
  if (wantsBoxes && !boxes)
    throw new OrielError(
      'invalid',
      `No form in which the model ${id} writes boxes is known. Models that have one list the feature "grounding".`,
      { param: 'boxes', code: 'boxes_not_supported' },
    )
}

const nouns = { image: 'images', audio: 'audio', video: 'video' } as const

async function missing(name: string, named: readonly { id: string }[], library: Library): Promise<OrielError> {
  const entry = entryOf(name) ?? entryOf(name.replace(inAccount, ''))
  const ids = new Set([...named, ...(await library.list()).models].map(({ id }) => id))
  const why =
    entry === undefined
      ? `was not found. ${ids.size === 0 ? 'There are none on this server.' : `The models are: ${[...ids].join(', ')}.`}`
      : `(${entry.title}) has not been downloaded to this server.`
  return new OrielError('not_found', `The model ${JSON.stringify(name.slice(0, 200))} ${why}`, {
    param: 'model',
    code: 'model_not_found',
  })
}

/** The error of a model with broken files. Its message is sent to clients and contains no path. */
const unfit = ({ kind, message, cause }: OrielError): OrielError =>
  new OrielError('precondition_failed', kind === 'not_found' ? 'Some of its files are missing.' : message, {
    param: 'model',
    code: 'model_not_loaded',
    cause,
  })

const readable = <Card>(reading: Promise<Card>): Promise<Card> =>
  reading.catch((error: unknown) => {
    throw error instanceof OrielError ? unfit(error) : error
  })

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
  inputs: ['image'],
  state: 'not_pulled',
  error: null,
})
