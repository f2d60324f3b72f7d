import { lookup } from 'node:dns/promises'
import type { Server } from 'node:http'
import { type AddressInfo, BlockList } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { orAborted } from './abort.ts'
import type { Accounts } from './accounts/index.ts'
import type { Embedded, Oriel, Surroundings } from './app/oriel.ts'
import { askOf, attachmentOf, inOptions, type QuestionOptions } from './app/question.ts'
import { Reply } from './app/reply.ts'
import type { Config, OrielSettings } from './config.ts'
import { deploy, embedded, isCalled } from './deployments/index.ts'
import { audioFamilies, imageFamilies } from './encoders/index.ts'
import { chooseDevice, gpuMemory } from './engine/index.ts'
import { changingErrors, OrielError, shuttingDown } from './errors.ts'
import { ownClient } from './fairness.ts'
import { configOf, misspeltVariables } from './load-config.ts'
import { createLogger } from './log.ts'
import { createMachine } from './machine/index.ts'
import { asImages, createMedia } from './media/index.ts'
import { createLibrary, type Library, type ModelCard } from './models/index.ts'
import { createTuning, type Tuning } from './tuning/index.ts'
import { createUpstreams, settingsOf } from './upstreams/index.ts'
import { within } from './within.ts'

export type {
  Embedded,
  EmbedOptions,
  Listening,
  ListenOptions,
  LoadOptions,
  Oriel,
  Reloaded,
  Surroundings,
} from './app/oriel.ts'
export type {
  AudioPart,
  Clip,
  FileInput,
  ImagePart,
  Message,
  QuestionOptions,
  TextPart,
  VideoPart,
} from './app/question.ts'
export type { Finished, Reply } from './app/reply.ts'
export type { OrielSettings } from './config.ts'
export type {
  Answer,
  AnswerEvent,
  AnswerToken,
  Ask,
  Backend,
  BackendState,
  ChatMessage,
  ContentPart,
  Count,
  ListedModel,
  ModelInfo,
  PartCount,
  PromptPart,
  PromptUsage,
  Sampling,
  Settings,
  Tally,
} from './deployments/index.ts'
export { type ErrorKind, OrielError } from './errors.ts'
export { version } from './version.ts'

/** Time for answers in progress to end when the server closes, in ms. */
const usualGrace = 1000
/** Time for clients to read the ends of these answers then, in ms. */
const readEndMs = 300
/** Pause after the start of a server, in ms. Somebody may wait for its first answer. */
const restMs = 1000
/** The interval between reports of the progress of a load, in ms. */
const progressInterval = 500

/**
 * Puts everything together: configuration, models, media, engines. Models load when they are asked, or by `load`.
 * @throws OrielError `invalid` for a setting that is not allowed, `not_found` for an unknown model
 */
