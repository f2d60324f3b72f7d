import path from 'node:path'
import { orAborted } from '../abort.ts'
import type { Oriel } from '../app.ts'
import type { OrielSettings } from '../config.ts'
import { OrielError } from '../errors.ts'
import { configOf, misspeltVariables } from '../load-config.ts'
import { createWarner } from '../log.ts'
import { splitOf } from '../models/index.ts'
import type { Answerer, Detail } from './question.ts'
import { type RunningServer, serverAt, serverHere, urlHere } from './server.ts'
import type { Flags } from './settings.ts'

export interface AnswererFlags extends Flags {
  model?: string
  batch?: number
  server?: string
  local?: boolean
}

export interface AskFlags extends AnswererFlags {
  system?: string
  detail?: Detail
  temperature?: number
  pages?: string
  each?: boolean
  schema?: string
  json?: boolean
}

const dayMs = 86_400_000

/** The settings of a command that asks. */
export const settingsOf = ({ model, mmproj, modelsDir, gpu, batch }: AnswererFlags): OrielSettings => ({
  model: model === undefined ? undefined : [model],
  mmproj,
  engine: { gpu },
  // The person at the terminal can end it with Ctrl-C.
  loading: { timeoutMs: dayMs },
  // The files are the person's own and not a request's body.
  media: { maxImages: batch, maxBase64Bytes: Number.MAX_SAFE_INTEGER },
  models: { dirs: modelsDir },
})

/**
 * The server that is named or that runs here, if it has the model and no flag changes how models are found or run. Otherwise
 * this process answers.
 * @param bytes of the files: a request to a server has a limit, and a question to this process has none
 */
export async function chooseAnswerer(flags: AnswererFlags, bytes: number): Promise<Answerer> {
  const server = await chooseServer(flags, bytes)
  if (server !== undefined) {
    for (const sentence of misspeltVariables()) warn(sentence)
    return server
  }
  const [model = 'pocket'] = configOf(settingsOf(flags)).model
  return localAnswerer(await orielWith(settingsOf(flags)), model)
}

/**
 * The same for several models, by their names. Those that no server has are asked in this process, as upstreams are.
 * @throws OrielError for a model that is nowhere; the reason of the signal when it aborts
 */
export async function chooseAnswerers(
  flags: AnswererFlags,
  names: readonly string[],
  signal: AbortSignal,
): Promise<Answerer[]> {
  const servers: (Answerer | undefined)[] = []
  for (const model of names) servers.push(await chooseServer({ ...flags, model }, 0))
  const own = names.filter((_, index) => servers[index] === undefined).map(withOwnFile)
  for (const [at, { asked }] of own.entries())
    if (own.findIndex((other) => other.asked === asked) !== at)
      throw new OrielError(
        'invalid',
        `Two of the models have the name ${asked}, so their answers could not be told apart. Rename one.`,
      )
  const files = own.flatMap(({ file }) => file ?? [])
  const oriel = own.length === 0 ? undefined : await orielWith({ ...settingsOf(flags), model: files })
  try {
    // A name that is wrong is told before anybody is asked.
    for (const { asked } of own)
      if (oriel !== undefined) await orAborted(oriel.load([asked]), signal, () => signal.reason)
  } catch (error) {
    await oriel?.close()
    throw error
  }
  return names.map((name, index) => {
    const server = servers[index]
    if (server !== undefined) return server
    if (oriel === undefined) throw new Error('a model that nobody answers for')
    return { ...localAnswerer(oriel, withOwnFile(name).asked), model: name }
  })
}

/** The path of a model is the name of its file in requests. */
function withOwnFile(name: string): { asked: string; file?: string } {
  const [model = '', adapter] = name.split('#', 2)
  if (!model.endsWith('.gguf')) return { asked: name }
  const { stem } = splitOf(path.basename(model))
  return { asked: adapter === undefined ? stem : `${stem}#${adapter}`, file: model }
}

