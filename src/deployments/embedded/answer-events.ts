import { StringDecoder } from 'node:string_decoder'
import type {
  AttachmentWork,
  AnswerToken as EngineToken,
  GenerateEvent,
  PromptCount,
  PromptPiece,
} from '../../engine/index.ts'
import { type AnswerPiece, AnswerReader } from '../../prompt/index.ts'
import { Turns } from '../../turns.ts'
import type { Ask, PlainPart, Settings } from '../ask.ts'
import type { AnswerEvent, AnswerPart, AnswerToken, DescribedPrompt, Tally } from '../backend.ts'

/** A part of a prompt with log probabilities takes some ms to read, and to write for each choice. */
const echoes = new Turns()

/** A reader for each choice, which separates text, thoughts and calls. @param thinking the prompt ends in a thought */
export function readersOf({ prompt, settings }: Ask, thinking: boolean): AnswerReader[] {
  const chat = prompt.kind === 'chat' ? prompt : null
  const calls = chat !== null && chat.calling.mode !== 'none'
  return Array.from(
    { length: settings.n },
    () =>
      new AnswerReader({
        tools: new Map(calls ? chat.tools.map((tool) => [tool.name, tool]) : []),
        hasFormat: settings.sampling.grammar?.kind === 'json_schema',
        mostCalls: chat?.calling.parallel === false ? 1 : Number.POSITIVE_INFINITY,
        splitReasoning: chat?.splitReasoning ?? false,
        thinking,
        // It wrote the tag itself, or sees it in an echo.
        hasTag: (chat?.continues ?? false) || settings.echo !== null,
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
  prompt: ShownPrompt | null,
  { echo, promptLogprobs }: Ask['settings'],
  answered: (works: readonly AttachmentWork[]) => Partial<Tally>,
): AsyncIterable<AnswerEvent> {
  const calling = new Set<number>()
  const counts = readers.map(() => ({ all: 0, reasoning: 0 }))
  const part = (choice: number, raw: string, tokens: readonly AnswerToken[], pieces: AnswerPiece[]): AnswerPart => {
    if (pieces.some(({ kind }) => kind === 'call')) calling.add(choice)
    return { type: 'part', choice, completionTokens: counts[choice]?.all ?? 0, raw, tokens, pieces }
  }
  const echoed = ({ text, tokens }: Echo): AnswerPart[] =>
    text === '' && tokens.length === 0
      ? []
      : [...readers.keys()].map((choice) => part(choice, text, tokens, [{ kind: 'text', text }]))
  const told = prompt !== null && promptLogprobs ? new ToldPrompt(prompt) : null
  let completionTokens = 0
  if (prompt !== null && told === null) yield* echoed({ text: echoOf(prompt, echo), tokens: [] })
  for await (const event of events) {
    if (event.type === 'prompt_logprobs') {
      if (told === null) continue
      await echoes.next()
      for (const one of echoed(told.next(event))) {
        yield one
        await echoes.next()
      }
      continue
    }
    // Whatever comes then, the prompt is over.
    if (event.type !== 'prompt' && told !== null) yield* echoed(told.rest())
    if (event.type === 'text') {
      const { choice, text, tokens, generated } = event
      const reader = readers[choice]
      const thought = reader?.thinking
      const pieces = reader?.push(text) ?? []
      const count = counts[choice]
      if (count !== undefined) {
        count.reasoning += Math.round((generated - count.all) * thoughtIn(pieces, thought || reader?.thinking || false))
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
    } else if (event.type === 'done') {
      const reasoningTokens = counts.reduce((sum, { reasoning }) => sum + reasoning, 0)
      const { timings, attachments } = event
      yield { type: 'done', tally: { completionTokens, reasoningTokens, timings, ...answered(attachments) } }
    }
  }
}

/** A prompt with what its text has in the place of attachments. */
interface ShownPrompt extends DescribedPrompt {
  /** By the first cell of each run of cells. */
  readonly marks: ReadonlyMap<number, string>
}

/** The text of a prompt is that of its layout, or that of its tokens if the client sent tokens. */
export function describedPrompt(
  parts: readonly PlainPart[],
  attachments: { text(index: number): string },
  pieces: readonly PromptPiece[],
  { tokens, spans }: PromptCount,
): ShownPrompt {
  const marks = marksOf(pieces, spans)
  if (parts.some(({ kind }) => kind === 'tokens')) return { text: textOf(tokens, marks), tokens, marks }
  const texts = parts.map((part) => {
    if (part.kind === 'text') return part.text
    return part.kind === 'tokens' ? '' : attachments.text(part.attachment)
  })
  return { text: texts.join(''), tokens, marks }
}

function marksOf(pieces: readonly PromptPiece[], spans: PromptCount['spans']): ShownPrompt['marks'] {
  const marks = pieces.flatMap((piece) => {
    if (piece.kind === 'image') return [piece.frames === undefined ? '<image>' : '<video>']
    return piece.kind === 'audio' ? ['<audio>'] : []
  })
  const isFirst = ({ place, start }: (typeof spans)[number], at: number): boolean =>
    spans[at - 1]?.place !== place || spans[at - 1]?.end !== start
  return new Map(spans.filter(isFirst).map(({ place, start }) => [start, marks[place] ?? '']))
}

/** The part of a prompt that its answer repeats. */
function echoOf({ text, tokens, marks }: ShownPrompt, echo: Settings['echo']): string {
  if (echo === 'all') return text
  return echo === null || echo === 0 ? '' : textOf(tokens, marks, Math.max(0, tokens.length - echo))
}

interface Echo {
  readonly text: string
  readonly tokens: readonly AnswerToken[]
}

/** An echo of a prompt with log probabilities, part by part. Its text is that of the tokens, control tokens included. */
class ToldPrompt {
  readonly #prompt: ShownPrompt
  /** A character may begin in one part and end in the next. */
  readonly #text = new StringDecoder('utf8')
  #echoed = 0

  constructor(prompt: ShownPrompt) {
    this.#prompt = prompt
  }

  /** The echo up to the end of a part. */
  next({ from, tokens }: Extract<GenerateEvent, { type: 'prompt_logprobs' }>): Echo {
    return this.#upTo(from + tokens.length, (cell) => tokens[cell - from] ?? null)
  }

  rest(): Echo {
    const { text, tokens } = this.#upTo(this.#prompt.tokens.length, () => null)
    return { text: text + this.#text.end(), tokens }
  }

  #upTo(end: number, chancesOf: (cell: number) => EngineToken | null): Echo {
    const { tokens, marks } = this.#prompt
    const start = this.#echoed
    this.#echoed = end
    const echoed = tokens.slice(start, end).flatMap((token, at): AnswerToken[] => {
      const chances = chancesOf(start + at)
      if (token !== null) return [{ ...token, logprob: chances?.logprob ?? null, top: chances?.top ?? [] }]
      const mark = marks.get(start + at)
      return mark === undefined ? [] : [{ id: -1, bytes: Buffer.from(mark), logprob: null, top: [] }]
    })
    return { text: this.#text.write(Buffer.concat(echoed.map(({ bytes }) => bytes))), tokens: echoed }
  }
}

/** @param from the first token; an attachment that begins before it is left out */
function textOf(tokens: DescribedPrompt['tokens'], marks: ShownPrompt['marks'], from = 0): string {
  const bytes = tokens.slice(from).map((token, at) => token?.bytes ?? Buffer.from(marks.get(from + at) ?? ''))
  return Buffer.concat(bytes).toString('utf8')
}

/**
 * The share of an event's tokens that are thought. A slow reader gets many tokens at once, and which of them made which text
 * is not known: those of a thought and of what follows it are told apart by their lengths.
 * @param thinking whether tokens without text belong to a thought
 */
function thoughtIn(pieces: readonly AnswerPiece[], thinking: boolean): number {
  let [thought, all] = [0, 0]
  for (const piece of pieces) {
    const length = 'text' in piece ? piece.text.length : 1
    all += length
    if (piece.kind === 'reasoning') thought += length
  }
  return all > 0 ? thought / all : Number(thinking)
}
