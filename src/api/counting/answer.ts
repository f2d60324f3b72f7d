import { z } from 'zod'
import { tokenIds } from '../shapes/raw-output.ts'
import { usage } from '../shapes/usage.ts'

/** The answer to a chat or completion with `dry_run`. */
export const dryRunAnswer = z.strictObject({
  object: z.literal('dry_run'),
  model: z.string(),
  choices: z.array(z.never()),
  context_length: z.int(),
  usage,
  cost: z.strictObject({ prompt: z.number(), answer_at_most: z.number() }),
})

/** The answer of `/tokenize`. */
export const tokenization = z.strictObject({
  object: z.literal('tokenization'),
  model: z.string(),
  count: z.int(),
  max_model_len: z.int(),
  parts: z.array(
    z.strictObject({
      type: z.enum(['text', 'image', 'audio', 'video']),
      param: z.string().describe('Path of the part in the request.'),
      tokens: z.int(),
      pictures: z.array(z.strictObject({ width: z.int(), height: z.int(), tokens: z.int() })).optional(),
    }),
  ),
  tokens: tokenIds,
  token_strs: z.array(z.string().nullable()),
})
