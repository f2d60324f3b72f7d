import type { AnswerEvent, EndReason, Tally } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { RunningAnswer } from '../answering/answer.ts'

/** Why a choice ended. `abort`: the client left. */
export type Ending = EndReason | 'abort' | 'error'

/** Hears of an answer while it is read. */
interface Listener {
  /** @param count new tokens of a choice @param ms between each and the one before; undefined for the first */
  tokens(count: number, ms: number | undefined): void
  /** The answer is complete. */
  done(): void
}

/** An answer, and what became of it so far. It knows numbers only. */
export class WatchedAnswer {
  readonly answer: RunningAnswer
  readonly #listener: Listener
  readonly #choices = new Map<number, { tokens: number; at: number }>()
  readonly #endings: EndReason[] = []
  #done: { tally: Tally; at: number } | undefined
  #failure: string | undefined

  constructor(answer: RunningAnswer, listener: (watched: WatchedAnswer) => Listener) {
    this.answer = answer
    this.#listener = listener(this)
  }

  /** The answer, whose events are counted as they are read. */
  get running(): RunningAnswer {
    return { ...this.answer, events: this.#events() }
  }

  /** Tokens and times of a complete answer. */
  get tally(): Tally | undefined {
    return this.#done?.tally
  }

  /** From its beginning to its last token, in ms, of a complete answer. */
  get duration(): number | undefined {
    return this.#done && this.#done.at - this.answer.began
  }

  /** Until the first token, in ms, of a complete answer. */
  get firstToken(): number | undefined {
    const { loadMs, media } = this.answer
    return this.tally && loadMs + media.media + this.tally.timings.firstToken
  }

  /** For each token after the first, in ms. Choices are made side by side, so the longest counts. */
  get perToken(): number | undefined {
    const longest = Math.max(0, ...[...this.#choices.values()].map(({ tokens }) => tokens))
    return this.tally && longest > 1 ? this.tally.timings.generation / (longest - 1) : undefined
  }

  get completionTokens(): number {
    return [...this.#choices.values()].reduce((sum, { tokens }) => sum + tokens, 0)
  }

  /** Of each choice. To be read when the response is over: what has not ended by then does not end any more. */
  get endings(): readonly Ending[] {
    const others = Math.max(0, this.answer.choices - this.#endings.length)
    const ending = this.#failure === undefined ? 'abort' : 'error'
    return [...this.#endings, ...Array.from({ length: others }, (): Ending => ending)]
  }

  /** The identifier of the error that broke it off. */
  get failure(): string | undefined {
    return this.#failure
  }

  async *#events(): AsyncIterable<AnswerEvent> {
    try {
      for await (const event of this.answer.events) {
        if (event.type === 'end') this.#endings.push(event.reason)
        if (event.type === 'done') {
          this.#done = { tally: event.tally, at: performance.now() }
          this.#listener.done()
        } else this.#count(event.choice, event.completionTokens)
        yield event
      }
    } catch (error) {
      const { kind, code = kind } = error instanceof OrielError ? error : ({ kind: 'internal' } as const)
      if (kind !== 'cancelled') this.#failure = code
      throw error
    }
  }

  /** A slow reader gets the text of several tokens at once. They share the time since the last. */
  #count(choice: number, tokens: number): void {
    const at = performance.now()
    const last = this.#choices.get(choice)
    const count = tokens - (last?.tokens ?? 0)
    if (count <= 0) return
    this.#choices.set(choice, { tokens, at })
    this.#listener.tokens(count, last && (at - last.at) / count)
  }
}
