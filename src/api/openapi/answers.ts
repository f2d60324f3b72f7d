import { z } from 'zod'

/**
 * The bodies of answers, for the OpenAPI document; tests hold real answers to them. What is in `optional` comes only
 * where the request or the model gives cause to it.
 */

const id = z.string()
const seconds = z.int().describe('Seconds since 1970.')

const usage = z.strictObject({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  completion_tokens_details: z.strictObject({
    reasoning_tokens: z.int().describe('Tokens of thoughts that are told apart.'),
  }),
  prompt_tokens_details: z.strictObject({
    cached_tokens: z.int().describe('Tokens of the prompt that were in the cache.'),
    image_tokens: z.int(),
    images: z.array(z.int()).describe('Tokens of each picture, in their order.'),
  }),
})

const tokenChance = { token: z.string(), token_id: z.int(), logprob: z.number(), bytes: z.array(z.int()) }

const chatLogprobs = z.strictObject({
  content: z.array(z.strictObject({ ...tokenChance, top_logprobs: z.array(z.strictObject(tokenChance)) })),
  refusal: z.null(),
})

const legacyLogprobs = z.strictObject({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()).describe('null: nothing foretold it.'),
  top_logprobs: z.array(z.record(z.string(), z.number())),
  text_offset: z.array(z.int()),
  token_ids: z.array(z.int()),
})

const tokenIds = z.array(z.int()).describe('-1 stands for each place of a picture.')

const rawOutput = z.strictObject({
  prompt_fragments: z.array(z.string()),
  prompt_token_ids: tokenIds,
  completion: z.string(),
  completion_token_ids: z.array(z.int()),
  completion_logprobs: z.null(),
  grammar: z.null(),
  images: z.null(),
  videos: z.null(),
})

const perfMetrics = z.record(z.string(), z.string()).describe('Counts, and times in seconds.')

const finishReason = z.enum(['stop', 'length', 'tool_calls'])

const heading = { id, created: seconds, model: z.string(), system_fingerprint: z.null() }

export const chatCompletion = z.strictObject({
  ...heading,
  object: z.literal('chat.completion'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      message: z.strictObject({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        refusal: z.null(),
        reasoning_content: z.string().optional(),
        tool_calls: z
          .array(
            z.strictObject({
              id,
              type: z.literal('function'),
              function: z.strictObject({ name: z.string(), arguments: z.string().describe('JSON.') }),
            }),
          )
          .optional(),
      }),
      logprobs: z.union([chatLogprobs, legacyLogprobs]).nullable(),
      finish_reason: finishReason,
      raw_output: rawOutput.optional(),
      token_ids: z.array(z.int()).optional(),
    }),
  ),
  usage,
  prompt_token_ids: tokenIds.optional(),
  perf_metrics: perfMetrics.optional(),
})

export const chatChunk = z.strictObject({
  ...heading,
  object: z.literal('chat.completion.chunk'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      delta: z.strictObject({
        role: z.literal('assistant').optional(),
        content: z.string().optional(),
        reasoning_content: z.string().optional(),
        tool_calls: z
          .array(
            z.strictObject({
              index: z.int(),
              id: id.optional(),
              type: z.literal('function').optional(),
              function: z.strictObject({ name: z.string().optional(), arguments: z.string() }),
            }),
          )
          .optional(),
      }),
      logprobs: z.union([chatLogprobs, legacyLogprobs]).nullable(),
      finish_reason: finishReason.nullable(),
      raw_output: rawOutput.optional(),
      token_ids: z.array(z.int()).optional(),
    }),
  ),
  usage: usage.nullable().optional().describe('In the last chunk.'),
  prompt_token_ids: tokenIds.optional(),
  perf_metrics: perfMetrics.optional(),
})

export const textCompletion = z.strictObject({
  ...heading,
  object: z.literal('text_completion'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      text: z.string(),
      logprobs: legacyLogprobs.nullable(),
      finish_reason: finishReason.nullable(),
      raw_output: rawOutput.optional(),
      token_ids: z.array(z.int()).optional(),
      prompt_token_ids: tokenIds.optional(),
    }),
  ),
  usage: usage.nullable().optional().describe('In the last chunk of a stream.'),
  perf_metrics: perfMetrics.optional(),
})

export const dryRunAnswer = z.strictObject({
  object: z.literal('dry_run'),
  model: z.string(),
  choices: z.array(z.never()),
  context_length: z.int(),
  usage,
  cost: z.strictObject({ prompt: z.number(), answer_at_most: z.number() }),
})

