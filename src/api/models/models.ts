import { z } from 'zod'
import { type Accounts, amountOf } from '../../accounts/index.ts'
import { isCalled } from '../../deployments/index.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { parseBody } from '../request/validation.ts'
import {
  anthropicModel,
  anthropicModelOf,
  anthropicModels,
  anthropicPage,
  isAnthropic,
  pageQuery,
} from './anthropic.ts'
import { isFor, isHere, ownModel, type ShownModel, withAdapters } from './listed.ts'

const states = ['loaded', 'loading', 'available', 'failed', 'not_pulled'] as const

export const model = z.strictObject({
  id: z.string(),
  object: z.literal('model'),
  created: z.int().describe('Seconds since 1970.'),
  owned_by: z.string(),
  parent: z.string().optional().describe('The model that an adapter changes. Of adapters only.'),
  aliases: z.array(z.string()).describe('Other names that requests may use.'),
  state: z.enum(states).describe('An available model is loaded when a request names it.'),
  progress: z.number().optional().describe('Fraction that is loaded, from 0 to 1, while the state is loading.'),
  error: z.string().optional().describe('Why loading failed, or that no upstream of it answers.'),
  upstreams: z
    .array(z.string())
    .optional()
    .describe('The servers elsewhere that answer for it. Left out: this one does.'),
  context_length: z.int().optional().describe('Tokens of prompt and answer together, if they are known.'),
  supports_chat: z.boolean(),
  dimensions: z.int().optional().describe('Numbers in an embedding, of a model that embeds texts and does not answer.'),
  supports_image_input: z.boolean(),
  supports_video_input: z.boolean(),
  supports_audio_input: z.boolean(),
  supports_tools: z
    .boolean()
    .describe("Whether the model's chat template supports tools. Other models read them as text."),
  title: z.string(),
  display_name: z.string(),
  description: z.string(),
  model_type: z.enum(['chat', 'embedding']),
  context_size: z.int().optional(),
  max_output_tokens: z.int().optional(),
  features: z.array(z.string()),
  endpoints: z.array(z.string()),
  input_modalities: z.array(z.string()),
  output_modalities: z.array(z.string()),
  input_token_price_per_m: z.number().describe('In the currency of all prices, for a million tokens.'),
  cached_input_token_price_per_m: z.number().describe('For a million tokens of prompts that were in the cache.'),
  output_token_price_per_m: z.number(),
  least_image_price: z.number().describe('An image whose tokens cost less costs this.'),
})

export const modelList = z.strictObject({ object: z.literal('list'), data: z.array(model) })

export const modelsEndpoint: Endpoint = {
  method: 'GET',
  path: '/models',
  tag: 'Models',
  summary: 'List the models of this server',
  query: [
    { name: 'features', description: 'Only models with this feature, such as `vision`.' },
    { name: 'filter', description: 'Same as features.' },
    {
      name: 'state',
      description: 'Only models in this state. `all` adds the models of the catalogue that `oriel pull` can fetch.',
    },
    ...pageQuery,
  ],
  answer: z.union([modelList, anthropicModels]),
  handler:
    ({ services: { accounts, deployments } }) =>
    async ({ headers, query, identity }) => {
      const models = withAdapters((await deployments.list()).filter(isFor(identity)), await deployments.adapters())
      if (isAnthropic(headers)) return anthropicPage(models, query)
      return listOf(models, parseBody(modelsQuery, query), accounts)
    },
}

/** `GET /models/{model}`. A model id may contain slashes: accounts/oriel/models/pocket. */
export const modelEndpoint: Endpoint = {
  method: 'GET',
  path: '/models/{model}',
  pattern: '/models/*',
  tag: 'Models',
  summary: 'Get one model by its id or an alias',
  answer: z.union([model, anthropicModel]),
  handler:
    ({ services: { accounts, deployments } }) =>
    async ({ headers, params, identity }) => {
      const name = (params as { '*': string })['*']
      const adapter = (await deployments.adapters()).filter((one) => isCalled(one, name))
      const models = adapter.length > 0 ? (await deployments.list()).filter(isFor(identity)) : []
      const found =
        withAdapters(models, adapter).find((one) => one.parent !== undefined) ??
        (await ownModel(identity, name, () => deployments.describe(name)))
      return isAnthropic(headers) ? anthropicModelOf(found) : modelOf(found, accounts)
    },
}

