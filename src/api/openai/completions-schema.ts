import { z } from 'zod'
import { parameters } from './parameters.ts'

const token = z.int().min(0)

const prompt = z.union(
  [z.string(), z.array(z.string()).min(1), z.array(token).min(1), z.array(z.array(token).min(1)).min(1)],
  {
    error: 'must be a string, an array of strings, an array of token ids or an array of such arrays',
  },
)

/** `POST /v1/completions` */
export const completionsRequest = z.looseObject({
  model: z.string().min(1),
  prompt,
  /** Fireworks': one picture for each `<image>` of the prompt; for several prompts a list of lists. */
  images: z
    .union([z.array(z.string()), z.array(z.array(z.string()))])
    .nullish()
    .describe(
      'Pictures for each `<image>` of the prompt, in their order: data: or http(s) URLs. For several prompts a list of lists.',
    ),
  ...parameters,
  max_completion_tokens: z.int().min(1).nullish().describe('The same as max_tokens.'),
  best_of: z.int().min(1).max(128).nullish().describe('Make so many answers, and give the `n` likeliest of them.'),
  logprobs: z
    .union([z.boolean(), z.int().min(0).max(5)])
    .nullish()
    .describe('Log probabilities of the tokens, and of so many rivals of each.'),
  top_logprobs: z.int().min(0).max(5).nullish().describe('Rivals of each token, where logprobs is true.'),
  suffix: z
    .string()
    .refine((text) => text === '', { error: 'is not taken: this server completes the end of a text alone' })
    .nullish(),
})

export type CompletionsRequest = z.output<typeof completionsRequest>
