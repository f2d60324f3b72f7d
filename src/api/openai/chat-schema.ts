import { z } from 'zod'
import { refusal } from '../validation.ts'
import { parameters } from './parameters.ts'
import { choices, detail, file, imageUrl, inputFile, refused, textPart } from './parts.ts'
import { callParameters, toolParameters } from './tools.ts'

const contentPart = z.discriminatedUnion(
  'type',
  [
    textPart,
    z.object({ type: z.literal('image_url'), image_url: imageUrl }),
    z.object({ type: z.literal('input_image'), image_url: z.string(), detail, ...choices }),
    z.object({
      type: z.literal('image'),
      source: z.discriminatedUnion('type', [
        z.object({ type: z.literal('base64'), media_type: z.string().optional(), data: z.string() }),
        z.object({ type: z.literal('url'), url: z.string() }),
      ]),
    }),
    z.object({ type: z.literal('file'), file }),
    // What an assistant said when it did not answer.
    z.object({ type: z.literal('refusal'), refusal: z.string() }),
    inputFile,
    refused('video_url', 'this model takes text and pictures, no video'),
    refused('input_audio', 'this model takes text and pictures, no audio'),
    refused('audio_url', 'this model takes text and pictures, no audio'),
  ],
  { error: 'must be "text", "image_url", "input_image", "image", "file" or "input_file"' },
)

const content = z.union([z.string(), z.array(contentPart).min(1)])

const message = z
  .object({
    role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
    content: content.nullish(),
    name: z.string().nullish(),
    reasoning_content: z.string().nullish(),
    tool_calls: z.array(callParameters).nullish(),
    tool_call_id: z.string().nullish(),
  })
  .refine(({ role, content }) => role === 'assistant' || content != null, {
    path: ['content'],
    error: 'must be a string or an array',
  })

/** `POST /v1/chat/completions` */
export const chatRequest = z.looseObject({
  model: z.string().min(1),
  messages: z.array(message).min(1),
  ...parameters,
  ...toolParameters,
  max_completion_tokens: z.int().min(1).nullish().describe('The same as max_tokens.'),
  logprobs: z
    .union([z.boolean(), z.int().min(0).max(5)])
    .nullish()
    .describe(
      'Log probabilities of the tokens. A number asks for the form of completions, with so many rivals of each.',
    ),
  top_logprobs: z.int().min(0).max(20).nullish().describe('Rivals of each token to tell of; needs logprobs.'),
  reasoning_effort: z
    .union([z.string(), z.int(), z.boolean()])
    .nullish()
    .describe('How long to think, for models whose template knows it; `none`: not at all.'),
  enable_thinking: z.boolean().nullish().describe('Whether to think, for models whose template knows it.'),
  thinking: z
    .object({ type: z.enum(['enabled', 'disabled']), budget_tokens: z.int().min(1024).nullish() })
    .nullish()
    .describe('The same, as Fireworks and Anthropic have it; the budget has no effect.'),
  separate_reasoning: z
    .boolean()
    .nullish()
    .describe('Tell thoughts apart from the answer, as reasoning_content; on unless false.'),
  continue_final_message: z
    .boolean()
    .nullish()
    .describe("Go on with the last message, an assistant's, instead of answering it."),
  add_generation_prompt: z.boolean().nullish().describe('false: the same.'),
  chat_template_kwargs: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
    .nullish()
    .describe("Further words of the model's chat template."),
  functions: z.null({ error: 'is not taken: send tools, which has taken its place' }).meta(refusal).optional(),
  function_call: z
    .null({ error: 'is not taken: send tool_choice, which has taken its place' })
    .meta(refusal)
    .optional(),
})

export type ChatRequest = z.output<typeof chatRequest>
export type RequestMessage = ChatRequest['messages'][number]
