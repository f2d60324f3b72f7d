import { z } from 'zod'

const detail = z.enum(['low', 'high', 'auto']).default('auto')

/** Where a picture is: an object as OpenAI has it, or the bare URL that many clients send. */
const imageUrl = z.union([
  z.string().transform((url) => ({ url, detail: 'auto' as const })),
  z.object({ url: z.string({ error: 'must be a string: a data:, http: or https: URL' }), detail }),
])

const refused = <T extends string>(type: T, why: string) =>
  z.object({ type: z.literal(type) }).refine(() => false, { error: `has the type ${type}: ${why}`, path: ['type'] })

const textPart = z.object({ type: z.enum(['text', 'input_text']), text: z.string() })

/** A document, whose pages become pictures. `pages` is ours: `"1-3,7"`, `"all"`, or a number of them. */
const file = z.object({
  file_data: z.string({ error: 'must be a string: the file itself as a data: URL, since this server stores no files' }),
  filename: z.string().nullish(),
  pages: z.union([z.string(), z.int().min(1)]).optional(),
})

const contentPart = z.discriminatedUnion(
  'type',
  [
    textPart,
    z.object({ type: z.literal('image_url'), image_url: imageUrl }),
    z.object({ type: z.literal('input_image'), image_url: z.string(), detail }),
    z.object({
      type: z.literal('image'),
      source: z.discriminatedUnion('type', [
        z.object({ type: z.literal('base64'), media_type: z.string().optional(), data: z.string() }),
        z.object({ type: z.literal('url'), url: z.string() }),
      ]),
    }),
    z.object({ type: z.literal('file'), file }),
    refused('video_url', 'this model takes text and pictures, no video'),
    refused('input_audio', 'this model takes text and pictures, no audio'),
    refused('audio_url', 'this model takes text and pictures, no audio'),
  ],
  { error: 'must be "text", "image_url", "input_image", "image" or "file"' },
)

const content = z.union([z.string(), z.array(contentPart).min(1)])

const message = z
  .object({
    role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
    content: content.nullish(),
    name: z.string().nullish(),
  })
  .refine(({ role, content }) => role === 'assistant' || content != null, {
    path: ['content'],
    error: 'must be a string or an array',
  })

const jsonSchema = z.union([z.boolean(), z.record(z.string(), z.unknown())])

const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  // Fireworks takes a schema here too.
  z.object({ type: z.literal('json_object'), schema: jsonSchema.nullish() }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({ name: z.string().optional(), schema: jsonSchema.nullish(), strict: z.boolean().nullish() }),
  }),
  z.object({ type: z.literal('grammar'), grammar: z.string().min(1) }),
])

/** One or several; clients that have none send an empty one. */
const stop = z
  .union([z.string(), z.array(z.string()).max(16)])
  .transform((given) => [given].flat().filter((text) => text !== ''))

/** `POST /v1/chat/completions`: OpenAI's parameters and those that Fireworks adds. Unknown ones are ignored. */
export const chatRequest = z.looseObject({
  model: z.string().min(1),
  messages: z.array(message).min(1),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(128).nullish(),
  stop: stop.nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  typical_p: z.number().gt(0).max(1).nullish(),
  repetition_penalty: z.number().gt(0).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  seed: z.int().nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d+$/, { error: 'must be a token id' }), z.number().min(-100).max(100))
    .nullish(),
  logprobs: z.union([z.boolean(), z.int().min(0).max(5)]).nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  response_format: responseFormat.nullish(),
  ignore_eos: z.boolean().nullish(),
  context_length_exceeded_behavior: z.enum(['truncate', 'error']).nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_isolation_key: z.string().nullish(),
  prompt_cache_max_len: z.int().min(0).nullish(),
  tools: z
    .array(z.unknown())
    .refine((tools) => tools.length === 0, { error: 'cannot be used: this server does not call tools' })
    .nullish(),
  user: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  service_tier: z.string().nullish(),
})

export type ChatRequest = z.output<typeof chatRequest>
export type RequestMessage = ChatRequest['messages'][number]

/** Parameters that have a meaning here, for telling which of a request's were ignored. */
export const knownParameters: ReadonlySet<string> = new Set(Object.keys(chatRequest.shape))
