import { z } from 'zod'
import { image, inputFile, pageChoices, refusalPart, textPart } from '../request/content.ts'
import { jsonSchema } from '../request/parameters.ts'
import { functionFields } from '../request/tools.ts'
import { refusal } from '../request/validation.ts'

const inputPart = z.discriminatedUnion(
  'type',
  [
    textPart('input_text', 'output_text', 'text'),
    refusalPart,
    z
      .object({
        type: z.literal('input_image'),
        image_url: z.string({
          error: 'must be a string: a data:, http: or https: URL, since this server stores no files',
        }),
        detail: z.enum(['low', 'high', 'auto', 'original']).nullish(),
        ...pageChoices,
      })
      .transform(({ image_url, detail, ...pages }) =>
        image(image_url, 'image_url', { ...pages, detail: detail === 'original' ? 'high' : (detail ?? 'auto') }),
      ),
    inputFile,
  ],
  { error: 'must be "input_text", "input_image", "input_file", "output_text" or "refusal"' },
)

const content = z.union([z.string(), z.array(inputPart)])

const item = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('message').optional(),
    role: z.enum(['user', 'assistant', 'system', 'developer']),
    content,
  }),
  z.object({ type: z.literal('function_call'), call_id: z.string(), name: z.string(), arguments: z.string() }),
  z.object({ type: z.literal('function_call_output'), call_id: z.string(), output: content }),
  z.object({
    type: z.literal('reasoning'),
    content: z.array(z.object({ type: z.literal('reasoning_text'), text: z.string() })).nullish(),
  }),
])

const tool = z.object({
  type: z.literal('function', { error: 'must be "function": this server has no built-in tools' }),
  ...functionFields,
})

const named = z.object({ type: z.literal('function'), name: z.string() })

const stateless = (what: string) =>
  z
    .null({ error: `is not supported: this server stores no ${what}; send the whole conversation as input` })
    .meta(refusal)
    .optional()

export const responsesRequest = z.looseObject({
  model: z.string().min(1),
  input: z.union([z.string(), z.array(item).min(1)]),
  instructions: z.string().nullish(),
  max_output_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({}).nullish(),
  tools: z.array(tool).max(128).nullish(),
  tool_choice: z
    .union([
      z.enum(['none', 'auto', 'required']),
      named,
      z.object({ type: z.literal('allowed_tools'), mode: z.enum(['auto', 'required']), tools: z.array(named) }),
    ])
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  text: z
    .looseObject({
      format: z
        .discriminatedUnion('type', [
          z.object({ type: z.literal('text') }),
          z.object({ type: z.literal('json_object') }),
          z.looseObject({ type: z.literal('json_schema'), name: z.string().optional(), schema: jsonSchema }),
        ])
        .nullish(),
    })
    .nullish(),
  reasoning: z.looseObject({ effort: z.string().nullish() }).nullish(),
  truncation: z.enum(['auto', 'disabled']).nullish(),
  include: z.array(z.string()).nullish(),
  store: z.boolean().nullish(),
  previous_response_id: stateless('responses'),
  conversation: stateless('conversations'),
  background: z.literal(false, { error: 'must be false: background responses are not supported' }).nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_isolation_key: z.string().nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  safety_identifier: z.string().nullish(),
  service_tier: z.string().nullish(),
  user: z.string().nullish(),
})

export type ResponsesRequest = z.output<typeof responsesRequest>
