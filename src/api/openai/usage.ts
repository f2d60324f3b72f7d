import type { PromptUsage, RunningAnswer } from '../answering/answer.ts'

/** What a request cost, in OpenAI's shape. `images` is ours: the tokens of each picture, in their order. */
export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  completion_tokens_details: { reasoning_tokens: number }
  prompt_tokens_details: { cached_tokens: number; image_tokens: number; images: readonly number[] }
}

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
      images: imageTokens,
    },
  }
}

/** What every body of a chat or completion begins with. */
export const headingOf = <T extends string>(
  { id, created, model }: RunningAnswer,
  { prefix, object }: { prefix: string; object: T },
) => ({ id: `${prefix}-${id}`, object, created, model, system_fingerprint: null })
