import type { PromptCounts } from '../answering/several.ts'
import { usageOf } from './usage.ts'

/** What a request would cost to ask, without an answer. */
export function dryRun({ model }: { model: string }, prompts: PromptCounts) {
  const promptTokens = prompts.reduce((sum, prompt) => sum + prompt.promptTokens, 0)
  const mostAnswered = prompts.reduce((sum, { request: { settings }, model, promptTokens }) => {
    const room = Math.max(0, model.contextTokens - promptTokens)
    return sum + settings.n * Math.min(settings.maxTokens ?? room, room)
  }, 0)
  const { input, output } = prompts[0]?.model.prices ?? { input: 0, output: 0 }
  const imageTokens = prompts.flatMap((prompt) => prompt.imageTokens)
  return {
    object: 'dry_run',
    model,
    choices: [],
    context_length: prompts[0]?.model.contextTokens,
    usage: usageOf({ promptTokens, imageTokens, cachedTokens: 0 }, 0),
    // In the currency of the prices, which `GET /v1/models` tells. What an answer costs is known when it is there.
    cost: { prompt: (promptTokens * input) / 1e6, answer_at_most: (mostAnswered * output) / 1e6 },
  }
}
