import {
  type Answer,
  type AnswerEvent,
  type Choice,
  Collected,
  type Grounding,
  type PromptUsage,
  type Tally,
} from '../deployments/index.ts'

/** A finished answer. */
export interface Finished
  extends Pick<Choice, 'text' | 'reasoning' | 'calls'>,
    Pick<Tally, 'images' | 'videos' | 'audio'>,
    Partial<Grounding> {
  /** `length`: it was cut at `maxTokens` or at the end of the context. `left`: the program left it before its end. */
  reason: Choice['reason'] | 'left'
  usage: PromptUsage & Pick<Tally, 'completionTokens' | 'reasoningTokens'>
  /** In ms. */
  timings: Tally['timings'] & Answer['media']
}

/**
 * An answer that has begun. Iterate it to stream its text, or await `finish()` for all of it. Leaving the loop early stops
 * the answer.
 */
export class Reply implements AsyncIterable<string> {
  /** Tokens of the prompt, known before the first text. */
  readonly usage: PromptUsage
  readonly #answer: Answer
  readonly #collected = new Collected(1)
  #events: AsyncIterator<AnswerEvent> | undefined
  /** Why the answer broke off. */
  #failure: { error: unknown } | undefined

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
    try {
      for await (const event of rest) {
        this.#collected.take(event)
        yield event
      }
    } catch (error) {
      this.#failure = { error }
    }
    // Whoever asks later must not take the beginning for the whole.
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /**
   * Waits for the end. Text that was iterated before is part of the result.
   * @throws OrielError why the answer broke off, also if that was told before
   */
  async finish(): Promise<Finished> {
    for await (const _ of this.events());
    const { choices, tally } = this.#collected
    const { text = '', reasoning = '', calls = [], reason: ended = 'stop', grounding } = choices[0] ?? {}
    const { completionTokens, reasoningTokens, timings: own, images, videos, audio } = tally ?? unfinished
    const reason = tally === undefined ? 'left' : ended
    const usage = { ...this.usage, completionTokens, reasoningTokens }
    const timings = { ...own, ...this.#answer.media }
    const attachments = { ...(images && { images }), ...(videos && { videos }), ...(audio && { audio }) }
    return { text, reasoning, calls, reason, ...grounding, usage, timings, ...attachments }
  }
}

/** Of an answer that was left before its end. */
const unfinished: Tally = {
  completionTokens: 0,
  reasoningTokens: 0,
  timings: { queue: 0, encode: 0, prefill: 0, firstToken: 0, generation: 0 },
}
