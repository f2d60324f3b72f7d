import type { PromptCounts } from '../answering/several.ts'
import { usageOf } from './usage.ts'

/** What a request would cost to ask, without an answer. */
export function dryRun({ model }: { model: string }, prompts: PromptCounts) {
  const promptTokens = prompts.reduce((sum, prompt) => sum + prompt.promptTokens, 0)
  const imageTokens = prompts.flatMap((prompt) => prompt.imageTokens)
  return {
    object: 'dry_run',
    model,
    choices: [],
    context_length: prompts[0]?.backend.model.contextTokens,
    usage: usageOf({ promptTokens, imageTokens, cachedTokens: 0 }, 0),
  }
}
