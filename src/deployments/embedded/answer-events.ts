import type { AttachmentWork, AnswerToken as EngineToken, GenerateEvent } from '../../engine/index.ts'
import { type AnswerPiece, AnswerReader } from '../../prompt/index.ts'
import type { Ask, PlainPart, Settings } from '../ask.ts'
import type { AnswerEvent, AnswerPart, AnswerToken, DescribedPrompt, PromptToken, Tally } from '../backend.ts'

/** A reader for each choice, which separates text, thoughts and calls. @param thinking the prompt ends in a thought */
export function readersOf({ prompt, settings }: Ask, thinking: boolean): AnswerReader[] {
  const chat = prompt.kind === 'chat' ? prompt : null
  const calls = chat !== null && chat.calling.mode !== 'none'
  return Array.from(
    { length: settings.n },
    () =>
      new AnswerReader({
        tools: new Map(calls ? chat.tools.map((tool) => [tool.name, tool]) : []),
        mostCalls: chat?.calling.parallel === false ? 1 : Number.POSITIVE_INFINITY,
        splitReasoning: chat?.splitReasoning ?? false,
        // An opening tag that the client wrote itself, or sees in an echo, is not repeated.
        thinking: thinking && (chat?.splitReasoning || (!chat?.continues && settings.echo === null)),
      }),
  )
}

/**
 * The engine's events as those of the port: text read into pieces, the prompt's echo first, one tally at the end.
 * @param answered what became of the attachments, from the work for each piece
 */
export async function* answerEvents(
  events: AsyncIterable<GenerateEvent>,
  readers: readonly AnswerReader[],
  prompt: DescribedPrompt | null,
  { echo, promptLogprobs }: Ask['settings'],
  answered: (works: readonly AttachmentWork[]) => Partial<Tally>,
): AsyncIterable<AnswerEvent> {
  const calling = new Set<number>()
  const counts = readers.map(() => ({ all: 0, reasoning: 0 }))
  const part = (choice: number, raw: string, tokens: readonly AnswerToken[], pieces: AnswerPiece[]): AnswerPart => {
    if (pieces.some(({ kind }) => kind === 'call')) calling.add(choice)
    return { type: 'part', choice, completionTokens: counts[choice]?.all ?? 0, raw, tokens, pieces }
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
      const { timings, attachments } = event
      yield { type: 'done', tally: { completionTokens, reasoningTokens, timings, ...answered(attachments) } }
    }
  }
}

/** Represents an image in a prompt that is shown as text. */
const image = '<image>'

/** The text of a prompt: its layout, or the text of its tokens if the client sent tokens. */
export function promptText(
  parts: readonly PlainPart[],
  attachments: { text(index: number): string },
  tokens: readonly (PromptToken | null)[],
): string {
  if (parts.some(({ kind }) => kind === 'tokens')) return textOf(tokens)
  return parts
    .map((part) => {
      if (part.kind === 'text') return part.text
      return part.kind === 'tokens' ? '' : attachments.text(part.attachment)
    })
    .join('')
}

/** The part of a prompt that its answer repeats. */
function echoOf({ text, tokens }: DescribedPrompt, echo: Settings['echo']): string {
  if (echo === 'all') return text
  return echo === null || echo === 0 ? '' : textOf(tokens.slice(-echo))
}

/** An echo of a prompt with log probabilities. Its text is that of the tokens, control tokens included. */
function echoWithLogprobs(
  { tokens }: DescribedPrompt,
  chances: readonly (EngineToken | null)[],
): { text: string; tokens: AnswerToken[] } {
  const echoed = tokens.flatMap((token, index): AnswerToken[] => {
    if (token !== null) return [{ ...token, logprob: chances[index]?.logprob ?? null, top: chances[index]?.top ?? [] }]
    return tokens[index - 1] === null ? [] : [{ id: -1, bytes: Buffer.from(image), logprob: null, top: [] }]
  })
  return { text: textOf(tokens), tokens: echoed }
}

function textOf(tokens: readonly (PromptToken | null)[]): string {
  const bytes = tokens.flatMap((token, index) => {
    if (token !== null) return [...token.bytes]
    return tokens[index - 1] === null ? [] : [...Buffer.from(image)]
  })
  return Buffer.from(bytes).toString('utf8')
}
