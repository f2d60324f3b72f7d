import type { GenerateEvent } from '../../engine/index.ts'
import { type AnswerPiece, type AnswerReader, readAnswer } from '../../prompt/index.ts'
import type { Ask } from '../ask.ts'
import type { AnswerEvent, AnswerPart, AnswerToken, DescribedPrompt } from '../backend.ts'
import { echoOf, echoWithLogprobs } from './prompt-text.ts'

/** A reader for each choice, which tells text, thoughts and calls apart. @param thinking the prompt ends in a thought */
export function readersOf({ prompt, settings }: Ask, thinking: boolean): AnswerReader[] {
  const chat = prompt.kind === 'chat' ? prompt : null
  const calls = chat !== null && chat.calling.mode !== 'none'
  return Array.from({ length: settings.n }, () =>
    readAnswer({
      tools: new Map(calls ? chat.tools.map((tool) => [tool.name, tool]) : []),
      mostCalls: chat?.calling.parallel === false ? 1 : Number.POSITIVE_INFINITY,
      splitReasoning: chat?.splitReasoning ?? false,
      // An opening tag that the client wrote itself, or sees in an echo, is not repeated.
      thinking: thinking && (chat?.splitReasoning || (!chat?.continues && settings.echo === null)),
    }),
  )
}

/** The engine's events as those of the port: text read into pieces, the prompt's echo first, one tally at the end. */
export async function* answerEvents(
  events: AsyncIterable<GenerateEvent>,
  readers: readonly AnswerReader[],
  prompt: DescribedPrompt | null,
  { echo, promptLogprobs }: Ask['settings'],
): AsyncIterable<AnswerEvent> {
  const calling = new Set<number>()
  const counts = readers.map(() => ({ all: 0, reasoning: 0 }))
  const part = (choice: number, raw: string, tokens: readonly AnswerToken[], pieces: AnswerPiece[]): AnswerPart => {
    if (pieces.some(({ kind }) => kind === 'call')) calling.add(choice)
    return { type: 'part', choice, raw, tokens, pieces }
  }
  const echoed = (text: string, tokens: readonly AnswerToken[] = []): AnswerPart[] =>
    text === '' ? [] : [...readers.keys()].map((choice) => part(choice, text, tokens, [{ kind: 'text', text }]))
  let completionTokens = 0
  if (prompt !== null && !promptLogprobs) yield* echoed(echoOf(prompt, echo))
  for await (const event of events) {
    if (event.type === 'text') {
      const { choice, text, tokens, generated } = event
      const reader = readers[choice]
      const thought = reader?.thinking
      const pieces = reader?.push(text) ?? []
      const count = counts[choice]
      if (count !== undefined) {
        if (thought || reader?.thinking) count.reasoning += generated - count.all
        count.all = generated
      }
      yield part(choice, text, tokens, pieces)
    } else if (event.type === 'end') {
      const { choice, reason } = event
      const rest = readers[choice]?.finish() ?? []
      if (rest.length > 0) yield part(choice, '', [], rest)
      completionTokens += event.completionTokens
      const reasoningTokens = counts[choice]?.reasoning ?? 0
      yield { ...event, reasoningTokens, reason: reason === 'stop' && calling.has(choice) ? 'tool_calls' : reason }
    } else if (event.type === 'prompt_logprobs' && prompt !== null) {
      const { text, tokens } = echoWithLogprobs(prompt, event.tokens)
      yield* echoed(text, tokens)
    } else if (event.type === 'done') {
      const reasoningTokens = counts.reduce((sum, { reasoning }) => sum + reasoning, 0)
      yield { type: 'done', tally: { completionTokens, reasoningTokens, timings: event.timings } }
    }
  }
}
