import { createHash } from 'node:crypto'
import { z } from 'zod'
import { type Deployments, type InspectedModel, isCalled } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { createdAt, isFor, ownModel } from '../models/listed.ts'
import { parseBody } from '../request/validation.ts'
import { modelRequest, withoutTag } from './schema.ts'

/** The version of Ollama whose API this is. Clients refuse to speak to older ones. */
const spoken = '0.13.0'

const details = z.strictObject({
  parent_model: z.literal(''),
  format: z.literal('gguf'),
  family: z.string(),
  families: z.array(z.string()),
  parameter_size: z.string(),
  quantization_level: z.string(),
})

const named = {
  name: z.string(),
  model: z.string(),
  size: z.int().describe('In bytes.'),
  digest: z.string(),
  details,
}

const capabilities = z.array(z.enum(['completion', 'embedding', 'vision', 'audio', 'tools', 'thinking']))

export const tagList = z.strictObject({
  models: z.array(z.strictObject({ ...named, modified_at: z.iso.datetime(), capabilities })),
})

export const psList = z.strictObject({
  models: z.array(
    z.strictObject({
      ...named,
      expires_at: z.iso.datetime().describe('When it is unloaded if no request uses it.'),
      size_vram: z.int(),
      context_length: z.int(),
    }),
  ),
})

export const shownModel = z.strictObject({
  modelfile: z.string(),
  parameters: z.string(),
  template: z.string(),
  license: z.string(),
  details,
  model_info: z.record(z.string(), z.union([z.string(), z.int()])),
  capabilities,
  modified_at: z.iso.datetime(),
})

export const tagsEndpoint: Endpoint = {
  method: 'GET',
  path: '/tags',
  tag: 'Ollama',
  summary: 'List the models that read images, videos or audio, and those that embed',
  answer: tagList,
  handler:
    ({ services: { deployments } }) =>
    async ({ identity }): Promise<z.output<typeof tagList>> => {
      const own = (await deployments.inspect()).filter(isFor(identity))
      const listed = own.filter(({ inputs, dimensions }) => inputs.length > 0 || dimensions !== undefined)
      return {
        models: listed.map((model) => ({
          ...namesOf(model),
          modified_at: createdAt(model),
          size: model.bytes,
          capabilities: capabilitiesOf(model),
        })),
      }
    },
}

export const psEndpoint: Endpoint = {
  method: 'GET',
  path: '/ps',
  tag: 'Ollama',
  summary: 'List the models that are loaded',
  answer: psList,
  handler:
    ({ services: { deployments } }) =>
    async ({ identity }): Promise<z.output<typeof psList>> => {
      const own = (await deployments.inspect()).filter(isFor(identity))
      const loaded = own.filter(({ state }) => state === 'loaded')
      return {
        models: loaded.map((model) => ({
          ...namesOf(model),
          size: model.resident?.bytes ?? model.bytes,
          expires_at: (model.resident?.idleAt ?? never).toISOString(),
          size_vram: 0,
          context_length: model.contextTokens,
        })),
      }
    },
}

/** Of a model that stays loaded until others need its memory. */
const never = new Date('9999-12-31T23:59:59Z')

export const showEndpoint: Endpoint = {
  method: 'POST',
  path: '/show',
  tag: 'Ollama',
  summary: 'Describe one model',
  body: modelRequest,
  answer: shownModel,
  handler:
    ({ services: { deployments } }) =>
    async ({ body, identity }): Promise<z.output<typeof shownModel>> => {
      const name = nameOf(body)
      const model = await ownModel(identity, name, () => find(deployments, name))
      const { facts, contextTokens } = model
      const family = familyOf(model)
      return {
        modelfile: `FROM ${nameFor(model)}\n`,
        parameters: `num_ctx                        ${contextTokens}`,
        template: '',
        license: facts?.licence ?? '',
        details: detailsOf(model),
        model_info: {
          'general.architecture': family,
          ...(facts === null ? {} : { 'general.parameter_count': facts.parameters }),
          [`${family}.context_length`]: contextTokens,
          ...(model.dimensions === undefined ? {} : { [`${family}.embedding_length`]: model.dimensions }),
          ...(facts === null ? {} : { [`${family}.block_count`]: facts.layers }),
        },
        capabilities: capabilitiesOf(model),
        modified_at: createdAt(model),
      }
    },
}

