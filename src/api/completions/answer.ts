import { z } from 'zod'
import type { AnswerPart, AnswerToken, Choice } from '../../deployments/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { collect } from '../answering/collect.ts'
import { grounding, groundingOf } from '../shapes/grounding.ts'
import { legacyLogprobs, legacyWriter, noWriter } from '../shapes/logprobs.ts'
import { choiceExtras, promptIdsOf, rawOutputOf, tokenIds, tokenIdsOf } from '../shapes/raw-output.ts'
import {
  answerUsage,
  finishReason,
  heading,
  headingOf,
  includesUsage,
  perfMetrics,
  performanceOf,
  usage,
  withUsage,
} from '../shapes/usage.ts'
import type { CompletionsRequest } from './schema.ts'

/** A whole answer, or one event of a stream. Optional fields appear if the request asks for them. */
export const textCompletion = z.strictObject({
  ...heading,
  object: z.literal('text_completion'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      text: z.string(),
      logprobs: legacyLogprobs.nullable(),
      finish_reason: finishReason.nullable(),
      ...choiceExtras,
      ...grounding,
      prompt_token_ids: tokenIds.optional(),
    }),
  ),
  usage: usage.nullable().optional().describe('In the last chunk of a stream.'),
  perf_metrics: perfMetrics.optional(),
})

type Completion = z.output<typeof textCompletion>
type CompletionChoice = Completion['choices'][number]

const beginningOf = (answer: RunningAnswer) => headingOf(answer, { prefix: 'cmpl', object: 'text_completion' })

export async function completion(answer: RunningAnswer, body: CompletionsRequest) {
  const logprobs = Array.from({ length: answer.choices }, () => writerOf(body).gather())
  const chances = Array.from({ length: answer.choices }, () => new MeanLogprob())
  const { choices, tally } = await collect(answer, (part) => {
    const { choice, tokens, completionTokens } = part
    logprobs[choice]?.add(part)
    // An echo has none: the prompt is no better in one answer than in another.
    if (completionTokens > 0) chances[choice]?.add(tokens)
  })
  const whole: Completion = {
    ...beginningOf(answer),
    choices: bestOf(
      answer,
      choices,
      logprobs.map(({ all }) => all),
      chances.map(({ value }) => value),
      body,
    ).map(({ prompt, logprobs, mean: _, ...choice }, index) => ({
      index,
      text: choice.text,
      logprobs,
      finish_reason: choice.reason,
      ...rawOutputOf(body, prompt, choice),
      ...groundingOf(choice),
      ...tokenIdsOf(body, choice.tokens),
      ...promptIdsOf(body, prompt),
    })),
    usage: answerUsage(body, answer, tally),
    ...performanceOf(body, answer, tally),
  }
  return { body: whole, timings: tally.timings }
}

const writerOf = ({ logprobs }: CompletionsRequest) =>
  logprobs == null || logprobs === false ? noWriter : legacyWriter()

/** With `best_of`, the `n` answers to each prompt with the highest mean log probability. */
function bestOf<Logprobs>(
  answer: RunningAnswer,
  choices: readonly Choice[],
  written: readonly Logprobs[],
  means: readonly number[],
  { n, best_of }: CompletionsRequest,
) {
  const prompted = choices.map((choice, index) => ({
    ...choice,
    logprobs: written[index] ?? null,
    mean: means[index] ?? 0,
    prompt: answer.promptOf(index),
  }))
  const [made, wanted] = [best_of ?? n ?? 1, n ?? 1]
  if (made === wanted) return prompted
  return Array.from({ length: choices.length / made }, (_, prompt) =>
    prompted
      .slice(prompt * made, (prompt + 1) * made)
      .sort((a, b) => b.mean - a.mean)
      .slice(0, wanted),
  ).flat()
}

/** The mean log probability of an answer's tokens. */
class MeanLogprob {
  #sum = 0
  #count = 0

  add(tokens: readonly AnswerToken[]): void {
    for (const { logprob } of tokens) this.#sum += logprob ?? 0
    this.#count += tokens.length
  }

  get value(): number {
    return this.#sum / Math.max(1, this.#count)
  }
}

export async function* completionChunks(answer: RunningAnswer, body: CompletionsRequest): AsyncIterable<Completion> {
  const head = beginningOf(answer)
  const writers = Array.from({ length: answer.choices }, () => writerOf(body))
  const begun = new Set<number>()
  const chunk = (
    index: number,
    text: string,
    part: AnswerPart | null,
    more: Partial<CompletionChoice> = {},
  ): Completion => ({
    ...head,
    choices: [
      {
        index,
        text,
        logprobs: part === null ? null : (writers[index]?.write(part) ?? null),
        finish_reason: null,
        ...(part === null ? {} : tokenIdsOf(body, part.tokens)),
        ...more,
      },
    ],
    ...(includesUsage(body) ? { usage: null } : {}),
  })
  yield* withUsage<Completion>(answer, body, { ...head, choices: [] }, (event, choice) => {
    const prompt = answer.promptOf(event.choice)
    if (event.type === 'end') {
      const raw = rawOutputOf(body, prompt, choice)
      return chunk(event.choice, '', null, { finish_reason: event.reason, ...raw, ...groundingOf(event) })
    }
    const ids = begun.has(event.choice) ? {} : promptIdsOf(body, prompt)
    begun.add(event.choice)
    return chunk(event.choice, event.raw, event, ids)
  })
}
