import type { AttachmentSpan } from './prompt-cells.ts'
import { compared, median, reachOf } from './step-times.ts'

/**
 * Divides the cores between the decoder and the encoders. The decoder has all of them, except that it has half while
 * an attachment is encoded and no prompt is in prefill: the encoder's threads have the lower priority and would get no time.
 * The encoder's threads leave the decoder's cores while it runs (`AttachmentEncoder.giveWay`).
 *
 * ggml's threads spin while they wait for each other: one thread more than there are free cores makes a step many times
 * slower, and a small model is fastest on one thread. The fastest number changes with the machine's load, so it is
 * measured continuously: see `ThreadChoice`.
 */
export class Cores {
  readonly all: number
  /** By `reachOf` a step's rows. */
  readonly #decoding: (ThreadChoice | undefined)[] = []
  /** A tile and a chunk take different times for each token. */
  readonly #encoding: Readonly<Record<AttachmentSpan['kind'], ThreadChoice>>

  /** @param all number of cores to divide */
  constructor(all: number) {
    this.all = all
    this.#encoding = { image: new ThreadChoice(this.all), audio: new ThreadChoice(this.all) }
  }

  /** The share of each while both work. */
  get half(): number {
    return Math.max(1, Math.floor(this.all / 2))
  }

  /** @param shared whether the encoder is busy and the step has no prefill @returns number of threads */
  forDecoding(shared: boolean, rows: number): number {
    return this.#share(shared, this.#fewerWantAll(rows) ? this.all : this.#decodingOf(rows).threads)
  }

  /** Records the duration of a step during which the encoder was idle, in ms. */
  decoded(threads: number, rows: number, ms: number): void {
    this.#decodingOf(rows).learn(threads, ms / rows)
  }

  forEncoding(kind: AttachmentSpan['kind'], decoderBusy: boolean): number {
    return this.#share(decoderBusy, this.#encoding[kind].threads)
  }

  /** Records the duration of encoding a part of `tokens` embeddings, in ms. */
  encoded(kind: AttachmentSpan['kind'], threads: number, tokens: number, ms: number): void {
    this.#encoding[kind].learn(threads, ms / tokens)
  }

  /** More rows give each thread more work between two barriers: no trial is needed if fewer rows were faster on all. */
  #fewerWantAll(rows: number): boolean {
    const fewer = this.#decoding.slice(0, reachOf(rows)).findLast((choice) => choice?.settled !== undefined)
    return fewer?.settled === 'all'
  }

  #decodingOf(rows: number): ThreadChoice {
    const reach = reachOf(rows)
    const choice = this.#decoding[reach] ?? new ThreadChoice(this.all)
    this.#decoding[reach] = choice
    return choice
  }

  #share(shared: boolean, threads: number): number {
    return shared ? Math.min(threads, this.half) : threads
  }
}

/** Runs between two trials of the other number of threads: the first pause and the longest. */
const pauses = { first: 16, most: 2048 }
/** A trial ends early if it takes this many times as long as usual. */
const hopeless = 1.25

/** Chooses between one thread and all of them by their times. The other is tried again at intervals that double each time it loses. */
class ThreadChoice {
  readonly #all: number
  /** Time for one unit of work in recent runs, by threads. */
  readonly #costs = { one: [] as number[], all: [] as number[] }
  #best: 'one' | 'all' = 'all'
  #tried = false
  #untilTrial = compared
  #pause = pauses.first

  constructor(all: number) {
    this.#all = all
  }

  /** The winner of the last trial; undefined before the first. */
  get settled(): 'one' | 'all' | undefined {
    return this.#tried ? this.#best : undefined
  }

  get threads(): number {
    const choice = this.#untilTrial <= 0 ? other(this.#best) : this.#best
    return choice === 'one' ? 1 : this.#all
  }

  /** @param cost time for one unit of work */
  learn(threads: number, cost: number): void {
    if (this.#all === 1 || (threads !== 1 && threads !== this.#all)) return
    const tried = threads === 1 ? 'one' : 'all'
    const costs = this.#costs[tried]
    costs.push(cost)
    if (tried === this.#best) {
      if (costs.length > compared) costs.shift()
      this.#untilTrial--
    } else if (costs.length === compared || Math.min(...costs) > hopeless * median(this.#costs[this.#best])) {
      this.#tried = true
      const won = median(costs) < median(this.#costs[this.#best])
      if (won) this.#best = tried
      this.#pause = won ? pauses.first : Math.min(pauses.most, this.#pause * 2)
      this.#untilTrial = this.#pause
      this.#costs[other(this.#best)] = []
    }
  }
}

const other = (choice: 'one' | 'all') => (choice === 'one' ? 'all' : 'one')
