import { z } from 'zod'
import { jsonSchema } from '../request/json-schema.ts'
import { grounding } from '../shapes/grounding.ts'
import { included } from '../shapes/included.ts'
import { chatLogprobs } from '../shapes/logprobs.ts'
import { shownTool, toolChoice } from './tools.ts'

const itemStatus = z.enum(['in_progress', 'completed', 'incomplete'])

const logprobs = chatLogprobs.shape.content

const outputText = z.strictObject({
  type: z.literal('output_text'),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs,
})

const reasoningText = z.strictObject({ type: z.literal('reasoning_text'), text: z.string() })

const called = { id: z.string(), call_id: z.string(), name: z.string(), namespace: z.string().optional() }

const item = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('message'),
    id: z.string(),
    role: z.literal('assistant'),
    status: itemStatus,
    content: z.array(outputText),
  }),
  z.strictObject({
    type: z.literal('reasoning'),
    id: z.string(),
    status: itemStatus,
    summary: z.array(z.never()),
    content: z.array(reasoningText),
    encrypted_content: z.string().optional().describe('If the request includes it. It is the thought in base64.'),
  }),
  z.strictObject({ type: z.literal('function_call'), ...called, arguments: z.string(), status: itemStatus }),
  z.strictObject({ type: z.literal('custom_tool_call'), ...called, input: z.string(), status: itemStatus }),
])

const usage = z.strictObject({
  input_tokens: z.int(),
  input_tokens_details: z.strictObject({ cached_tokens: z.int(), cache_write_tokens: z.int() }),
  output_tokens: z.int(),
  output_tokens_details: z.strictObject({ reasoning_tokens: z.int() }),
  total_tokens: z.int(),
  ...included,
})

const format = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
  z.strictObject({
    type: z.literal('json_schema'),
    name: z.string(),
    description: z.string().nullable(),
    schema: jsonSchema,
    strict: z.boolean(),
  }),
])

/** The answer of `/responses`, whole or as far as a stream has come. Most fields repeat the request. */
export const response = z.strictObject({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int().describe('Seconds since 1970.'),
  completed_at: z.int().nullable(),
  status: z.enum(['in_progress', 'completed', 'incomplete', 'failed']),
  background: z.literal(false),
  error: z.strictObject({ code: z.literal('server_error'), message: z.string() }).nullable(),
  frequency_penalty: z.number(),
  incomplete_details: z.strictObject({ reason: z.literal(['max_output_tokens', 'content_filter']) }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  max_tool_calls: z.int().nullable(),
  model: z.string(),
  output: z.array(item),
  parallel_tool_calls: z.boolean(),
  presence_penalty: z.number(),
  previous_response_id: z.string().nullable(),
  prompt_cache_key: z.string().nullable(),
  reasoning: z.strictObject({ effort: z.string().nullable(), summary: z.null() }),
  safety_identifier: z.string().nullable(),
  service_tier: z.literal('default'),
  store: z.boolean().describe('Whether it is kept.'),
  temperature: z.number(),
  text: z.strictObject({ format, verbosity: z.enum(['low', 'medium', 'high']) }),
  tool_choice: toolChoice,
  tools: z.array(shownTool),
  top_logprobs: z.int(),
  top_p: z.number(),
  truncation: z.enum(['auto', 'disabled']),
  usage: usage.nullable(),
  user: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
  ...grounding,
})

const numbered = { sequence_number: z.int() }
const ofItem = { ...numbered, output_index: z.int(), item_id: z.string() }
const ofPart = { ...ofItem, content_index: z.int() }

export const responseEvent = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.enum([
      'response.created',
      'response.in_progress',
      'response.completed',
      'response.incomplete',
      'response.failed',
    ]),
    response,
    ...numbered,
  }),
  z.strictObject({
    type: z.enum(['response.output_item.added', 'response.output_item.done']),
    output_index: z.int(),
    item,
    ...numbered,
  }),
  z.strictObject({
    type: z.enum(['response.content_part.added', 'response.content_part.done']),
    part: z.discriminatedUnion('type', [outputText, reasoningText]),
    ...ofPart,
  }),
  z.strictObject({ type: z.literal('response.output_text.delta'), delta: z.string(), logprobs, ...ofPart }),
  z.strictObject({ type: z.literal('response.output_text.done'), text: z.string(), logprobs, ...ofPart }),
  z.strictObject({ type: z.literal('response.reasoning_text.delta'), delta: z.string(), ...ofPart }),
  z.strictObject({ type: z.literal('response.reasoning_text.done'), text: z.string(), ...ofPart }),
  z.strictObject({ type: z.literal('response.function_call_arguments.delta'), delta: z.string(), ...ofItem }),
  z.strictObject({
    type: z.literal('response.function_call_arguments.done'),
    name: z.string(),
    arguments: z.string(),
    ...ofItem,
  }),
  z.strictObject({ type: z.literal('response.custom_tool_call_input.delta'), delta: z.string(), ...ofItem }),
  z.strictObject({ type: z.literal('response.custom_tool_call_input.done'), input: z.string(), ...ofItem }),
])
