import { z } from 'zod'
import { responsesRequest } from './schema.ts'

const itemStatus = z.enum(['in_progress', 'completed', 'incomplete'])

const outputText = z.strictObject({
  type: z.literal('output_text'),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs: z.array(z.never()),
})

const reasoningText = z.strictObject({ type: z.literal('reasoning_text'), text: z.string() })

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
  }),
  z.strictObject({
    type: z.literal('function_call'),
    id: z.string(),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
    status: itemStatus,
  }),
])

const usage = z.strictObject({
  input_tokens: z.int(),
  input_tokens_details: z.strictObject({ cached_tokens: z.int(), cache_write_tokens: z.int() }),
  output_tokens: z.int(),
  output_tokens_details: z.strictObject({ reasoning_tokens: z.int() }),
  total_tokens: z.int(),
})

/** The answer of `/responses`, whole or as far as a stream has come. Most fields repeat the request. */
export const response = z.strictObject({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int().describe('Seconds since 1970.'),
  completed_at: z.int().nullable(),
  status: z.enum(['in_progress', 'completed', 'incomplete', 'failed']),
  background: z.literal(false),
  error: z.strictObject({ code: z.literal('server_error'), message: z.string() }).nullable(),
  incomplete_details: z.strictObject({ reason: z.literal('max_output_tokens') }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  model: z.string(),
  output: z.array(item),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.null(),
  prompt_cache_key: z.string().nullable(),
  reasoning: z.strictObject({ effort: z.string().nullable(), summary: z.null() }),
  safety_identifier: z.string().nullable(),
  service_tier: z.literal('default'),
  store: z.literal(false),
  temperature: z.number(),
  text: responsesRequest.shape.text.unwrap().unwrap(),
  tool_choice: responsesRequest.shape.tool_choice.unwrap().unwrap(),
  tools: responsesRequest.shape.tools.unwrap().unwrap(),
  top_logprobs: z.int(),
  top_p: z.number(),
  truncation: z.enum(['auto', 'disabled']),
  usage: usage.nullable(),
  user: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
})

const numbered = { sequence_number: z.int() }
const ofItem = { ...numbered, output_index: z.int(), item_id: z.string() }
const ofPart = { ...ofItem, content_index: z.int() }
const logprobs = z.array(z.never())

/** One event of a stream. */
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
])
