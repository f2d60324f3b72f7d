import type { ListedModel } from '../../deployments/index.ts'

/** One model as OpenAI lists it, with the fields that Fireworks and Novita add, and how it is here. */
export function modelObject(listed: ListedModel) {
  const { id, aliases, title, description, created, contextTokens, inputs, tools, prices, state, progress, error } =
    listed
  const images = inputs.includes('image')
  return {
    id,
    object: 'model',
    created,
    owned_by: 'oriel',
    aliases,
    state,
    ...(progress === null ? {} : { progress }),
    ...(error === null ? {} : { error }),
    // Fireworks'
    context_length: contextTokens,
    supports_chat: true,
    supports_image_input: images,
    supports_tools: tools,
    // Novita's. A model of one's own costs nothing by the token unless somebody says so.
    title,
    display_name: title,
    description,
    model_type: 'chat',
    context_size: contextTokens,
    max_output_tokens: contextTokens,
    features: [...(images ? ['vision'] : []), ...(tools ? ['function-calling'] : []), 'structured-outputs'],
    endpoints: ['chat/completions', 'completions', 'responses', 'anthropic'],
    input_modalities: ['text', ...inputs],
    output_modalities: ['text'],
    input_token_price_per_m: prices.input,
    output_token_price_per_m: prices.output,
  }
}

/** `GET /v1/models`, narrowed by `?features=vision` or, as Fireworks' own page has it, `?filter=Vision`. */
export function modelList(models: readonly ListedModel[], query: { features?: Given; filter?: Given }) {
  const wanted = [query.features ?? query.filter ?? []].flat().map((feature) => feature.toLowerCase())
  const data = models.map(modelObject)
  return {
    object: 'list',
    data: data.filter(({ features }) => wanted.every((feature) => features.includes(feature))),
  }
}

/** A parameter of a URL that may be there more than once. */
type Given = string | string[]
