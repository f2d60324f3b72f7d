import { z } from 'zod'
import { ranges } from '../../deployments/index.ts'
import { image, mostMessages, reading, refusalPart, textPart } from '../request/content.ts'
import { inputFile } from '../request/files.ts'
import { jsonSchema } from '../request/json-schema.ts'
import { ownMetadata, ownText } from '../request/metadata.ts'
import { inputAudio, inputVideo } from '../request/recordings.ts'
import { refusal } from '../request/validation.ts'
import { returnBoxes } from '../shapes/grounding.ts'
import { includeUsage } from '../shapes/included.ts'
import { tool, toolChoice } from './tools.ts'

const inputPart = z.discriminatedUnion(
  'type',
  [
    textPart('input_text', 'output_text', 'text'),
    refusalPart,
    z
      .object({
        type: z.literal('input_image'),
        image_url: z.string({
          error: 'must be a string: a data:, http: or https: URL, since stored files are only for fine-tuning',
        }),
        detail: z.enum(['low', 'high', 'auto', 'original']).nullish(),
        ...reading,
      })
      .transform(({ image_url, detail, ...options }) =>
        image(image_url, 'image_url', { ...options, detail: detail === 'original' ? 'high' : (detail ?? 'auto') }),
      ),
    inputVideo,
    inputAudio,
    inputFile,
  ],
  {
    error:
      'must be "input_text", "input_image", "input_video", "input_audio", "input_file", "output_text" or "refusal"',
  },
)

const content = z.union([z.string(), z.array(inputPart)])

const called = { call_id: z.string(), name: z.string(), namespace: z.string().nullish() }

/** What tools of OpenAI did in earlier turns, and what only its models can read. */
const otherItem = z.object({
  type: z.enum([
    'web_search_call',
    'file_search_call',
    'code_interpreter_call',
    'image_generation_call',
    'computer_call',
    'computer_call_output',
    'local_shell_call',
    'local_shell_call_output',
    'shell_call',
    'shell_call_output',
    'apply_patch_call',
    'apply_patch_call_output',
    'mcp_list_tools',
    'mcp_call',
    'mcp_approval_request',
    'mcp_approval_response',
    'tool_search_call',
    'tool_search_output',
    'additional_tools',
    'program',
    'program_output',
    'compaction',
    'compaction_trigger',
  ]),
})

/** An item of the input. Those of stored responses are read with it again. */
export const item = z.discriminatedUnion(
  'type',
  [
    z.object({
      type: z.literal('message').optional(),
      role: z.enum(['user', 'assistant', 'system', 'developer']),
      content,
    }),
    z.object({ type: z.literal('function_call'), ...called, arguments: z.string() }),
    z.object({ type: z.literal('function_call_output'), call_id: z.string(), output: content }),
    z.object({ type: z.literal('custom_tool_call'), ...called, input: z.string() }),
    z.object({ type: z.literal('custom_tool_call_output'), call_id: z.string(), output: content }),
    z.object({
      type: z.literal('reasoning'),
      content: z.array(z.object({ type: z.enum(['reasoning_text', 'text']), text: z.string() })).nullish(),
      summary: z.array(z.object({ type: z.literal('summary_text'), text: z.string() })).nullish(),
      encrypted_content: z.string().nullish(),
    }),
    z.object({ type: z.literal('item_reference'), id: z.string() }),
    otherItem,
  ],
  {
    // Not all of them: nobody sends those that are left out by mistake.
    error: ({ input }) =>
      typeof input === 'object'
        ? 'must be "message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "reasoning" or "item_reference"'
        : undefined,
  },
)

const unsupported = (error: string) => z.null({ error }).meta(refusal).optional()

/** The fields that make the prompt. */
const prompt = {
  model: z.string().min(1),
  input: z.union([z.string(), z.array(item).min(1).max(mostMessages)]),
  previous_response_id: z
    .string()
    .nullish()
    .describe('A stored response, which the input continues. Its instructions are not carried over.'),
  instructions: z.string().nullish(),
  tools: z.array(tool).max(128).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  text: z
    .looseObject({
      format: z
        .discriminatedUnion('type', [
          z.object({ type: z.literal('text') }),
          z.object({ type: z.literal('json_object') }),
          z.object({
            type: z.literal('json_schema'),
            name: z.string().max(256).optional(),
            description: z.string().max(10_000).nullish(),
            schema: jsonSchema,
            strict: z.boolean().nullish(),
          }),
        ])
        .nullish(),
      verbosity: z.enum(['low', 'medium', 'high']).nullish(),
    })
    .nullish(),
  reasoning: z.looseObject({ effort: z.string().nullish() }).nullish(),
  truncation: z.enum(['auto', 'disabled']).nullish(),
  prompt_cache_isolation_key: z.string().nullish(),
  conversation: unsupported('is not supported: continue a stored response with previous_response_id'),
  prompt: unsupported('is not supported: this server stores no prompts; send instructions and input'),
}

export const inputTokensRequest = z.looseObject(prompt)

export const responsesRequest = z.looseObject({
  ...prompt,
  max_output_tokens: ranges.maxTokens.nullish(),
  max_tool_calls: z.int().min(1).nullish().describe('Limits the tools of OpenAI, of which this server has none.'),
  temperature: ranges.temperature.nullish(),
  top_p: ranges.topP.nullish(),
  presence_penalty: ranges.presencePenalty.nullish(),
  frequency_penalty: ranges.frequencyPenalty.nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({}).nullish(),
  include: z.array(z.string()).nullish(),
  store: z.boolean().nullish().describe('Whether to keep the response. Default: true.'),
  background: z.literal(false, { error: 'must be false: background responses are not supported' }).nullish(),
  prompt_cache_key: ownText.nullish(),
  metadata: ownMetadata.nullish(),
  safety_identifier: ownText.nullish(),
  service_tier: z.string().nullish(),
  user: ownText.nullish(),
  return_boxes: returnBoxes,
  usage: includeUsage,
})

export type InputTokensRequest = z.output<typeof inputTokensRequest>
export type ResponsesRequest = z.output<typeof responsesRequest>
export type ResponsesItem = z.output<typeof item>
