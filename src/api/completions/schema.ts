import { z } from 'zod'
import { parameters } from '../request/parameters.ts'
import { anyTokens } from '../request/self-hosted.ts'
import { optional } from '../request/validation.ts'

const isNumber = (value: unknown): boolean => typeof value === 'number'
const isToken = (id: number): boolean => Number.isSafeInteger(id) && id >= 0

const error = 'must be a string, an array of strings, an array of token ids or an array of such arrays'

/** Checked at once: a prompt may have a million token ids. */
const tokens = z
  .custom<number[]>((value) => Array.isArray(value) && value.length > 0 && value.every(isNumber), {
    error,
    abort: true,
  })
  .superRefine((ids, context) => {
    const wrong = ids.findIndex((id) => !isToken(id))
    if (wrong >= 0)
      context.addIssue({ code: 'custom', path: [wrong], message: 'must be the id of a token: 0, 1, 2 and so on' })
  })
  .meta({ type: 'array', items: { type: 'integer', minimum: 0 }, minItems: 1 })

const prompt = z.union([z.string(), tokens, z.array(z.string()).min(1), z.array(tokens).min(1)], { error })

export const completionsRequest = z.looseObject({
  model: z.string().min(1),
  prompt,
  images: optional(
    z.union([z.array(z.string()), z.array(z.array(z.string()))]),
    'One image for each `<image>` of the prompt, in the same order: data:, http: or https: URLs. One may be a video or audio. For several prompts, a list of lists.',
  ),
  ...parameters,
  max_tokens: optional(
    anyTokens,
    'Maximum number of tokens to generate. -1: to the end of the context. 0: none, for the log probabilities of an echoed prompt. Default: 16 under /v1.',
  ),
  max_completion_tokens: optional(anyTokens, 'Same as max_tokens.'),
  n_predict: optional(anyTokens, 'Same as max_tokens.'),
  best_of: optional(
    z.int().min(1).max(128),
    'Number of answers to generate, of which the `n` most likely are returned.',
  ),
  logprobs: optional(
    z.union([z.boolean(), z.int().min(0).max(5)]),
    'Return the log probabilities of the tokens. A number also selects how many alternatives are returned for each token.',
  ),
  top_logprobs: optional(z.int().min(0).max(5), 'Number of alternatives returned for each token, if logprobs is true.'),
  suffix: z
    .string()
    .refine((text) => text === '', { error: 'is not supported: only the end of a text can be completed' })
    .nullish(),
})

export type CompletionsRequest = z.output<typeof completionsRequest>
