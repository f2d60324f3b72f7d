import { z } from 'zod'
import type { AnswerPart, AnswerPiece, Choice, EndReason } from '../../deployments/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { collect, newCallId } from '../answering/collect.ts'
import { grounding, groundingOf } from '../shapes/grounding.ts'
import { chatLogprobs, chatWriter, legacyLogprobs, legacyWriter, noWriter, type Writer } from '../shapes/logprobs.ts'
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
import type { ChatRequest } from './schema.ts'

const functionCall = z.strictObject({ name: z.string(), arguments: z.string().describe('JSON.') })

const chatReason = z.enum([...finishReason.options, 'function_call'])

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
              function: functionCall,
            }),
          )
          .optional(),
        function_call: functionCall.optional().describe('If the request has `functions`, instead of `tool_calls`.'),
      }),
      logprobs: z.union([chatLogprobs, legacyLogprobs]).nullable(),
      finish_reason: chatReason,
      ...choiceExtras,
      ...grounding,
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
        function_call: functionCall.partial({ name: true }).optional(),
      }),
      logprobs: z.union([chatLogprobs, legacyLogprobs]).nullable(),
      finish_reason: chatReason.nullable(),
      ...choiceExtras,
      ...grounding,
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
  const logprobs = Array.from({ length: answer.choices }, () => writerOf(body).gather())
  const { choices, tally } = await collect(answer, (part) => logprobs[part.choice]?.add(part))
  const prompt = answer.promptOf(0)
  const whole: Completion = {
    ...headingOf(answer, { prefix: 'chatcmpl', object: 'chat.completion' }),
    choices: choices.map((choice, index) => ({
      index,
      message: messageOf(choice, body),
      logprobs: logprobs[index]?.all ?? null,
      finish_reason: reasonOf(choice, body),
      ...rawOutputOf(body, prompt, choice),
      ...groundingOf(choice),
      ...tokenIdsOf(body, choice.tokens),
    })),
    usage: answerUsage(body, answer, tally),
    ...promptIdsOf(body, prompt),
    ...performanceOf(body, answer, tally),
  }
  return { body: whole, timings: tally.timings }
}

function messageOf({ text, reasoning, calls }: Choice, body: ChatRequest): Completion['choices'][number]['message'] {
  const [first] = calls
  return {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    refusal: null,
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(first === undefined
      ? {}
      : wantsFunctionCall(body)
        ? { function_call: first }
        : { tool_calls: calls.map((call) => ({ id: newCallId(), type: 'function', function: call })) }),
  }
}

/** Clients that send `functions` know no `tool_calls`. */
const wantsFunctionCall = ({ functions }: ChatRequest): boolean => functions != null

const reasonOf = ({ reason }: { reason: EndReason }, body: ChatRequest): z.output<typeof chatReason> =>
  reason === 'tool_calls' && wantsFunctionCall(body) ? 'function_call' : reason

/** A number asks for the format of completions, as Fireworks has it. */
function writerOf({ logprobs }: ChatRequest): Writer<ChunkChoice['logprobs']> {
  if (typeof logprobs === 'number') return legacyWriter()
  return logprobs ? chatWriter() : noWriter
}

/** The answer as a stream of `chat.completion.chunk`: the role first, the finish reason last, for each choice. */
export async function* chunks(answer: RunningAnswer, body: ChatRequest): AsyncIterable<Chunk> {
  const heading = headingOf(answer, { prefix: 'chatcmpl', object: 'chat.completion.chunk' })
  const writers = Array.from({ length: answer.choices }, () => writerOf(body))
  const chunk = (
    index: number,
    delta: ChunkChoice['delta'],
    part: AnswerPart | null,
    more: Partial<ChunkChoice> = {},
  ): Chunk => ({
    ...heading,
    choices: [
      {
        index,
        delta,
        logprobs: part === null ? null : (writers[index]?.write(part) ?? null),
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
      return chunk(event.choice, {}, null, { finish_reason: reasonOf(event, body), ...raw, ...groundingOf(event) })
    }
    if (event.pieces.length === 0 && event.tokens.length === 0) return undefined
    return chunk(event.choice, deltaOf(event.pieces, body), event, tokenIdsOf(body, event.tokens))
  })
}

function deltaOf(pieces: readonly AnswerPiece[], body: ChatRequest): ChunkChoice['delta'] {
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
    ...(wantsFunctionCall(body) ? functionCallOf(pieces) : calls.length === 0 ? {} : { tool_calls: calls }),
  }
}

/** The older form has one call. */
function functionCallOf(pieces: readonly AnswerPiece[]): Pick<ChunkChoice['delta'], 'function_call'> {
  let call: { name?: string; arguments: string } | undefined
  for (const piece of pieces) {
    if (piece.kind === 'call' && piece.call === 0) call = { name: piece.name, arguments: '' }
    if (piece.kind === 'arguments' && piece.call === 0)
      call = { ...call, arguments: (call?.arguments ?? '') + piece.text }
  }
  return call === undefined ? {} : { function_call: call }
}
