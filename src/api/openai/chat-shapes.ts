import type { AnswerPiece } from '../../prompt/index.ts'
import type { RunningAnswer } from '../answering/answer.ts'
import { type Choice, collect, newCallId } from '../answering/collect.ts'
import type { ToldToken } from '../answering/prompt-text.ts'
import { performanceOf } from '../headers.ts'
import type { ChatRequest } from './chat-schema.ts'
import { includesUsage, withAccounts } from './last-chunk.ts'
import { type LogprobsForm, logprobsWriter } from './logprobs.ts'
import { promptIds, rawOutput, rawOutputs } from './raw-output.ts'
import { headingOf, usageOf } from './usage.ts'

/** The answer in one piece: `chat.completion`. */
export async function completion(answer: RunningAnswer, body: ChatRequest) {
  const { choices, timings } = await collect(answer)
  const prompt = answer.promptOf(0)
  const completionTokens = choices.reduce((sum, choice) => sum + choice.completionTokens, 0)
  const reasoningTokens = choices.reduce((sum, choice) => sum + choice.reasoningTokens, 0)
  const whole = {
    ...headingOf(answer, { prefix: 'chatcmpl', object: 'chat.completion' }),
    choices: choices.map((choice, index) => ({
      index,
      message: messageOf(choice),
      logprobs: logprobsWriter(formOf(body))(choice.tokens),
      finish_reason: choice.reason,
      ...(body.raw_output && prompt !== null ? { raw_output: rawOutput(prompt, choice.raw, choice.tokens) } : {}),
      ...(body.return_token_ids ? { token_ids: choice.tokens.map(({ id }) => id) } : {}),
    })),
    usage: usageOf(answer.usage, completionTokens, reasoningTokens),
    ...(body.return_token_ids && prompt !== null ? { prompt_token_ids: promptIds(prompt) } : {}),
    ...(body.perf_metrics_in_response && timings !== undefined ? { perf_metrics: performanceOf(answer, timings) } : {}),
  }
  return { body: whole, timings }
}

function messageOf({ text, reasoning, calls }: Choice) {
  return {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    refusal: null,
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0
      ? {}
      : { tool_calls: calls.map(({ id, ...call }) => ({ id, type: 'function', function: call })) }),
  }
}

/** Fireworks asks with a number for the form of completions. */
const formOf = ({ logprobs }: ChatRequest): LogprobsForm =>
  typeof logprobs === 'number' ? 'legacy' : logprobs ? 'chat' : 'none'

/**
 * The answer in pieces: `chat.completion.chunk`. The first of each choice names the role, the last says why it ended.
 * Usage rides in the last chunk, as Fireworks has it; with `include_usage` it has a chunk of its own, as OpenAI has it.
 */
export async function* chunks(answer: RunningAnswer, body: ChatRequest) {
  const heading = headingOf(answer, { prefix: 'chatcmpl', object: 'chat.completion.chunk' })
  const raws = rawOutputs(answer, body)
  const writers = Array.from({ length: answer.choices }, () => logprobsWriter(formOf(body)))
  const chunk = (index: number, delta: object, tokens: readonly ToldToken[] | null, more: object = {}) => ({
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

  yield* withAccounts(answer, body, heading, (event) => {
    const { choice } = event
    if (event.type === 'end') return chunk(choice, {}, null, { finish_reason: event.reason, ...raws.of(choice) })
    raws.add(choice, event.raw, event.tokens)
    if (event.pieces.length === 0 && event.tokens.length === 0) return undefined
    const ids = body.return_token_ids ? { token_ids: event.tokens.map(({ id }) => id) } : {}
    return chunk(choice, deltaOf(event.pieces), event.tokens, ids)
  })
}

/** What is new of a message. */
function deltaOf(pieces: readonly AnswerPiece[]) {
  const textOf = (kind: 'text' | 'reasoning'): string =>
    pieces.map((piece) => (piece.kind === kind ? piece.text : '')).join('')
  const [content, reasoning] = [textOf('text'), textOf('reasoning')]
  const calls = pieces.flatMap((piece) => {
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
