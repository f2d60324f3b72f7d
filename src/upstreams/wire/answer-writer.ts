import {
  type AnswerEnd,
  type AnswerEvent,
  type AnswerPart,
  type AnswerPiece,
  type AnswerToken,
  type EndReason,
  isCutOff,
} from '../../deployments/index.ts'
import { AnswerReader } from '../../prompt/index.ts'
import { brokeOff, unreadable } from './failures.ts'
import type { PreparedAsk } from './wire.ts'

/** What an upstream tells of one choice at once. */
export interface Delta {
  readonly text?: string | null | undefined
  readonly reasoning?: string | null | undefined
  readonly calls?: readonly CallDelta[] | null | undefined
  readonly tokens?: readonly AnswerToken[] | undefined
  /** Tokens of the choice so far, if they are told. */
  readonly completionTokens?: number | undefined
}

export interface CallDelta {
  /** The upstream's number of the call. */
  readonly index: number
  readonly id?: string | null | undefined
  readonly name?: string | null | undefined
  readonly arguments?: string | null | undefined
}

/** Tags for thoughts that a client wants within the text. */
const tags = { open: '<think>\n', close: '\n</think>\n\n' }

const noTimings = { queue: 0, encode: 0, prefill: 0, firstToken: 0, generation: 0 }

/** Makes the events of an answer of what an upstream tells of it. */
export class AnswerWriter {
  readonly #choices: Choice[]
  #completionTokens: number | null = null
  #reasoningTokens: number | null = null

  /** @param tagsThoughts whether thoughts may come within the text, in their tags */
  constructor({ prompt, settings }: PreparedAsk, tagsThoughts: boolean) {
    const chat = prompt.kind === 'chat' ? prompt : null
    const splits = chat?.splitReasoning ?? false
    this.#choices = Array.from({ length: settings.n }, (_, index) => {
      return new Choice(index, {
        splits,
        readsTags: splits && tagsThoughts,
        mostCalls: chat?.calling.parallel === false ? 1 : Infinity,
      })
    })
  }

  /** New text, thoughts or calls of a choice. */
  *write(choice: number, delta: Delta): Iterable<AnswerEvent> {
    const part = this.#at(choice).part(delta)
    if (part !== undefined) yield part
  }

  /** The end of a choice. Of a single choice it is held back until all is told of it. */
  *end(choice: number, reason: EndReason, stop: string | null): Iterable<AnswerEvent> {
    const ended = this.#at(choice)
    yield* ended.finish(reason, stop)
    if (this.#choices.length > 1 && ended.end !== undefined) yield ended.end
  }

  /** Tokens of all choices so far, as the upstream counts them. */
  tell(completionTokens: number | null, reasoningTokens: number | null): void {
    this.#completionTokens = completionTokens ?? this.#completionTokens
    this.#reasoningTokens = reasoningTokens ?? this.#reasoningTokens
  }

  /** The end of all. @throws AttemptFailed if a choice has not ended */
  *done(): Iterable<AnswerEvent> {
    const ends = this.#choices.map(({ end }) => {
      if (end === undefined) throw brokeOff()
      return end
    })
    const sum = (of: (end: AnswerEnd) => number) => ends.reduce((total, end) => total + of(end), 0)
    const completionTokens = this.#completionTokens ?? sum((end) => end.completionTokens)
    const reasoningTokens = this.#reasoningTokens ?? sum((end) => end.reasoningTokens)
    const [only] = ends
    if (ends.length === 1 && only !== undefined) yield { ...only, completionTokens, reasoningTokens }
    yield { type: 'done', tally: { completionTokens, reasoningTokens, timings: noTimings } }
  }

  #at(choice: number): Choice {
    const found = this.#choices[choice]
    if (found === undefined) throw unreadable('a choice that nobody asked for')
    return found
  }
}

interface ChoiceOptions {
  /** Whether thoughts are apart from the text. */
  readonly splits: boolean
  readonly readsTags: boolean
  readonly mostCalls: number
}

/** Of a piece whose tokens a server does not count: few tokens are longer, and English has four characters in one. */
const tokensOf = ({ length }: string): number => (length > 16 ? Math.ceil(length / 4) : 1)