async function orielWith(settings: OrielSettings): Promise<Oriel> {
  // Loaded only here: it takes longer than all that a server needs.
  const { createOriel } = await import('../app.ts')
  // What goes wrong is an error for the person; the log is for those who ask for it.
  return createOriel(settings, process.env.ORIEL_LOG_LEVEL ? {} : { log: createWarner(warn) })
}

const warn = (sentence: string): void => void process.stderr.write(`${sentence}\n`)

async function chooseServer(flags: AnswererFlags, bytes: number): Promise<Answerer | undefined> {
  const { server, local, mmproj, modelsDir, gpu } = flags
  if (server !== undefined) {
    if (local) throw new OrielError('invalid', '--server asks a server, and --local asks none. Use one of them.')
    return serverAnswerer(await serverAt(server), flags.model, true)
  }
  if (local || [mmproj, modelsDir, gpu].some((flag) => flag !== undefined)) return undefined
  const config = configOf({})
  // Base64 has four characters for three bytes.
  if (bytes * (4 / 3) > config.media.maxBase64Bytes) return undefined
  const running = await serverHere(config.server).catch(({ message }: OrielError) => {
    warn(`The server at ${urlHere(config.server)} is not asked. ${message}`)
    return undefined
  })
  const named = flags.model ?? process.env.ORIEL_MODEL?.split(',')[0]?.trim()
  return running && serverAnswerer(running, named || undefined, false)
}

/** @param must whether no other may answer. @returns undefined if the server does not have the model */
function serverAnswerer(server: RunningServer, name: string | undefined, must: boolean): Answerer | undefined {
  const usable = server.models.filter(({ state }) => state !== 'not_pulled' && state !== 'failed')
  // Behind it is an adapter or a deployment.
  const own = name?.split('#', 1)[0]
  const model = own === undefined ? usable[0] : (usable.find(({ id }) => id === own) ?? aliased(server, own))
  if (model === undefined && must)
    throw new OrielError(
      'not_found',
      `The server at ${server.url} has no model ${name}. Its models are: ${usable.map(({ id }) => id).join(', ')}.`,
    )
  if (model === undefined) return undefined
  // An alias may mean several models, of which the server tries one after the other.
  const asked = name ?? model.id
  return { model: asked, answer: (question) => server.answer(asked, question), close: async () => {} }
}

/** The model that has this alias. Others of it may answer though that one has failed. */
const aliased = ({ models }: RunningServer, name: string): RunningServer['models'][number] | undefined =>
  models.find(({ aliases, state }) => aliases.includes(name) && state !== 'not_pulled')

function localAnswerer(oriel: Oriel, model: string): Answerer {
  return {
    model,
    async answer({ messages, schema, temperature, maxTokens, signal, onText = () => {} }) {
      const start = performance.now()
      let firstText = 0
      // The path of a file is no name: it is the model that the settings name.
      const named = model.endsWith('.gguf') ? {} : { model }
      const reply = await oriel.ask(messages, { ...named, schema, temperature, maxTokens, signal })
      for await (const event of reply.events())
        for (const piece of event.type === 'part' ? event.pieces : []) {
          if (piece.kind !== 'text' && piece.kind !== 'reasoning') continue
          firstText ||= performance.now() - start
          onText(piece.text, piece.kind === 'text' ? 'text' : 'thought')
        }
      const { text, reasoning, reason, usage } = await reply.finish()
      return {
        ...{ model, text, reasoning, reason },
        usage: {
          prompt: usage.promptTokens,
          cached: usage.cachedTokens,
          images: [...usage.imageTokens],
          videos: sumOf(usage.videoTokens),
          audio: sumOf(usage.audioTokens),
          completion: usage.completionTokens,
        },
        timings: { firstText, total: performance.now() - start },
      }
    },
    close: () => oriel.close(),
  }
}

const sumOf = (tokens: readonly number[] = []): number => tokens.reduce((sum, count) => sum + count, 0)
