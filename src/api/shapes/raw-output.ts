import { z } from 'zod'
import type { AnswerToken, Choice, DescribedPrompt } from '../../deployments/index.ts'

export const tokenIds = z.array(z.int()).describe('-1 for each position of an attachment.')

/** Fireworks' `raw_output`: the prompt that the model read and the text that it wrote, control tokens included. */
const rawOutput = z.strictObject({
  prompt_fragments: z.array(z.string()),
  prompt_token_ids: tokenIds,
  completion: z.string(),
  completion_token_ids: z.array(z.int()),
  completion_logprobs: z.null(),
  grammar: z.null(),
  images: z.null(),
  videos: z.null(),
})

/** Fields of a choice that Fireworks' parameters ask for. */
export const choiceExtras = { raw_output: rawOutput.optional(), token_ids: z.array(z.int()).optional() }

interface Wanted {
  raw_output?: boolean | null | undefined
  return_token_ids?: boolean | null | undefined
}

export const promptIds = (tokens: DescribedPrompt['tokens']): number[] => tokens.map((token) => token?.id ?? -1)

export const promptIdsOf = (wanted: Wanted, prompt: DescribedPrompt | null) =>
  wanted.return_token_ids && prompt !== null ? { prompt_token_ids: promptIds(prompt.tokens) } : {}

export const tokenIdsOf = (wanted: Wanted, tokens: readonly AnswerToken[]) =>
  wanted.return_token_ids ? { token_ids: tokens.map(({ id }) => id) } : {}

export function rawOutputOf(
  wanted: Wanted,
  prompt: DescribedPrompt | null,
  choice: Choice | undefined,
): { raw_output?: z.output<typeof rawOutput> } {
  if (!wanted.raw_output || prompt === null || choice === undefined) return {}
  const { raw, tokens } = choice
  const written = { completion: raw, completion_token_ids: tokens.map(({ id }) => id), completion_logprobs: null }
  const read = { prompt_fragments: [prompt.text], prompt_token_ids: promptIds(prompt.tokens) }
  return { raw_output: { ...read, ...written, grammar: null, images: null, videos: null } }
}
