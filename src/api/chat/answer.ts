import { z } from 'zod'
import type { AnswerPiece, AnswerToken, Choice } from '../../deployments/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { collect, newCallId } from '../answering/collect.ts'
import { chatLogprobs, chatWriter, legacyLogprobs, legacyWriter } from '../shapes/logprobs.ts'
import { choiceExtras, promptIdsOf, rawOutputOf, tokenIds, tokenIdsOf } from '../shapes/raw-output.ts'
import {
  finishReason,
  heading,
  headingOf,
  includesUsage,
  perfMetrics,
  performanceOf,
  usage,
  usageOf,
  withUsage,
} from '../shapes/usage.ts'
import type { ChatRequest } from './schema.ts'

/** A whole answer. Optional fields appear if the request asks for them, or if the model calls or thinks. */
export const chatCompletion = z.strictObject({
  ...heading,
  object: z.literal('chat.completion'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      message: z.strictObject({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        refusal: z.null(),
        reasoning_content: z.string().optional(),
        tool_calls: z
          .array(
            z.strictObject({
              id: z.string(),
              type: z.literal('function'),
              function: z.strictObject({ name: z.string(), arguments: z.string().describe('JSON.') }),
            }),
          )
          .optional(),
      }),
      logprobs: z.union([chatLogprobs, legacyLogprobs]).nullable(),
      finish_reason: finishReason,
      ...choiceExtras,
    }),
  ),
  usage,
  prompt_token_ids: tokenIds.optional(),
  perf_metrics: perfMetrics.optional(),
})

export const chatChunk = z.strictObject({
  ...heading,
  object: z.literal('chat.completion.chunk'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      delta: z.strictObject({
        role: z.literal('assistant').optional(),
        content: z.string().optional(),
        reasoning_content: z.string().optional(),
        tool_calls: z
          .array(
            z.strictObject({
              index: z.int(),
              id: z.string().optional(),
              type: z.literal('function').optional(),
              function: z.strictObject({ name: z.string().optional(), arguments: z.string() }),
            }),
          )
          .optional(),
      }),
      logprobs: z.union([chatLogprobs, legacyLogprobs]).nullable(),
      finish_reason: finishReason.nullable(),
      ...choiceExtras,
    }),
  ),
  usage: usage.nullable().optional().describe('In the last chunk.'),
  prompt_token_ids: tokenIds.optional(),
  perf_metrics: perfMetrics.optional(),
})

type Completion = z.output<typeof chatCompletion>
type Chunk = z.output<typeof chatChunk>
type ChunkChoice = Chunk['choices'][number]

export async function completion(answer: RunningAnswer, body: ChatRequest) {
  const { choices, tally } = await collect(answer)
  const prompt = answer.promptOf(0)
  const whole: Completion = {
    ...headingOf(answer, { prefix: 'chatcmpl', object: 'chat.completion' }),
    choices: choices.map((choice, index) => ({
      index,
      message: messageOf(choice),
      logprobs: writerOf(body)(choice.tokens),
      finish_reason: choice.reason,
      ...rawOutputOf(body, prompt, choice),
      ...tokenIdsOf(body, choice.tokens),
    })),
    usage: usageOf(answer.usage, tally.completionTokens, tally.reasoningTokens),
    ...promptIdsOf(body, prompt),
    ...performanceOf(body, answer, tally),
  }
  return { body: whole, timings: tally.timings }
}

function messageOf({ text, reasoning, calls }: Choice): Completion['choices'][number]['message'] {
  return {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    refusal: null,
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0
      ? {}
      : { tool_calls: calls.map((call) => ({ id: newCallId(), type: 'function', function: call })) }),
  }
}

/** A number asks for the format of completions, as Fireworks has it. */
function writerOf({ logprobs }: ChatRequest): (tokens: readonly AnswerToken[]) => ChunkChoice['logprobs'] {
  if (typeof logprobs === 'number') return legacyWriter()
  return logprobs ? chatWriter() : () => null
}

/** The answer as a stream of `chat.completion.chunk`: the role first, the finish reason last, for each choice. */
export async function* chunks(answer: RunningAnswer, body: ChatRequest): AsyncIterable<Chunk> {
  const heading = headingOf(answer, { prefix: 'chatcmpl', object: 'chat.completion.chunk' })
  const writers = Array.from({ length: answer.choices }, () => writerOf(body))
  const chunk = (
    index: number,
    delta: ChunkChoice['delta'],
    tokens: readonly AnswerToken[] | null,
    more: Partial<ChunkChoice> = {},
  ): Chunk => ({
    ...heading,
    choices: [
      {
        index,
        delta,
        logprobs: tokens === null ? null : (writers[index]?.(tokens) ?? null),
        finish_reason: null,
        ...more,
      },
    ],
    ...(includesUsage(body) ? { usage: null } : {}),
  })
  const prompt = answer.promptOf(0)
  for (let index = 0; index < answer.choices; index++) {
    const first = chunk(index, { role: 'assistant', content: '' }, null)
    yield index === 0 ? { ...first, ...promptIdsOf(body, prompt) } : first
  }

  yield* withUsage<Chunk>(answer, body, { ...heading, choices: [] }, (event, choice) => {
    if (event.type === 'end') {
      const raw = rawOutputOf(body, answer.promptOf(event.choice), choice)
      return chunk(event.choice, {}, null, { finish_reason: event.reason, ...raw })
    }
    if (event.pieces.length === 0 && event.tokens.length === 0) return undefined
    return chunk(event.choice, deltaOf(event.pieces), event.tokens, tokenIdsOf(body, event.tokens))
  })
}

function deltaOf(pieces: readonly AnswerPiece[]): ChunkChoice['delta'] {
  const textOf = (kind: 'text' | 'reasoning'): string =>
    pieces.map((piece) => (piece.kind === kind ? piece.text : '')).join('')
  const [content, reasoning] = [textOf('text'), textOf('reasoning')]
  const calls = pieces.flatMap((piece): NonNullable<ChunkChoice['delta']['tool_calls']> => {
    if (piece.kind === 'call')
      return [{ index: piece.call, id: newCallId(), type: 'function', function: { name: piece.name, arguments: '' } }]
    return piece.kind === 'arguments' ? [{ index: piece.call, function: { arguments: piece.text } }] : []
  })
  return {
    ...(content === '' ? {} : { content }),
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
}
