import { z } from 'zod'
import type { Accounts } from '../../accounts/index.ts'
import type { Work } from '../answer-route.ts'
import { countPrompts, type PromptCounts, promptTokensOf } from '../answering/answer.ts'
import { tokenIds } from '../shapes/raw-output.ts'
import { priceOf, usage, usageOf } from '../shapes/usage.ts'

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
      frames: z.int().optional().describe('Of a video.'),
      seconds: z.number().optional().describe('Of an audio.'),
    }),
  ),
  tokens: tokenIds,
  token_strs: z.array(z.string().nullable()),
})

/** The usage and cost of a request, if it wants those instead of an answer. */
export function dryRun({
  model,
  dry_run: wanted,
}: {
  model: string
  dry_run?: boolean | null | undefined
}): ((work: Work) => Promise<z.output<typeof dryRunAnswer>>) | undefined {
  if (!wanted) return undefined
  return async ({ services, model: named, requests, signal }) =>
    dryRunOf(model, await countPrompts(named, requests, signal), services.accounts)
}

const nothing = { promptTokens: 0, imageTokens: [], cachedTokens: 0 }

function dryRunOf(model: string, prompts: PromptCounts, accounts: Accounts): z.output<typeof dryRunAnswer> {
  const promptTokens = promptTokensOf(prompts)
  const maxAnswerTokens = prompts.reduce((sum, { request: { settings }, model, promptTokens }) => {
    const free = model.contextTokens === 0 ? Number.POSITIVE_INFINITY : Math.max(0, model.contextTokens - promptTokens)
    const most = Math.min(settings.maxTokens ?? free, free)
    // Where neither is known, nothing bounds it.
    return sum + settings.n * (Number.isFinite(most) ? most : 0)
  }, 0)
  const prices = accounts.pricesOf(prompts[0]?.model.id ?? '')
  const usage = {
    promptTokens,
    cachedTokens: 0,
    imageTokens: prompts.flatMap((prompt) => prompt.imageTokens),
    videoTokens: prompts.flatMap((prompt) => prompt.videoTokens ?? []),
    audioTokens: prompts.flatMap((prompt) => prompt.audioTokens ?? []),
  }
  return {
    object: 'dry_run',
    model,
    choices: [],
    context_length: prompts[0]?.model.contextTokens ?? 0,
    usage: usageOf(usage, 0),
    // In the currency of the prices of `GET /models`. Both are upper bounds: some of the prompt may be cached.
    cost: {
      prompt: priceOf({ usage, prices }, 0),
      answer_at_most: priceOf({ usage: nothing, prices }, maxAnswerTokens),
    },
  }
}
