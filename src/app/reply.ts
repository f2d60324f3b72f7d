import type { Answer, AnswerEvent, PromptUsage, Tally } from '../deployments/index.ts'

/** A finished answer. */
export interface Finished {
  /** Without the thoughts and the calls. */
  text: string
  reasoning: string
  calls: readonly { name: string /** JSON. */; arguments: string }[]
  /** `length`: the answer was cut at `maxTokens` or at the end of the context. */
  reason: 'stop' | 'length' | 'tool_calls'
  usage: PromptUsage & Pick<Tally, 'completionTokens' | 'reasoningTokens'>
  /** ms */
  timings: Tally['timings'] & Answer['media']
}

/**
 * An answer that has begun. Iterate it for its text as it comes, or await `finish()` for all of it. To leave the loop
 * early ends the answer.
 */
export class Reply implements AsyncIterable<string> {
  /** Tokens of the prompt, known before the first word. */
  readonly usage: PromptUsage
  readonly #answer: Answer
  readonly #calls: { name: string; arguments: string }[] = []
  #text = ''
  #reasoning = ''
  #reason: Finished['reason'] = 'stop'
  #tally: Tally | undefined
  #events: AsyncIterator<AnswerEvent> | undefined

  constructor(answer: Answer) {
    this.#answer = answer
    this.usage = answer.usage
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    for await (const event of this.events()) {
      const text =
        event.type === 'part' ? event.pieces.map((piece) => (piece.kind === 'text' ? piece.text : '')).join('') : ''
      if (text !== '') yield text
    }
  }

  /** Every event of the answer: text as the model wrote it, tokens, thoughts, calls, the end. */
  async *events(): AsyncGenerator<AnswerEvent, void, void> {
    this.#events ??= this.#answer.events[Symbol.asyncIterator]()
    const rest = { [Symbol.asyncIterator]: () => this.#events as AsyncIterator<AnswerEvent> }
    for await (const event of rest) {
      this.#take(event)
      yield event
    }
  }

  /** Waits for the end. Text that was iterated before is part of the result. */
  async finish(): Promise<Finished> {
    for await (const _ of this.events());
    const { completionTokens, reasoningTokens, timings } = this.#tally ?? nothing
    return {
      text: this.#text,
      reasoning: this.#reasoning,
      calls: this.#calls,
      reason: this.#reason,
      usage: { ...this.usage, completionTokens, reasoningTokens },
      timings: { ...timings, ...this.#answer.media },
    }
  }

  #take(event: AnswerEvent): void {
    if (event.type === 'end') this.#reason = event.reason
    if (event.type === 'done') this.#tally = event.tally
    if (event.type !== 'part') return
    for (const piece of event.pieces) {
      if (piece.kind === 'text') this.#text += piece.text
      else if (piece.kind === 'reasoning') this.#reasoning += piece.text
      else if (piece.kind === 'call') this.#calls.push({ name: piece.name, arguments: '' })
      else {
        const call = this.#calls[piece.call]
        if (call !== undefined) call.arguments += piece.text
      }
    }
  }
}

/** Of an answer that was left before its end. */
const nothing: Tally = {
  completionTokens: 0,
  reasoningTokens: 0,
  timings: { queue: 0, encode: 0, prefill: 0, firstToken: 0, generation: 0 },
}
