import { z } from 'zod'
import { type Accounts, amountOf } from '../../accounts/index.ts'
import { isCalled } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { type ImageTokens, type MachineModel, usualImage } from '../../machine/index.ts'
import type { AnswerServices } from '../answering/answer.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { parseStrictly } from '../request/validation.ts'
import { paramOf, place } from './managing.ts'
import { onDisk } from './on-disk.ts'
import { pull, shownPull } from './pulls.ts'

const bytes = z.number().min(0)
const state = z.enum(['not_pulled', 'available', 'loading', 'loaded', 'failed'])

const libraryModel = z.strictObject({
  id: z.string(),
  aliases: z.array(z.string()),
  title: z.string(),
  description: z.string(),
  state,
  progress: z.number().nullable().describe('The share that is loaded, 0 to 1, while it is loading.'),
  error: z.string().nullable().describe('Why it cannot be loaded.'),
  repo: z.string().nullable().describe('On the hub.'),
  bytes: bytes.describe('Of its files; estimated for one that is not here.'),
  licence: z.string().nullable(),
  architecture: z.string().nullable(),
  parameters: z.number().nullable(),
  quantization: z.string().nullable(),
  vision: z.strictObject({ family: z.string(), supported: z.boolean() }).nullable(),
  context_tokens: z.number(),
  inputs: z.array(z.string()),
  tools: z.boolean().nullable(),
  thoughts: z.boolean().nullable(),
  prices: z
    .strictObject({ input: z.number(), cached_input: z.number(), output: z.number(), image: z.number() })
    .describe('For a million tokens. `image`: an image whose tokens cost less costs this.'),
  memory_bytes: bytes.nullable().describe('What it takes when it is loaded.'),
  fits: z.boolean().nullable().describe('Whether models may take that much on this machine.'),
  image_ms: z.number().nullable().describe('To the first word about a usual image, estimated.'),
  running: z.int().describe('Requests that use it.'),
  idle_ms: z.number().nullable().describe('How long it is in memory without requests.'),
  removable: z.boolean().describe('Whether its files may be removed now.'),
  pull: pull.nullable().describe('The pull of it that is running.'),
  upstreams: z.array(z.string()).describe('The servers elsewhere that answer for it. Empty: it is of this machine.'),
})

const memory = z.strictObject({ budget_bytes: bytes, taken_bytes: bytes })

export const libraryList = z.strictObject({
  models: z.array(libraryModel),
  memory,
  machine: z.strictObject({
    gpu: z.boolean(),
    image: z.strictObject({ width: z.int(), height: z.int() }).describe('The image of `image_ms`.'),
  }),
})

const loadedModel = z.strictObject({ id: z.string(), state })
const unloadedModel = z.strictObject({ id: z.string(), running: z.int().describe('Requests that it answers first.') })

export const removedModel = z.strictObject({
  id: z.string(),
  files: z.array(z.string()),
  bytes,
  removed: z.boolean(),
})

const named = z.object({ model: z.string().min(1).max(500) })
const removal = named.extend({ dry_run: z.boolean().nullish().describe('Only say what would be removed.') })

const edge = z.coerce.number().int().min(1).max(65_535)
const sizeQuery = z.object({ width: edge, height: edge })
const cost = z.strictObject({ tokens: z.int(), tiles: z.int() })

export const imageTokenList = z.strictObject({
  width: z.int(),
  height: z.int(),
  models: z.array(z.strictObject({ id: z.string(), low: cost, auto: cost, high: cost })),
})

