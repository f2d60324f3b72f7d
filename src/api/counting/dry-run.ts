import type { z } from 'zod'
import type { PromptCounts } from '../answering/several.ts'
import { usageOf } from '../shapes/usage.ts'
import type { dryRunAnswer } from './answer.ts'

/** The usage and cost of a request without an answer. */
export function dryRun({ model }: { model: string }, prompts: PromptCounts): z.output<typeof dryRunAnswer> {
  const promptTokens = prompts.reduce((sum, prompt) => sum + prompt.promptTokens, 0)
  const maxAnswerTokens = prompts.reduce((sum, { request: { settings }, model, promptTokens }) => {
    const free = Math.max(0, model.contextTokens - promptTokens)
    return sum + settings.n * Math.min(settings.maxTokens ?? free, free)
  }, 0)
  const { input, output } = prompts[0]?.model.prices ?? { input: 0, output: 0 }
  const imageTokens = prompts.flatMap((prompt) => prompt.imageTokens)
  return {
    object: 'dry_run',
    model,
    choices: [],
    context_length: prompts[0]?.model.contextTokens ?? 0,
    usage: usageOf({ promptTokens, imageTokens, cachedTokens: 0 }, 0),
    // In the currency of the prices of `GET /models`. The cost of the answer is an upper bound.
    cost: { prompt: (promptTokens * input) / 1e6, answer_at_most: (maxAnswerTokens * output) / 1e6 },
  }
}
