import { z } from 'zod'
import type { PromptUsage } from '../../deployments/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'

/** `usage` of OpenAI's chats and completions. `images` is Oriel's own. */
export const usage = z.strictObject({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  completion_tokens_details: z.strictObject({
    reasoning_tokens: z.int().describe('Tokens of thoughts that are returned apart from the answer.'),
  }),
  prompt_tokens_details: z.strictObject({
    cached_tokens: z.int().describe('Prompt tokens that were in the cache.'),
    image_tokens: z.int(),
    images: z.array(z.int()).describe('Tokens of each image, in the order of the images.'),
  }),
})

export type Usage = z.output<typeof usage>

export function usageOf(
  { promptTokens, cachedTokens, imageTokens }: PromptUsage,
  completionTokens: number,
  reasoningTokens = 0,
): Usage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    completion_tokens_details: { reasoning_tokens: reasoningTokens },
    prompt_tokens_details: {
      cached_tokens: cachedTokens,
      image_tokens: imageTokens.reduce((sum, tokens) => sum + tokens, 0),
      images: [...imageTokens],
    },
  }
}

/** What the bodies of chats and completions begin with. */
export const heading = {
  id: z.string(),
  created: z.int().describe('Seconds since 1970.'),
  model: z.string(),
  system_fingerprint: z.null(),
}

export const headingOf = <T extends string>(
  { id, created, model }: RunningAnswer,
  { prefix, object }: { prefix: string; object: T },
) => ({ id: `${prefix}-${id}`, object, created, model, system_fingerprint: null })

export const finishReason = z.enum(['stop', 'length', 'tool_calls'])
