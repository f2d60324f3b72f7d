import type { Backend, Deployments } from '../../deployments/index.ts'
import { formatOf } from '../answering/prepare.ts'

/** One model as OpenAI lists it, with the fields that Fireworks and Novita add. */
export function modelObject(backend: Backend) {
  const { card, model, prices } = backend
  const pictures = model.vision !== null
  const tools = formatOf(backend).tools
  return {
    id: card.id,
    object: 'model',
    created: card.created,
    owned_by: 'oriel',
    aliases: card.aliases,
    // Fireworks'
    context_length: model.contextTokens,
    supports_chat: true,
    supports_image_input: pictures,
    supports_tools: tools,
    // Novita's. A model of one's own costs nothing by the token unless somebody says so.
    title: card.title,
    display_name: card.title,
    description: card.description,
    model_type: 'chat',
    context_size: model.contextTokens,
    max_output_tokens: model.contextTokens,
    features: [...(pictures ? ['vision'] : []), ...(tools ? ['function-calling'] : []), 'structured-outputs'],
    endpoints: ['chat/completions', 'completions', 'responses', 'anthropic'],
    input_modalities: pictures ? ['text', 'image'] : ['text'],
    output_modalities: ['text'],
    input_token_price_per_m: prices.input,
    output_token_price_per_m: prices.output,
  }
}

/** `GET /v1/models`, narrowed by `?features=vision` or, as Fireworks' own page has it, `?filter=Vision`. */
export function modelList(deployments: Deployments, query: { features?: string; filter?: string }) {
  const feature = (query.features ?? query.filter)?.toLowerCase()
  const data = deployments.list().map(modelObject)
  return {
    object: 'list',
    data: feature === undefined ? data : data.filter(({ features }) => features.includes(feature)),
  }
}
