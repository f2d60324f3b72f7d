import { z } from 'zod'
import { parameters } from './parameters.ts'

const token = z.int().min(0)

const prompt = z.union(
  [z.string(), z.array(z.string()).min(1), z.array(token).min(1), z.array(z.array(token).min(1)).min(1)],
  { error: 'must be a string, an array of strings, an array of token ids or an array of such arrays' },
)

/** `POST /v1/completions` */
export const completionsRequest = z.looseObject({
  model: z.string().min(1),
  prompt,
  /** Fireworks': one picture for each `<image>` of the prompt; for several prompts a list of lists. */
  images: z.union([z.array(z.string()), z.array(z.array(z.string()))]).nullish(),
  ...parameters,
  max_completion_tokens: z.int().min(1).nullish(),
  best_of: z.int().min(1).max(128).nullish(),
  logprobs: z.union([z.boolean(), z.int().min(0).max(5)]).nullish(),
  top_logprobs: z.int().min(0).max(5).nullish(),
  suffix: z
    .string()
    .refine((text) => text === '', { error: 'is not taken: this server completes the end of a text alone' })
    .nullish(),
})

export type CompletionsRequest = z.output<typeof completionsRequest>
