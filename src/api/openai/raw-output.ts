import type { RunningAnswer } from '../answering/answer.ts'
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

/** What choices wrote so far, for the last chunk of a stream. */
export function rawOutputs(
  { choices, promptOf }: RunningAnswer,
  { raw_output: wanted }: { raw_output?: boolean | null | undefined },
) {
  const written = Array.from({ length: choices }, () => ({ text: '', tokens: [] as ToldToken[] }))
  return {
    add(choice: number, raw: string, tokens: readonly ToldToken[]): void {
      const own = written[choice]
      if (!wanted || own === undefined) return
      own.text += raw
      own.tokens.push(...tokens)
    },
    /** The field that the choice ends with. */
    of(choice: number): { raw_output?: object } {
      const [prompt, own] = [promptOf(choice), written[choice]]
      return wanted && prompt !== null && own !== undefined
        ? { raw_output: rawOutput(prompt, own.text, own.tokens) }
        : {}
    },
  }
}