class Choice {
  end: AnswerEnd | undefined
  readonly #index: number
  readonly #options: ChoiceOptions
  readonly #reader: AnswerReader | null
  /** The calls so far, by the upstream's numbers. */
  #calls: { index: number; id: string | null; hasArguments: boolean }[] = []
  /** Whether a thought within the text is open. */
  #inThought = false
  #completionTokens = 0
  #reasoningTokens = 0

  constructor(index: number, options: ChoiceOptions) {
    this.#index = index
    this.#options = options
    const reading = { tools: new Map(), mostCalls: 0, splitReasoning: true, thinking: false }
    this.#reader = options.readsTags ? new AnswerReader(reading) : null
  }

  part({ text, reasoning, calls, tokens = [], completionTokens }: Delta): AnswerPart | undefined {
    const pieces = [
      ...(reasoning ? this.#thought(reasoning) : []),
      ...(text ? this.#text(text) : []),
      ...(calls ?? []).flatMap((call) => this.#call(call)),
    ]
    const said = [reasoning, text, ...(calls ?? []).map((call) => call.arguments)].filter((words) => words)
    if (said.length === 0 && pieces.length === 0 && tokens.length === 0) return undefined
    const before = this.#completionTokens
    this.#completionTokens = completionTokens ?? before + (tokens.length || tokensOf(said.join('')))
    if (pieces[0]?.kind === 'reasoning' || reasoning) this.#reasoningTokens += this.#completionTokens - before
    return this.#partOf(said.join(''), tokens, pieces)
  }

  *finish(reason: EndReason, stop: string | null): Iterable<AnswerEvent> {
    if (this.end !== undefined) return
    // The arguments of a call that was cut off may have been about to begin: they are not an empty object.
    const calls = isCutOff(reason) ? [] : this.#closeCall()
    const pieces = [...(this.#reader?.finish() ?? []), ...this.#closeThought(), ...calls]
    if (pieces.length > 0) yield this.#partOf('', [], pieces)
    // Not every server says that it ended with calls.
    const why = reason === 'stop' && this.#calls.length > 0 ? 'tool_calls' : reason
    const tokens = { completionTokens: this.#completionTokens, reasoningTokens: this.#reasoningTokens }
    this.end = { type: 'end', choice: this.#index, reason: why, stop, ...tokens }
  }

  #partOf(raw: string, tokens: readonly AnswerToken[], pieces: readonly AnswerPiece[]): AnswerPart {
    return { type: 'part', choice: this.#index, completionTokens: this.#completionTokens, raw, tokens, pieces }
  }

  #text(text: string): AnswerPiece[] {
    const pieces = this.#reader?.push(text) ?? [{ kind: 'text', text }]
    return [...this.#closeThought(), ...pieces]
  }

  #thought(text: string): AnswerPiece[] {
    if (this.#options.splits) return [{ kind: 'reasoning', text }]
    const opening = this.#inThought ? '' : tags.open
    this.#inThought = true
    return [{ kind: 'text', text: opening + text }]
  }

  #closeThought(): AnswerPiece[] {
    if (!this.#inThought) return []
    this.#inThought = false
    return [{ kind: 'text', text: tags.close }]
  }

  #call({ index, id = null, name, arguments: given }: CallDelta): AnswerPiece[] {
    const pieces: AnswerPiece[] = []
    const last = this.#calls.at(-1)
    // Some servers give all calls the same number.
    const isNew = !this.#calls.some((call) => call.index === index) || (!!name && !!id && last?.id !== id)
    if (isNew) {
      if (!name) throw unreadable('a call without a name')
      pieces.push(...this.#closeThought(), ...this.#closeCall())
      this.#calls.push({ index, id, hasArguments: false })
      pieces.push({ kind: 'call', call: this.#calls.length - 1, name })
    } else if (last?.index !== index) throw unreadable('more of a call after the next one')
    const current = this.#calls.at(-1)
    if (given && current !== undefined) {
      current.hasArguments = true
      pieces.push({ kind: 'arguments', call: this.#calls.length - 1, text: given })
    }
    return pieces.filter((piece) => !('call' in piece) || piece.call < this.#options.mostCalls)
  }

  /** A call without arguments has an empty object. */
  #closeCall(): AnswerPiece[] {
    const last = this.#calls.at(-1)
    const call = this.#calls.length - 1
    if (last === undefined || last.hasArguments || call >= this.#options.mostCalls) return []
    last.hasArguments = true
    return [{ kind: 'arguments', call, text: '{}' }]
  }
}
