import type { RunningAnswer } from '../answering/answer.ts'
import { type Choice, collect } from '../answering/collect.ts'
import type { DescribedPrompt, ToldToken } from '../answering/prompt-text.ts'
import { performanceOf } from '../headers.ts'
import type { CompletionsRequest } from './completions-schema.ts'
import { includesUsage, withAccounts } from './last-chunk.ts'
import { logprobsWriter } from './logprobs.ts'
import { promptIds, rawOutput, rawOutputs } from './raw-output.ts'
import { headingOf, usageOf } from './usage.ts'

const heading = (answer: RunningAnswer) => headingOf(answer, { prefix: 'cmpl', object: 'text_completion' })

/** The answer in one piece. Both pieces and whole are a `text_completion`. */
export async function completion(answer: RunningAnswer, body: CompletionsRequest) {
  const { choices, timings } = await collect(answer)
  const completionTokens = choices.reduce((sum, choice) => sum + choice.completionTokens, 0)
  const whole = {
    ...heading(answer),
    choices: bestOf(answer, choices, body).map(({ prompt, ...choice }, index) => ({
      index,
      text: choice.text,
      logprobs: logprobsWriter(formOf(body))(choice.tokens),
      finish_reason: choice.reason,
      ...(body.raw_output && prompt !== null ? { raw_output: rawOutput(prompt, choice.raw, choice.tokens) } : {}),
      ...(body.return_token_ids ? { token_ids: choice.tokens.map(({ id }) => id) } : {}),
      ...(body.return_token_ids && prompt !== null ? { prompt_token_ids: promptIds(prompt) } : {}),
    })),
    usage: usageOf(answer.usage, completionTokens),
    ...(body.perf_metrics_in_response && timings !== undefined ? { perf_metrics: performanceOf(answer, timings) } : {}),
  }
  return { body: whole, timings }
}

const formOf = ({ logprobs }: CompletionsRequest) => (logprobs == null || logprobs === false ? 'none' : 'legacy')

type PromptedChoice = Choice & { prompt: DescribedPrompt | null }

/** Of the answers to each prompt the `n` likeliest by token, as `best_of` wants them. */
function bestOf(
  answer: RunningAnswer,
  choices: readonly Choice[],
  { n, best_of }: CompletionsRequest,
): PromptedChoice[] {
  const prompted = choices.map((choice, index) => ({ ...choice, prompt: answer.promptOf(index) }))
  const [made, wanted] = [best_of ?? n ?? 1, n ?? 1]
  if (made === wanted) return prompted
  return Array.from({ length: choices.length / made }, (_, prompt) =>
    prompted
      .slice(prompt * made, (prompt + 1) * made)
      .sort((a, b) => meanLogprob(b.tokens) - meanLogprob(a.tokens))
      .slice(0, wanted),
  ).flat()
}

const meanLogprob = (tokens: readonly ToldToken[]): number =>
  tokens.reduce((sum, { logprob }) => sum + (logprob ?? 0), 0) / Math.max(1, tokens.length)

/** The answer in pieces, with usage where chats have it. */
export async function* completionChunks(answer: RunningAnswer, body: CompletionsRequest) {
  const head = heading(answer)
  const writers = Array.from({ length: answer.choices }, () => logprobsWriter(formOf(body)))
  const raws = rawOutputs(answer, body)
  const begun = new Set<number>()
  const chunk = (index: number, text: string, tokens: readonly ToldToken[] | null, more: object = {}) => ({
    ...head,
    choices: [
      {
        index,
        text,
        logprobs: tokens === null ? null : (writers[index]?.(tokens) ?? null),
        finish_reason: null,
        ...(body.return_token_ids && tokens !== null ? { token_ids: tokens.map(({ id }) => id) } : {}),
        ...more,
      },
    ],
    ...(includesUsage(body) ? { usage: null } : {}),
  })
  yield* withAccounts(answer, body, head, (event) => {
    const { choice } = event
    if (event.type === 'end') return chunk(choice, '', null, { finish_reason: event.reason, ...raws.of(choice) })
    raws.add(choice, event.raw, event.tokens)
    const prompt = begun.has(choice) ? null : answer.promptOf(choice)
    begun.add(choice)
    const ids = body.return_token_ids && prompt !== null ? { prompt_token_ids: promptIds(prompt) } : {}
    return chunk(choice, event.raw, event.tokens, ids)
  })
}