/** The models of this machine and of the catalogue. */
export const libraryEndpoints: readonly Endpoint[] = [
  {
    ...place,
    method: 'GET',
    path: '/admin/models',
    summary: 'List the models of this machine and of the catalogue, with what they take and can',
    answer: libraryList,
    handler:
      ({ services }) =>
      () =>
        libraryOf(services),
  },
  {
    ...place,
    method: 'GET',
    path: '/admin/models/image-tokens',
    summary: 'Count the tokens of an image with each model, without loading it',
    query: [
      { name: 'width', description: 'In pixels, 1 to 65535.' },
      { name: 'height', description: 'In pixels, 1 to 65535.' },
    ],
    answer: imageTokenList,
    handler:
      ({ services: { machine } }) =>
      async ({ query }): Promise<z.output<typeof imageTokenList>> => {
        const size = parseStrictly(sizeQuery, query)
        const counted = await machine.imageTokens(size)
        return { ...size, models: counted.map(({ id, tokens }) => ({ id, ...costsOf(tokens) })) }
      },
  },
  {
    ...place,
    method: 'POST',
    path: '/admin/models/load',
    summary: 'Begin to load a model',
    body: named,
    answer: loadedModel,
    handler:
      ({ services: { deployments } }) =>
      async ({ body }): Promise<z.output<typeof loadedModel>> =>
        deployments.load(parseStrictly(named, body).model),
  },
  {
    ...place,
    method: 'POST',
    path: '/admin/models/remove',
    summary: 'Remove the files of a model that is not in memory',
    body: removal,
    answer: removedModel,
    handler: onDisk(async ({ body }, { machine }): Promise<z.output<typeof removedModel>> => {
      const { model, dry_run: dryRun } = parseStrictly(removal, body)
      return { ...(await machine.remove(model, { dryRun: dryRun ?? false })), removed: !dryRun }
    }),
  },
  {
    ...place,
    method: 'DELETE',
    path: '/admin/models/{model}',
    pattern: '/admin/models/*',
    summary: 'Unload a model when its requests are over',
    answer: unloadedModel,
    handler:
      ({ services: { deployments } }) =>
      async (request): Promise<z.output<typeof unloadedModel>> => {
        const name = paramOf(request, '*')
        const found = deployments.residents().find((model) => isCalled(model, name))
        if (found === undefined)
          throw new OrielError('not_found', `The model ${JSON.stringify(name.slice(0, 200))} is not loaded.`, {
            param: 'model',
            code: 'model_not_loaded',
          })
        await deployments.unload(found.id)
        return { id: found.id, running: found.users }
      },
  },
]

async function libraryOf({ machine, deployments, accounts }: AnswerServices): Promise<z.output<typeof libraryList>> {
  const models = await machine.list()
  const { budget, taken } = deployments.memory
  const residents = new Map(deployments.residents().map((resident) => [resident.id, resident]))
  const pulls = new Map(
    machine.pulls
      .list()
      .filter(({ state }) => state === 'running')
      .map((running) => [running.repo, shownPull(running)]),
  )
  return {
    models: models.map((model) => {
      const { users = 0, idleMs = null } = residents.get(model.id) ?? {}
      return {
        ...shown(model, accounts),
        running: users,
        idle_ms: model.state === 'loaded' && idleMs !== null ? Math.round(idleMs) : null,
        pull: (model.state === 'not_pulled' ? pulls.get(model.repo ?? '') : undefined) ?? null,
      }
    }),
    memory: { budget_bytes: budget, taken_bytes: taken },
    machine: { gpu: machine.gpu, image: usualImage },
  }
}

function shown(model: MachineModel, accounts: Accounts) {
  const { input, cachedInput, output, image } = accounts.pricesOf(model.id)
  const { id, title, description, state, progress, error, repo, bytes, licence, architecture } = model
  return {
    ...{ id, aliases: [...model.aliases], title, description, state, progress, error, repo, bytes, licence },
    ...{ architecture, parameters: model.parameters, quantization: model.quantization },
    vision: model.vision && { family: model.vision.family, supported: model.vision.supported },
    ...{ context_tokens: model.contextTokens, inputs: [...model.inputs], tools: model.tools, thoughts: model.thoughts },
    prices: {
      input: amountOf(input),
      cached_input: amountOf(cachedInput),
      output: amountOf(output),
      image: amountOf(image),
    },
    upstreams: [...(model.upstreams ?? [])],
    ...{ memory_bytes: model.memoryBytes, fits: model.fits, image_ms: model.imageMs, removable: model.removable },
  }
}

const costsOf = ({ low, auto, high }: ImageTokens) => ({ low: { ...low }, auto: { ...auto }, high: { ...high } })
