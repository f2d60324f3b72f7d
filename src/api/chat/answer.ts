import { z } from 'zod'
import type { AnswerPiece, AnswerToken, Choice } from '../../deployments/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { collect, newCallId } from '../answering/collect.ts'
import { chatLogprobs, chatWriter, legacyLogprobs, legacyWriter } from '../shapes/logprobs.ts'
import { promptIds, rawOutput, rawOutputOf, rawOutputs, tokenIds } from '../shapes/raw-output.ts'
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
      raw_output: rawOutput.optional(),
      token_ids: z.array(z.int()).optional(),
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
      raw_output: rawOutput.optional(),
      token_ids: z.array(z.int()).optional(),
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
  const { choices, timings } = await collect(answer)
  const prompt = answer.promptOf(0)
  const completionTokens = choices.reduce((sum, choice) => sum + choice.completionTokens, 0)
  const reasoningTokens = choices.reduce((sum, choice) => sum + choice.reasoningTokens, 0)
  const whole: Completion = {
    ...headingOf(answer, { prefix: 'chatcmpl', object: 'chat.completion' }),
    choices: choices.map((choice, index) => ({
      index,
      message: messageOf(choice),
      logprobs: writerOf(body)(choice.tokens),
      finish_reason: choice.reason,
      ...(body.raw_output && prompt !== null ? { raw_output: rawOutputOf(prompt, choice.raw, choice.tokens) } : {}),
      ...(body.return_token_ids ? { token_ids: choice.tokens.map(({ id }) => id) } : {}),
    })),
    usage: usageOf(answer.usage, completionTokens, reasoningTokens),
    ...(body.return_token_ids && prompt !== null ? { prompt_token_ids: promptIds(prompt) } : {}),
    ...(body.perf_metrics_in_response && timings !== undefined ? { perf_metrics: performanceOf(answer, timings) } : {}),
  }
  return { body: whole, timings }
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
  const raws = rawOutputs(answer, body)
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
    yield index === 0 && body.return_token_ids && prompt !== null
      ? { ...first, prompt_token_ids: promptIds(prompt) }
      : first
  }

  yield* withUsage<Chunk>(answer, body, { ...heading, choices: [] }, (event) => {
    const { choice } = event
    if (event.type === 'end') return chunk(choice, {}, null, { finish_reason: event.reason, ...raws.of(choice) })
    raws.add(choice, event.raw, event.tokens)
    if (event.pieces.length === 0 && event.tokens.length === 0) return undefined
    const ids = body.return_token_ids ? { token_ids: event.tokens.map(({ id }) => id) } : {}
    return chunk(choice, deltaOf(event.pieces), event.tokens, ids)
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
