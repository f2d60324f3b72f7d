import { z } from 'zod'
import type { Work } from '../answer-route.ts'
import { countPrompts, type PromptCounts, promptTokensOf } from '../answering/answer.ts'
import { tokenIds } from '../shapes/raw-output.ts'
import { usage, usageOf } from '../shapes/usage.ts'

export const dryRunAnswer = z.strictObject({
  object: z.literal('dry_run'),
  model: z.string(),
  choices: z.array(z.never()),
  context_length: z.int(),
  usage,
  cost: z.strictObject({ prompt: z.number(), answer_at_most: z.number() }),
})

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

/** The usage and cost of a request, if it wants those instead of an answer. */
export function dryRun(
  { model, dry_run: wanted }: { model: string; dry_run?: boolean | null | undefined },
  { services, requests, signal }: Work,
): Promise<z.output<typeof dryRunAnswer>> | undefined {
  return wanted ? countPrompts(services, requests, signal).then((prompts) => costOf(model, prompts)) : undefined
}

function costOf(model: string, prompts: PromptCounts): z.output<typeof dryRunAnswer> {
  const promptTokens = promptTokensOf(prompts)
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
