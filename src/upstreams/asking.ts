import { isDeepStrictEqual } from 'node:util'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Upstream } from './target.ts'
import { type FoundModel, wires } from './wire/index.ts'

/** Between two questions, and after one that was not answered: twice as long each time, up to that. ms */
const intervals = { usual: 30_000, first: 1000 } as const
/** How long an upstream may take to say which models it has, in ms. */
const patience = 10_000

/** Asks an upstream from time to time which models it has. One that does not answer keeps those that it had. */
export class Asking {
  readonly #upstream: Upstream
  readonly #onChange: () => void
  readonly #log: Logger
  readonly #closed = new AbortController()
  #found: readonly FoundModel[] | undefined
  #isSilent = false
  #timer: NodeJS.Timeout | undefined
  /** Resolves when it has been asked once. */
  readonly asked: Promise<void>
  #isAsked = false

  /** @param before what it had before its settings were changed */
  constructor(upstream: Upstream, before: readonly FoundModel[] | undefined, onChange: () => void, log: Logger) {
    this.#upstream = upstream
    this.#found = before
    this.#onChange = onChange
    this.#log = log
    this.asked = this.#ask(intervals.first).then(() => {
      this.#isAsked = true
    })
  }

  /** undefined: it has never said. */
  get found(): readonly FoundModel[] | undefined {
    return this.#found
  }

  /** Whether it is asked for the first time now, and nothing is known of it. */
  get isUnknown(): boolean {
    return this.#found === undefined && !this.#isAsked
  }

  close(): void {
    this.#closed.abort()
    clearTimeout(this.#timer)
  }

  /** Never rejects. @param pause until the next question, if it does not answer */
  async #ask(pause: number): Promise<void> {
    const { settings } = this.#upstream
    const isAnswered = await this.#read().catch((error: unknown) => {
      if (!this.#isSilent && !this.#closed.signal.aborted)
        this.#log.warn(
          { upstream: settings.name, error: String(error) },
          'an upstream does not say which models it has',
        )
      this.#isSilent = true
      return false
    })
    if (this.#closed.signal.aborted) return
    const next = isAnswered ? intervals.usual : pause
    const longer = isAnswered ? intervals.first : Math.min(2 * pause, intervals.usual)
    this.#timer = setTimeout(() => void this.#ask(longer), next).unref()
  }

  async #read(): Promise<true> {
    const { settings } = this.#upstream
    const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(patience)])
    const found = await wires[settings.api].models(this.#upstream, signal)
    if (this.#closed.signal.aborted) throw new OrielError('cancelled', 'Nobody asks any more.')
    if (this.#isSilent) this.#log.info({ upstream: settings.name }, 'an upstream says again which models it has')
    this.#isSilent = false
    if (isDeepStrictEqual(found, this.#found)) return true
    this.#found = found
    this.#log.info({ upstream: settings.name, models: found.length }, 'an upstream has said which models it has')
    this.#onChange()
    return true
  }
}
