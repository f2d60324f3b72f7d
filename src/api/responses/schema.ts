import { z } from 'zod'
import { jsonSchema } from '../openai/parameters.ts'
import { choices, inputFile } from '../openai/parts.ts'
import { argumentsSchema, functionName } from '../openai/tools.ts'
import { refusal } from '../validation.ts'

const inputPart = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.enum(['input_text', 'output_text', 'text']), text: z.string() }),
    z.object({ type: z.literal('refusal'), refusal: z.string() }),
    z.object({
      type: z.literal('input_image'),
      image_url: z.string({
        error: 'must be a string: a data:, http: or https: URL, since this server stores no files',
      }),
      detail: z.enum(['low', 'high', 'auto', 'original']).nullish(),
      ...choices,
    }),
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
  type: z.literal('function', { error: 'must be "function": this server has no tools of its own' }),
  name: functionName,
  description: z.string().nullish(),
  parameters: argumentsSchema.nullish(),
  strict: z.boolean().nullish(),
})

const named = z.object({ type: z.literal('function'), name: z.string() })

const stateless = (what: string) =>
  z
    .null({ error: `is not taken: this server stores no ${what}; send all of it as input` })
    .meta(refusal)
    .optional()

/** `POST /v1/responses` */
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
  background: z.literal(false, { error: 'must be false: answers are given at once' }).nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_isolation_key: z.string().nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  safety_identifier: z.string().nullish(),
  service_tier: z.string().nullish(),
  user: z.string().nullish(),
})

export type ResponsesRequest = z.output<typeof responsesRequest>