export async function createOriel(settings: OrielSettings = {}, around: Surroundings = {}): Promise<Oriel> {
  const { env = process.env } = around
  const config = configOf(settings, env)
  const { log = createLogger(config.logLevel, config.logFormat), backends = [] } = around
  for (const sentence of misspeltVariables(around.env)) log.warn(sentence)
  const library = createLibrary(config.models, { images: imageFamilies, audio: audioFamilies })
  const [inSettings, compute] = await Promise.all([modelsIn(config, library), chooseDevice(config.engine.gpu, log)])
  const cards = [...new Map(inSettings.map(({ card }) => [card.id, card])).values()]
  for (const { card } of inSettings)
    if (cards.some(({ id, decoder }) => id === card.id && decoder !== card.decoder))
      throw new OrielError('invalid', `Two models of the settings have the name ${card.id}. Rename the file of one.`)
  const media = createMedia(config.media, log)
  const upstreams = createUpstreams(settingsOf(config.upstreams, env), { media, log })
  let { aliases } = config
  const deployments = deploy({
    config,
    library,
    backends,
    upstreams,
    aliases: () => aliases,
    cards,
    start: embedded({ config, device: compute.device, media, log }),
    media,
    gpuMemory: gpuMemory(compute),
    log,
  })
  const machine = createMachine({ config, library, deployments, cards, gpu: compute.device !== 'cpu', log })
  /** The models that the settings name, and adapters. */
  const named = [...backends.map(({ info }) => info.id), ...inSettings.map(({ name }) => name)]
  const servers = new Set<{ close(): Promise<void>; server: Pick<Server, 'closeAllConnections'> }>()
  /** Only a server needs them: a program is its own judge. */
  let accounts: Promise<Accounts> | undefined
  let tuning: Tuning | undefined
  /** Aborts when it begins to end: by `drain`, or else by `close`. */
  const draining = new AbortController()
  let closedServers: Promise<unknown> | undefined
  /** New connections are refused from here on. Resolves when the last answer is over. */
  const closeServers = (): Promise<unknown> => {
    closedServers ??= Promise.all([...servers].map((server) => server.close()))
    return closedServers
  }
  const closeModels = () => Promise.all([deployments.close(), upstreams.close()])
  const modelOf = ({ model = named[0] }: Pick<QuestionOptions, 'model'>): string => {
    if (model === undefined) throw new OrielError('invalid', 'No model is named.', { param: 'model' })
    return model
  }

  /** Whether requests need a key. @throws OrielError `keys_needed` if they would need none and others can reach the host */
  const needsKeyAt = async (host: string, opened: Accounts): Promise<boolean> => {
    if (await opened.required()) return true
    if (await isLoopback(host)) return false
    if (!config.server.insecure) throw keysNeeded(host)
    log.warn({ host }, 'other machines can reach this server, and anybody there may use it without an API key')
    return false
  }

  const oriel: Oriel = {
    async ask(question, options = {}) {
      const over = new AbortController()
      const signal = either(over.signal, options.signal)
      try {
        const ask = await askOf(question, options)
        const model = await deployments.lookUp(modelOf(options))
        const backend = await model.backend(signal, ask)
        const answer = await backend.answer(ask, signal)
        return new Reply({ ...answer, events: closing(answer.events, over) })
      } catch (error) {
        over.abort()
        throw inOptions(error)
      }
    },

    count: (question, options = {}) =>
      during(async (signal) => {
        const ask = await askOf(question, options)
        const model = await deployments.lookUp(modelOf(options))
        const backend = await model.backend(signal, ask)
        return backend.count(ask, signal)
      }, options.signal).catch((error: unknown) => {
        throw inOptions(error)
      }),

    embed: (texts, { dimensions = null, ...options } = {}) =>
      during(async (signal) => {
        const model = await deployments.lookUp(modelOf(options))
        const embedder = await model.embedder(signal)
        const ask = { texts: [texts].flat(), dimensions, overflow: 'error', client: ownClient } as const
        const all: Embedded = { embeddings: [], tokens: 0 }
        for await (const { vector, tokens } of embedder.embed(ask, signal)) {
          all.embeddings.push(vector)
          all.tokens += tokens
        }
        return all
      }, options.signal),

    inspect: (image, options = {}) =>
      during(async (signal) => {
        const asker = { client: ownClient, isolation: '' }
        const source = await attachmentOf({ type: 'image', image, pages: '1' }, 'image')
        const [found] = await media.load([source], asker, { longestEdge: 1 }, signal)
        if (found === undefined) throw new Error('an image was not loaded')
        return { format: found.format, bytes: found.bytes, pages: asImages(found).pagesInFile }
      }, options.signal),

    models: () => deployments.list(),

    async load(names = named, { onProgress } = {}) {
      const report = async (): Promise<void> => {
        for (const model of await deployments.list())
          if (model.progress !== null && names.some((name) => isCalled(model, name)))
            onProgress?.(model.id, model.progress)
      }
      // A load that fails reports its error itself.
      const timer = onProgress && setInterval(() => void report().catch(() => {}), progressInterval)
      // Each is released as soon as it is loaded: there may not be memory for all of them at once.
      const loadOne = (name: string) =>
        during(async (signal) => {
          const model = await deployments.lookUp(name)
          return model.hold(signal, { timeoutMs: Number.POSITIVE_INFINITY })
        })
      await Promise.all(names.map(loadOne)).finally(() => clearInterval(timer))
    },

    async listen({ host = config.server.host, port = config.server.port, resumesJobs = true, ...options } = {}) {
      accounts ??= import('./accounts/index.ts')
        .then(({ createAccounts }) => createAccounts(config, log))
        .catch((error: unknown) => {
          // The database may be there the next time.
          accounts = undefined
          throw error
        })
      const clearCache = () => media.clearCache()
      const createdServer = async (opened: Promise<Accounts>) => {
        const { createServer, memoryStore } = await import('./api/index.ts')
        const { resources } = await opened
        await deployments.open(resources)
        tuning ??= await createTuning({ config, resources, library, cards, deployments, runsAll: resumesJobs, log })
        const services = { accounts: await opened, deployments, machine, tuning, clearCache, responses: memoryStore() }
        const server = createServer(services, config.server, draining.signal, log)
        await server.ready()
        return server
      }
      const created = createdServer(accounts)
      // Engines load in processes of their own while this one opens the database and makes the HTTP server.
      const [server, needsKey] = await Promise.all([
        created,
        accounts.then((opened) => needsKeyAt(host, opened)),
        oriel.load(undefined, options),
      ]).catch(async (error: unknown) => {
        await created.then((server) => server.close()).catch(() => {})
        // That the database was closed meanwhile is no fault to tell.
        throw draining.signal.aborted ? shuttingDown() : error
      })
      await server.listen({ host, port }).catch((error: unknown) => {
        throw whyNotListening(error, host, port)
      })
      // Closed here if it was to end meanwhile: a server that is closed while it begins to listen never settles.
      if (draining.signal.aborted) {
        await server.close()
        throw shuttingDown()
      }
      servers.add(server)
      setTimeout(() => {
        void media.warm()
        // What a server that was killed has left.
        void machine.uploads.sweep().catch((cause: unknown) => log.warn({ cause }, 'old uploads could not be removed'))
      }, restMs).unref()
      const { port: taken } = server.server.address() as AddressInfo
      const shown = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host
      const elsewhere = upstreams.upstreams().map(({ name }) => name)
      return { url: `http://${shown}:${taken}`, models: named, upstreams: elsewhere, needsKey }
    },

    async reload() {
      const next = configOf(settings, env)
      const reloaded = upstreams.reload(settingsOf(next.upstreams, env))
      aliases = next.aliases
      const later = settingsThatDiffer(config, next).filter((name) => name !== 'upstreams' && name !== 'aliases')
      log.info({ ...reloaded, later }, 'the configuration was read again')
      return { ...reloaded, later }
    },

    async drain(hurry = new AbortController().signal) {
      draining.abort()
      if (servers.size === 0) return
      const { shutdownDelayMs, graceMs } = config.server
      await sleep(shutdownDelayMs, undefined, { signal: hurry }).catch(() => {})
      await orAborted(within(graceMs, closeServers()), hurry, () => undefined).catch(() => {})
    },

    async close({ graceMs = usualGrace } = {}) {
      draining.abort()
      // Answers that outlast the grace end with an error event.
      const closed = closeServers()
      const timers = [
        setTimeout(() => void closeModels(), graceMs),
        // A client that does not read the end of its answer must not keep the usage of all from being written.
        setTimeout(() => {
          for (const { server } of servers) server.closeAllConnections()
        }, graceMs + readEndMs),
      ]
      await closed
      for (const timer of timers) clearTimeout(timer)
      await Promise.all([closeModels(), machine.pulls.close(), tuning?.close()])
      await media.close()
      // Every request is settled by now.
      await (await accounts?.catch(() => undefined))?.close()
    },
  }
  return oriel
}