export const tokenization = z.strictObject({
  object: z.literal('tokenization'),
  model: z.string(),
  count: z.int(),
  max_model_len: z.int(),
  parts: z.array(
    z.strictObject({
      type: z.enum(['text', 'image']),
      param: z.string().describe('Where the part stands in the request.'),
      tokens: z.int(),
      pictures: z.array(z.strictObject({ width: z.int(), height: z.int(), tokens: z.int() })).optional(),
    }),
  ),
  tokens: tokenIds,
  token_strs: z.array(z.string().nullable()),
})

export const model = z.strictObject({
  id,
  object: z.literal('model'),
  created: seconds,
  owned_by: z.string(),
  aliases: z.array(z.string()).describe('Other names that requests may use.'),
  state: z
    .enum(['loaded', 'loading', 'available', 'failed', 'not_pulled'])
    .describe('A model that is available is loaded when a request names it.'),
  progress: z.number().optional().describe('The share that is loaded, from 0 to 1, while it is being loaded.'),
  error: z.string().optional().describe('Why it could not be loaded.'),
  context_length: z.int(),
  supports_chat: z.boolean(),
  supports_image_input: z.boolean(),
  supports_tools: z.boolean().describe("Whether the model's own format knows tools; others are told of them in words."),
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

export const modelListAnswer = z.strictObject({ object: z.literal('list'), data: z.array(model) })

export const openaiError = z.strictObject({
  error: z.strictObject({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable().describe('The part of the request that is at fault.'),
    code: z.string().nullable().describe('A word for programs.'),
  }),
})

const messageUsage = z.strictObject({
  input_tokens: z.int().describe('Without those that were in the cache.'),
  cache_creation_input_tokens: z.int(),
  cache_read_input_tokens: z.int(),
  output_tokens: z.int(),
})

export const message = z.strictObject({
  id,
  type: z.literal('message'),
  role: z.literal('assistant'),
  model: z.string(),
  content: z.array(
    z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('text'), text: z.string() }),
      z.strictObject({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
      z.strictObject({ type: z.literal('tool_use'), id, name: z.string(), input: z.record(z.string(), z.unknown()) }),
    ]),
  ),
  stop_reason: z.enum(['end_turn', 'max_tokens', 'stop_sequence', 'tool_use']),
  stop_sequence: z.string().nullable(),
  usage: messageUsage,
})

export const messageCount = z.strictObject({ input_tokens: z.int() })

export const anthropicError = z.strictObject({
  type: z.literal('error'),
  error: z.strictObject({ type: z.string(), message: z.string() }),
  request_id: z.string(),
})

const itemStatus = z.enum(['in_progress', 'completed', 'incomplete'])

export const response = z.looseObject({
  id,
  object: z.literal('response'),
  created_at: seconds,
  status: z.enum(['in_progress', 'completed', 'incomplete', 'failed']),
  error: z.null(),
  incomplete_details: z.strictObject({ reason: z.literal('max_output_tokens') }).nullable(),
  model: z.string(),
  output: z.array(
    z.discriminatedUnion('type', [
      z.strictObject({
        type: z.literal('message'),
        id,
        role: z.literal('assistant'),
        status: itemStatus,
        content: z.array(
          z.strictObject({
            type: z.literal('output_text'),
            text: z.string(),
            annotations: z.array(z.never()),
            logprobs: z.array(z.never()),
          }),
        ),
      }),
      z.strictObject({
        type: z.literal('reasoning'),
        id,
        status: itemStatus,
        summary: z.array(z.never()),
        content: z.array(z.strictObject({ type: z.literal('reasoning_text'), text: z.string() })),
      }),
      z.strictObject({
        type: z.literal('function_call'),
        id,
        call_id: z.string(),
        name: z.string(),
        arguments: z.string(),
        status: itemStatus,
      }),
    ]),
  ),
  usage: z
    .strictObject({
      input_tokens: z.int(),
      input_tokens_details: z.strictObject({ cached_tokens: z.int(), cache_write_tokens: z.int() }),
      output_tokens: z.int(),
      output_tokens_details: z.strictObject({ reasoning_tokens: z.int() }),
      total_tokens: z.int(),
    })
    .nullable(),
})

/** One event of a stream; each type has members of its own. */
export const typedEvent = z.looseObject({ type: z.string() })
