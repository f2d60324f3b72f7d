import type { WriteStream } from 'node:tty'
import { durationText } from './figures.ts'

/** What is known of a job, as a server tells it. */
export interface TuneProgress {
  state: string
  percent: number
  step: number
  steps?: number | undefined
  loss?: number | undefined
  evaluationLoss?: number | undefined
  inputTokens: number
  secondsLeft?: number | undefined
}

/** The interval between lines without a terminal, in ms. */
const repeat = 10_000

/** Shows how a job goes: a line that is redrawn on a terminal, or a line from time to time. */
export class TuneProgressLine {
  readonly #out: WriteStream
  readonly #moves: boolean
  #last = ''
  #shown = Number.NEGATIVE_INFINITY
  #drawn = false
  #state = ''

  constructor(out: WriteStream) {
    this.#out = out
    this.#moves = out.isTTY === true
  }

  show(progress: TuneProgress): void {
    const text = this.#textOf(progress)
    if (text === this.#last) return
    if (this.#moves) {
      // Returns to the beginning of the line, and erases the rest of a longer text.
      this.#out.write(`\r${text.slice(0, (this.#out.columns || 80) - 1)}\u001b[K`)
      this.#drawn = true
    } else {
      const now = performance.now()
      if (progress.state === this.#state && now - this.#shown < repeat) return
      this.#shown = now
      this.#out.write(`${text}\n`)
    }
    this.#last = text
    this.#state = progress.state
  }

  /** Moves the cursor to the beginning of a line. */
  end(): void {
    if (this.#drawn) this.#out.write('\n')
    this.#drawn = false
    this.#last = ''
  }

  #textOf({ state, percent, step, steps, loss, evaluationLoss, secondsLeft }: TuneProgress): string {
    const word = words[state] ?? state
    if (state !== 'JOB_STATE_RUNNING' || steps === undefined) return word
    const bar = this.#moves ? `[${'='.repeat(Math.round((percent / 100) * 20)).padEnd(20)}] ` : ''
    const parts = [
      `${bar}${percent}%`,
      `step ${step} of ${steps}`,
      ...(loss === undefined ? [] : [`loss ${lossText(loss)}`]),
      ...(evaluationLoss === undefined ? [] : [`evaluation ${lossText(evaluationLoss)}`]),
      ...(secondsLeft === undefined ? [] : [`${durationText(secondsLeft)} left`]),
    ]
    return parts.join(', ')
  }
}

export const lossText = (loss: number): string => loss.toFixed(loss < 0.1 ? 4 : 3)

const words: Readonly<Record<string, string>> = {
  JOB_STATE_PENDING: 'It waits for its turn.',
  JOB_STATE_VALIDATING: 'The examples are prepared.',
  JOB_STATE_RUNNING: 'It begins to train.',
  JOB_STATE_WRITING_RESULTS: 'The adapter is written.',
  JOB_STATE_CANCELLING: 'It is being cancelled.',
}
