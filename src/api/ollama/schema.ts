import { z } from 'zod'
import { ranges } from '../../deployments/index.ts'
import { mostMessages } from '../request/content.ts'
import { stopTextOrTexts } from '../request/parameters.ts'
import { argumentsSchema, functionFields, mostCalls } from '../request/tools.ts'
import { optional } from '../request/validation.ts'
import { returnBoxes } from '../shapes/grounding.ts'
import { includeUsage } from '../shapes/included.ts'

/** Ollama's names have a tag, and `latest` stands for none. */
export const withoutTag = (name: string): string => name.replace(/:latest$/, '')

export const model = z.string().min(1)

const images = optional(
  z.array(z.string()),
  'Images as base64, before the text: PNG, JPEG and the other formats, and PDFs, whose pages become images. Videos and audio too, which are recognized by their bytes.',
)

/** Settings of the sampler. Others are ignored: the server decides them for all requests. */
export const options = z.looseObject({
  num_predict: optional(z.int(), 'Maximum number of tokens to generate. 0 or less: to the end of the context.'),
  stop: optional(stopTextOrTexts, 'Strings that end the answer.'),
  seed: optional(z.int(), 'Seed for sampling. Less than 0: a random one.'),
  temperature: optional(ranges.temperature, 'Sampling temperature.'),
  top_k: optional(ranges.topK, 'Sample from this many of the most likely tokens. 0: no limit.'),
  top_p: optional(ranges.topP, 'Sample from the most likely tokens whose probabilities add up to this.'),
  min_p: optional(ranges.minP, 'Minimum probability of a token, relative to that of the most likely token.'),
  typical_p: optional(ranges.typicalP, 'Locally typical sampling.'),
  mirostat: optional(z.int().min(0).max(2), '1 or 2: Mirostat 2.0. 0: off.'),
  mirostat_tau: optional(ranges.mirostatTarget, 'Target surprise of each token. Default: 5.'),
  mirostat_eta: optional(ranges.mirostatRate, 'Learning rate of mirostat. Default: 0.1.'),
  repeat_penalty: optional(ranges.repetitionPenalty, 'Penalty for tokens that have already appeared.'),
  frequency_penalty: optional(ranges.frequencyPenalty, 'Penalty for each earlier appearance of a token.'),
  presence_penalty: optional(ranges.presencePenalty, 'Penalty for tokens that have already appeared.'),
})

export const keepAlive = optional(
  z.union([z.number(), z.string()]),
  '0: unload the model after the answer, unless other clients have used it. The settings of the server decide everything else.',
)

const shared = {
  model,
  options: optional(options, 'Settings of the sampler. Unknown ones are ignored.'),
  stream: optional(z.boolean(), 'Stream the answer as it is generated. Default: true.').transform((on) => on ?? true),
  format: optional(
    z.union([z.enum(['', 'json'], { error: 'must be "json" or a JSON schema' }), z.record(z.string(), z.unknown())]),
    'Required format of the answer: `json`, or a JSON schema.',
  ),
  think: optional(
    z.union([z.boolean(), z.enum(['low', 'medium', 'high', 'max'])], {
      error: 'must be true, false, "low", "medium", "high" or "max"',
    }),
    'Whether and how long to think, for models whose chat template supports it.',
  ),
  keep_alive: keepAlive,
  logprobs: optional(z.boolean(), 'Return the log probabilities of the tokens.'),
  top_logprobs: optional(z.int().min(0).max(20), 'Number of alternatives returned for each token. Requires logprobs.'),
  return_boxes: returnBoxes,
  usage: includeUsage,
}

const message = z.object({
  role: z.enum(['system', 'user', 'assistant', 'tool']),
  content: z.string().nullish(),
  thinking: z.string().nullish(),
  images,
  tool_calls: z
    .array(
      z.object({
        id: z.string().nullish(),
        function: z.object({ name: z.string(), arguments: argumentsSchema.nullish() }),
      }),
    )
    .max(mostCalls)
    .nullish(),
  tool_name: z.string().nullish(),
  tool_call_id: z.string().nullish(),
})

export const chatRequest = z.looseObject({
  ...shared,
  messages: optional(
    z.array(message).max(mostMessages),
    'Without any, the model is loaded, or with a keep_alive of 0 unloaded.',
  ),
  tools: optional(
    z.array(z.object({ function: z.object(functionFields) })).max(128),
    'Functions that the model may call.',
  ),
  truncate: optional(z.boolean(), 'Leave out the oldest turns until the answer fits the context. Default: true.'),
})

export const generateRequest = z.looseObject({
  ...shared,
  prompt: optional(z.string(), 'Without one, the model is loaded, or with a keep_alive of 0 unloaded.'),
  system: optional(z.string(), 'The system prompt.'),
  images,
  raw: optional(
    z.boolean(),
    'The prompt is in the format of the model, control tokens included, with `<image>` in the place of each image.',
  ),
  suffix: z
    .string()
    .refine((text) => text === '', { error: 'is not supported: only the end of a text can be completed' })
    .nullish(),
})

export type ChatRequest = z.output<typeof chatRequest>
export type GenerateRequest = z.output<typeof generateRequest>

/** A request about a model, by its new name for the parameter or its old one. */
export const modelRequest = z
  .looseObject({ model: model.nullish(), name: model.nullish() })
  .refine((body) => body.model != null || body.name != null, { path: ['model'], error: 'must be a string' })
