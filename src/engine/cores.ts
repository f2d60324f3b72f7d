import { availableProcessors } from '../processors.ts'
import { compared, median, reachOf } from './step-times.ts'

/**
 * Shares the machine's cores between the decoder and the picture encoder. The decoder has all of them, but half while it
 * only goes on with running answers and a picture is encoded: the encoder's threads have the lower priority, and would
 * be left with nothing. They keep off its cores while it runs (`PictureEncoder.giveWay`).
 *
 * ggml's threads spin while they wait for each other: one more than there are free cores makes a step many times slower,
 * and a small model is fastest on one thread anyway. What is fastest changes with the machine's load, so it is measured
 * all the time: see `ThreadChoice`.
 */
export class Cores {
  readonly all: number
  /** By the power of two that a step's rows reach. */
  readonly #decoding: (ThreadChoice | undefined)[] = []
  readonly #encoding: ThreadChoice

  /** @param configured 0: all of the machine's */
  constructor(configured: number) {
    this.all = configured || availableProcessors()
    this.#encoding = new ThreadChoice(this.all)
  }

  /** What either has while both work. */
  get half(): number {
    return Math.max(1, Math.floor(this.all / 2))
  }

  /** @param shared whether the encoder needs cores too, and nobody waits for this step to see a picture */
  forDecoding(shared: boolean, rows: number): number {
    return this.#share(shared, this.#fewerWantAll(rows) ? this.all : this.#decodingOf(rows).threads)
  }

  /** Tells what a step took that had the cores to itself, in ms. */
  decoded(threads: number, rows: number, ms: number): void {
    this.#decodingOf(rows).learn(threads, ms / rows)
  }

  forEncoding(decoderBusy: boolean): number {
    return this.#share(decoderBusy, this.#encoding.threads)
  }

  /** Tells what encoding a picture of that many tokens took, in ms. */
  encoded(threads: number, tokens: number, ms: number): void {
    this.#encoding.learn(threads, ms / tokens)
  }

  /** More rows give each thread more to do between two meetings: nothing is to be tried where fewer have won on all. */
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

/** Runs between two trials of the number of threads that is not in use, at first and at most. */
const pauses = { first: 16, most: 2048 }
/** A trial that takes so many times what is usual is not worth the wait of those who listen. */
const hopeless = 1.25

/** One thread or all of them: whichever takes less time. The other is tried again now and then, more seldom each time it loses. */
class ThreadChoice {
  readonly #all: number
  /** Time for one unit of work in the last runs, by threads. */
  readonly #costs = { one: [] as number[], all: [] as number[] }
  #best: 'one' | 'all' = 'all'
  #tried = false
  #untilTrial = compared
  #pause = pauses.first

  constructor(all: number) {
    this.#all = all
  }

  /** What has won the last trial; undefined before there was one. */
  get settled(): 'one' | 'all' | undefined {
    return this.#tried ? this.#best : undefined
  }

  /** How many threads the next run shall use. */
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