export const versionEndpoint: Endpoint = {
  method: 'GET',
  path: '/version',
  tag: 'Ollama',
  summary: 'The version of Ollama whose API this is',
  answer: z.strictObject({ version: z.string() }),
  handler: () => async () => ({ version: spoken }),
}

/** Clients pull what they are about to use. A model that is here needs no download, and others are not for clients to fetch. */
export const pullEndpoint: Endpoint = {
  method: 'POST',
  path: '/pull',
  tag: 'Ollama',
  summary: 'Refused, unless the model is here',
  body: modelRequest,
  answer: z.strictObject({ status: z.literal('success') }),
  handler:
    ({ services: { deployments } }) =>
    async ({ body, identity }) => {
      const name = nameOf(body)
      const own = (await deployments.inspect()).filter(isFor(identity))
      if (own.some((model) => isCalled(model, name))) return { status: 'success' }
      throw new OrielError(
        'forbidden',
        `Clients cannot download models to this server. On its machine, run: oriel pull ${name.slice(0, 200)}.`,
        { param: 'model', code: 'pull_not_allowed' },
      )
    },
}

function nameOf(body: unknown): string {
  const { model, name } = parseBody(modelRequest, body)
  return withoutTag(model ?? name ?? '')
}

/** @throws OrielError `not_found`, and why a model that is here cannot be used */
async function find(deployments: Deployments, name: string): Promise<InspectedModel> {
  const found = (await deployments.inspect()).find((model) => isCalled(model, name))
  if (found !== undefined) return found
  const { title, state, error } = await deployments.describe(name)
  const why = error ?? `${title} has not been downloaded to this server.`
  throw new OrielError(state === 'failed' ? 'precondition_failed' : 'not_found', why, {
    param: 'model',
    code: state === 'failed' ? 'model_not_loaded' : 'model_not_found',
  })
}

/** Ollama's names have a tag. */
const nameFor = ({ id }: InspectedModel): string => (id.includes(':') ? id : `${id}:latest`)

const namesOf = (model: InspectedModel) => ({
  name: nameFor(model),
  model: nameFor(model),
  digest: model.facts?.digest ?? createHash('sha256').update(model.id).digest('hex'),
  details: detailsOf(model),
})

const familyOf = ({ facts }: InspectedModel): string => facts?.architecture ?? 'unknown'

function detailsOf(model: InspectedModel): z.output<typeof details> {
  const family = familyOf(model)
  const { parameters, quantization } = model.facts ?? {}
  return {
    parent_model: '',
    format: 'gguf',
    family,
    families: [family, ...(model.facts?.vision == null ? [] : [model.facts.vision.family])],
    parameter_size: parameters === undefined ? '' : parametersText(parameters),
    quantization_level: quantization ?? '',
  }
}

const parametersText = (count: number): string =>
  count >= 1e9
    ? `${(count / 1e9).toFixed(1)}B`
    : count >= 1e6
      ? `${(count / 1e6).toFixed(2)}M`
      : `${Math.round(count / 1e3)}K`

const capabilitiesOf = ({ inputs, tools, thoughts, dimensions }: InspectedModel): z.output<typeof capabilities> => [
  dimensions === undefined ? 'completion' : 'embedding',
  ...(inputs.includes('image') ? (['vision'] as const) : []),
  ...(inputs.includes('audio') ? (['audio'] as const) : []),
  ...(tools ? (['tools'] as const) : []),
  ...(thoughts ? (['thinking'] as const) : []),
]