/** One model as OpenAI lists it, with the fields of Fireworks and Novita, and its state. */
function modelOf(listed: ShownModel, accounts: Accounts): z.output<typeof model> {
  const {
    id,
    aliases,
    title,
    description,
    created,
    contextTokens,
    inputs,
    tools,
    thoughts,
    boxes,
    dimensions,
    upstreams,
    state,
    progress,
    error,
    parent,
  } = listed
  const images = inputs.includes('image')
  const isKnown = contextTokens > 0
  const { input, cachedInput, output, image } = accounts.pricesOf(parent ?? id)
  return {
    id,
    object: 'model',
    created,
    owned_by: 'oriel',
    ...(parent === undefined ? {} : { parent }),
    aliases: [...aliases],
    state,
    ...(progress === null ? {} : { progress }),
    ...(error === null ? {} : { error }),
    ...(upstreams === undefined ? {} : { upstreams: [...upstreams] }),
    // Fireworks' fields.
    ...(isKnown ? { context_length: contextTokens } : {}),
    supports_chat: dimensions === undefined,
    ...(dimensions === undefined ? {} : { dimensions }),
    supports_image_input: images,
    supports_video_input: inputs.includes('video'),
    supports_audio_input: inputs.includes('audio'),
    supports_tools: tools,
    // Novita's fields.
    title,
    display_name: title,
    description,
    model_type: dimensions === undefined ? 'chat' : 'embedding',
    ...(isKnown
      ? { context_size: contextTokens, max_output_tokens: dimensions === undefined ? contextTokens : 0 }
      : {}),
    features: [
      ...(images ? ['vision'] : []),
      ...inputs.filter((kind) => kind !== 'image'),
      ...(tools ? ['function-calling'] : []),
      ...(thoughts ? ['reasoning'] : []),
      ...(boxes ? ['grounding'] : []),
      dimensions === undefined ? 'structured-outputs' : 'embeddings',
    ],
    endpoints:
      dimensions === undefined
        ? [
            ...['chat/completions', 'completions', 'responses', 'anthropic'],
            ...(inputs.includes('audio') ? ['audio/transcriptions', 'audio/translations'] : []),
          ]
        : ['embeddings'],
    input_modalities: ['text', ...inputs],
    output_modalities: [dimensions === undefined ? 'text' : 'embeddings'],
    input_token_price_per_m: amountOf(input),
    cached_input_token_price_per_m: amountOf(cachedInput),
    output_token_price_per_m: amountOf(output),
    least_image_price: amountOf(image),
  }
}

const features = z.union([z.string(), z.array(z.string())]).optional()

const modelsQuery = z.object({
  features,
  /** Fireworks' name for it: `?filter=Vision`. */
  filter: features,
  state: z.enum(['all', ...states]).optional(),
})

function listOf(
  models: readonly ShownModel[],
  query: z.output<typeof modelsQuery>,
  accounts: Accounts,
): z.output<typeof modelList> {
  const wanted = [query.features ?? query.filter ?? []].flat().map((feature) => feature.toLowerCase())
  const data = models.filter((model) => isShown(model, query.state)).map((model) => modelOf(model, accounts))
  return {
    object: 'list',
    data: data.filter(({ features }) => wanted.every((feature) => features.includes(feature))),
  }
}

/** A client that lists models wants those that it can use, so the catalogue has to be asked for. */
const isShown = (model: ShownModel, wanted: z.output<typeof modelsQuery>['state']): boolean =>
  wanted === undefined ? isHere(model) : wanted === 'all' || wanted === model.state
