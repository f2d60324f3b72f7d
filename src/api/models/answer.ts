import { z } from 'zod'

export const model = z.strictObject({
  id: z.string(),
  object: z.literal('model'),
  created: z.int().describe('Seconds since 1970.'),
  owned_by: z.string(),
  aliases: z.array(z.string()).describe('Other names that requests may use.'),
  state: z
    .enum(['loaded', 'loading', 'available', 'failed', 'not_pulled'])
    .describe('An available model is loaded when a request names it.'),
  progress: z.number().optional().describe('Fraction that is loaded, from 0 to 1, while the state is loading.'),
  error: z.string().optional().describe('Why loading failed.'),
  context_length: z.int(),
  supports_chat: z.boolean(),
  supports_image_input: z.boolean(),
  supports_tools: z
    .boolean()
    .describe("Whether the model's chat template supports tools. Other models read them as text."),
  title: z.string(),
  display_name: z.string(),
  description: z.string(),
  model_type: z.literal('chat'),
  context_size: z.int(),
  max_output_tokens: z.int(),
  features: z.array(z.string()),
  endpoints: z.array(z.string()),
  input_modalities: z.array(z.string()),
  output_modalities: z.array(z.string()),
  input_token_price_per_m: z.number(),
  output_token_price_per_m: z.number(),
})

export const modelList = z.strictObject({ object: z.literal('list'), data: z.array(model) })
