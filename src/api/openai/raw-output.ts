import type { DescribedPrompt, ToldToken } from '../answering/prompt-text.ts'

/** Ids of a prompt's tokens; -1 stands for each place of a picture. */
export const promptIds = ({ tokens }: DescribedPrompt): number[] => tokens.map((token) => token?.id ?? -1)

/** Fireworks' `raw_output`: what the model read and wrote, before anything was made of it. */
export function rawOutput(prompt: DescribedPrompt, completion: string, tokens: readonly ToldToken[]) {
  return {
    prompt_fragments: [prompt.text],
    prompt_token_ids: promptIds(prompt),
    completion,
    completion_token_ids: tokens.map(({ id }) => id),
    completion_logprobs: null,
    grammar: null,
    images: null,
    videos: null,
  }
}
