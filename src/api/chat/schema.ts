import { z } from 'zod'
import {
  dataOrUrl,
  detail,
  image,
  imageBounds,
  mostMessages,
  orBeside,
  reading,
  refusalPart,
  textPart,
} from '../request/content.ts'
import { chatFile, inputFile, sourceImage } from '../request/files.ts'
import { pairsOf } from '../request/pairs.ts'
import { parameters } from '../request/parameters.ts'
import { audioUrl, inputAudio, videoUrl } from '../request/recordings.ts'
import { mostTokens } from '../request/self-hosted.ts'
import { callParameters, functionParameters, mostCalls, toolParameters } from '../request/tools.ts'
import { optional } from '../request/validation.ts'

/** OpenAI's form, or the bare URL that many clients send. */
const imageUrl = z
  .object({
    type: z.literal('image_url'),
    image_url: z.union([z.string(), z.object({ url: dataOrUrl, detail, ...reading })]),
    detail,
    ...reading,
  })
  .transform(({ image_url: given, ...beside }) =>
    typeof given === 'string'
      ? image(given, 'image_url', beside)
      : image(given.url, 'image_url', orBeside(given, beside)),
  )

const inputImage = z
  .object({ type: z.literal('input_image'), image_url: z.string(), detail, ...reading })
  .transform((part) => image(part.image_url, 'image_url', part))

const contentPart = z.discriminatedUnion(
  'type',
  [
    textPart('text', 'input_text'),
    imageUrl,
    inputImage,
    sourceImage,
    chatFile,
    inputFile,
    refusalPart,
    videoUrl,
    audioUrl,
    inputAudio,
  ],
  {
    error:
      'must be "text", "image_url", "input_image", "image", "video_url", "input_audio", "audio_url", "file" or "input_file"',
  },
)

/** Of a message. */
export const content = z.union([z.string(), z.array(contentPart).min(1)])

const message = z
  .object({
    // `function` and `function_call` are the older forms of `tool` and `tool_calls`.
    role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
    content: content.nullish(),
    name: z.string().nullish(),
    reasoning_content: z.string().nullish(),
    refusal: z.string().nullish(),
    tool_calls: z.array(callParameters).max(mostCalls).nullish(),
    tool_call_id: z.string().nullish(),
    function_call: callParameters.shape.function.nullish(),
  })
  .refine(({ role, content }) => role === 'assistant' || content != null, {
    path: ['content'],
    error: 'must be a string or an array',
  })

export const chatRequest = z.looseObject({
  model: z.string().min(1),
  messages: z.array(message).min(1).max(mostMessages),
  ...parameters,
  ...toolParameters,
  ...functionParameters,
  max_completion_tokens: optional(mostTokens, 'Same as max_tokens.'),
  logprobs: optional(
    z.union([z.boolean(), z.int().min(0).max(5)]),
    'Return the log probabilities of the tokens. A number selects the format of completions, with that many alternatives for each token.',
  ),
  top_logprobs: optional(z.int().min(0).max(20), 'Number of alternatives returned for each token. Requires logprobs.'),
  reasoning_effort: optional(
    z.union([z.string(), z.int(), z.boolean()]),
    'How long to think, for models whose chat template supports it. `none` turns thinking off.',
  ),
  enable_thinking: optional(z.boolean(), 'Whether to think, for models whose chat template supports it.'),
  thinking: optional(
    z.object({ type: z.enum(['enabled', 'disabled']), budget_tokens: z.int().min(1024).nullish() }),
    'Whether to think, in the form of Fireworks and Anthropic. The budget has no effect.',
  ),
  separate_reasoning: optional(
    z.boolean(),
    'Return thoughts as reasoning_content instead of within the content. Default: true.',
  ),
  continue_final_message: optional(
    z.boolean(),
    'Continue the last message, which must be an assistant message, instead of answering it.',
  ),
  add_generation_prompt: optional(z.boolean(), 'false: the same as continue_final_message.'),
  chat_template_kwargs: optional(
    pairsOf(z.union([z.string(), z.number(), z.boolean()]), { most: 100 }),
    "More variables for the model's chat template.",
  ),
  mm_processor_kwargs: optional(
    z.strictObject(imageBounds),
    'Bounds of all images that have none of their own, as vLLM has them.',
  ),
})

export type ChatRequest = z.output<typeof chatRequest>
