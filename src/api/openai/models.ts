import type { Backend, Deployments } from '../../deployments/index.ts'

/** One model as OpenAI lists it, with the fields that Fireworks and Novita add. */
export function modelObject({ card, model }: Backend) {
  const pictures = model.vision !== null
  return {
    id: card.id,
    object: 'model',
    created: card.created,
    owned_by: 'oriel',
    aliases: card.aliases,
    context_length: model.contextTokens,
    supports_chat: true,
    supports_image_input: pictures,
    supports_tools: false,
    title: card.title,
    description: card.description,
    context_size: model.contextTokens,
    features: pictures ? ['vision'] : [],
    input_modalities: pictures ? ['text', 'image'] : ['text'],
    output_modalities: ['text'],
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