/** Frees what the work holds, its model among it, when it ends. @param given the caller's signal, which ends it too */
async function during<T>(work: (signal: AbortSignal) => Promise<T>, given?: AbortSignal): Promise<T> {
  const over = new AbortController()
  return work(either(over.signal, given)).finally(() => over.abort())
}

const either = (own: AbortSignal, given: AbortSignal | undefined): AbortSignal =>
  given === undefined ? own : AbortSignal.any([given, own])

/** Frees what a request holds, its model among it, when its events end or their reader leaves. */
async function* closing<T>(events: AsyncIterable<T>, over: AbortController): AsyncIterable<T> {
  try {
    yield* changingErrors(events, inOptions)
  } finally {
    over.abort()
  }
}

/**
 * The models that the settings name, and what requests are to name: an adapter is asked by its name.
 * @throws OrielError as `Library.find` and `Library.adapter` do
 */
async function modelsIn({ model, mmproj }: Config, library: Library): Promise<{ card: ModelCard; name: string }[]> {
  if (mmproj !== null && model.length > 1)
    throw new OrielError('invalid', 'A vision file is given for one model, and several models are named.', {
      code: 'several_models',
    })
  const find = (name: string): Promise<ModelCard> => library.find(name, mmproj ?? undefined)
  const one = async (name: string) => {
    try {
      const card = await find(name)
      return { card, name: card.id }
    } catch (error) {
      if (!(error instanceof OrielError) || error.code !== 'model_not_found') throw error
      const [model = '', behind] = name.split('#', 2)
      const adapter = await library.adapter(behind ?? model)
      if (adapter === undefined) throw error
      return { card: await find(behind === undefined ? (adapter.base ?? adapter.fits[0] ?? '') : model), name }
    }
  }
  return Promise.all([...new Set(model)].map(one))
}

const settingsThatDiffer = (config: Config, next: Config): string[] =>
  Object.entries(next).flatMap(([name, value]) =>
    isDeepStrictEqual(value, config[name as keyof Config]) ? [] : [name],
  )

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** Whether only this machine can reach a server that listens there. @throws OrielError as `listen` does */
async function isLoopback(host: string): Promise<boolean> {
  const addresses = await lookup(host, { all: true }).catch((error: unknown) => {
    throw whyNotListening(error, host)
  })
  return addresses.every(({ address, family }) => loopback.check(address, family === 6 ? 'ipv6' : 'ipv4'))
}

const keysNeeded = (host: string): OrielError =>
  new OrielError(
    'invalid',
    `Other machines can reach ${host}, and without API keys anybody there could use the server.`,
    { code: 'keys_needed' },
  )

function whyNotListening(error: unknown, host: string, port?: number): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return new OrielError('invalid', `Port ${port} is in use.`, { code: 'port_in_use' })
  if (code === 'EACCES')
    return new OrielError('invalid', `This user may not listen on port ${port}.`, { code: 'port_denied' })
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'EADDRNOTAVAIL')
    return new OrielError('invalid', `${host} is not an address of this machine.`, { code: 'bad_host' })
  return error
}
