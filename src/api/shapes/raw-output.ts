import { z } from 'zod'
import type { AnswerToken, DescribedPrompt } from '../../deployments/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'

export const tokenIds = z.array(z.int()).describe('-1 for each position of an image.')

/** Fireworks' `raw_output`: the prompt that the model read and the text that it wrote, control tokens included. */
export const rawOutput = z.strictObject({
  prompt_fragments: z.array(z.string()),
  prompt_token_ids: tokenIds,
  completion: z.string(),
  completion_token_ids: z.array(z.int()),
  completion_logprobs: z.null(),
  grammar: z.null(),
  images: z.null(),
  videos: z.null(),
})

type RawOutput = z.output<typeof rawOutput>

export const promptIds = ({ tokens }: DescribedPrompt): number[] => tokens.map((token) => token?.id ?? -1)

export function rawOutputOf(prompt: DescribedPrompt, completion: string, tokens: readonly AnswerToken[]): RawOutput {
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

/** Collects the raw output of each choice of a stream, for its last chunk. */
export function rawOutputs(
  { choices, promptOf }: RunningAnswer,
  { raw_output: wanted }: { raw_output?: boolean | null | undefined },
) {
  const written = Array.from({ length: choices }, () => ({ text: '', tokens: [] as AnswerToken[] }))
  return {
    add(choice: number, raw: string, tokens: readonly AnswerToken[]): void {
      const own = written[choice]
      if (!wanted || own === undefined) return
      own.text += raw
      own.tokens.push(...tokens)
    },
    of(choice: number): { raw_output?: RawOutput } {
      const [prompt, own] = [promptOf(choice), written[choice]]
      return wanted && prompt !== null && own !== undefined
        ? { raw_output: rawOutputOf(prompt, own.text, own.tokens) }
        : {}
    },
  }
}
