import type { Config } from '../config.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { cancelled, OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { ModelCard } from '../models/index.ts'
import type { Backend } from './backend.ts'
import type { MemoryBudget, Tenant } from './memory-budget.ts'
import { type MemoryPlan, sizeText } from './memory-plan.ts'

/** What a start is told, and what it reports to. */
interface Start {
  plan: MemoryPlan
  /** Receives the share of the model that is loaded: 0 to 1. */
  onProgress(share: number): void
  /** Ends the start. */
  signal: AbortSignal
}

/** Makes a model answer. @throws OrielError */
export type Starter = (card: ModelCard, start: Start) => Promise<Backend>

/** What all deployments share. */
export interface DeploymentRooms {
  budget: MemoryBudget
  start: Starter
  config: Config['loading']
  log: Logger
}

export type DeploymentState = 'available' | 'loading' | 'loaded' | 'failed'

/** A load that failed is not tried again for so long. ms */
const failurePause = 30_000
/** What is told to somebody who has waited long enough to ask again after. Seconds. */
const retryAfter = 10
/** Between two lines about a load in the log. ms */
const logPause = 1000

/** One model that lies here: it is loaded when a request wants it, and leaves when others need its room. */
export class Deployment implements Tenant {
  readonly card: ModelCard
  readonly #plan: MemoryPlan
  readonly #rooms: DeploymentRooms
  readonly #waiting = new Set<Deferred<Backend>>()
  #backend: Backend | undefined
  /** While it is being loaded, or waits for room: what ends that. */
  #loading: AbortController | undefined
  #starting = false
  #share = 0
  #failure: { error: OrielError; until: number } | undefined
  #idle: NodeJS.Timeout | undefined
  #closed = false
  users = 0
  usedAt = 0

  constructor(card: ModelCard, plan: MemoryPlan, rooms: DeploymentRooms) {
    this.card = card
    this.#plan = plan
    this.#rooms = rooms
  }

  get bytes(): number {
    return this.#plan.total
  }

  get settled(): boolean {
    return this.#backend !== undefined
  }

  get backend(): Backend | undefined {
    return this.#backend
  }

  /** Whether it has anything in memory, or is about to. */
  get active(): boolean {
    return this.#backend !== undefined || this.#loading !== undefined || this.#waiting.size > 0
  }

  get state(): DeploymentState {
    if (this.#backend !== undefined) return 'loaded'
    if (this.#loading !== undefined) return 'loading'
    return this.#failure === undefined ? 'available' : 'failed'
  }

  /** The share that is loaded, while it is being loaded. */
  get progress(): number {
    return this.#share
  }

  get failure(): OrielError | undefined {
    return this.#failure?.error
  }

  /**
   * The model, ready to answer, until the signal aborts: so long it stays.
   * @param patience how long to wait for it. ms
   * @throws OrielError `overloaded` when that was not enough, and why it could not be loaded
   */
  async use(signal: AbortSignal, patience: number): Promise<Backend> {
    if (signal.aborted) throw cancelled()
    const backend = this.#backend ?? undefined
    if (backend !== undefined && this.#rooms.budget.isOpen(this)) {
      this.#enter()
      this.#exitWith(signal)
      return backend
    }
    if (this.#failure !== undefined && this.#failure.until > performance.now()) throw this.#failure.error
    const waiter = deferred<Backend>()
    const leave = (error: OrielError): void => {
      if (!this.#waiting.delete(waiter)) return
      waiter.reject(error)
      if (this.#waiting.size === 0 && !this.#starting) this.#loading?.abort()
    }
    const cancel = (): void => leave(cancelled())
    const timer = Number.isFinite(patience) ? setTimeout(() => leave(this.#tooLong(patience)), patience) : undefined
    signal.addEventListener('abort', cancel, { once: true })
    this.#waiting.add(waiter)
    if (this.#backend === undefined && this.#loading === undefined) void this.#load()
    try {
      const loaded = await waiter.promise
      this.#exitWith(signal)
      return loaded
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', cancel)
    }
  }

  async leave(): Promise<void> {
    const backend = this.#backend
    clearTimeout(this.#idle)
    await backend?.close()
    this.#backend = undefined
    this.#rooms.log.info({ model: this.card.id }, 'a model was unloaded')
    if (this.#waiting.size > 0) void this.#load()
  }

  stay(): void {
    if (this.#backend !== undefined) this.#letIn(this.#backend)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#refuse(new OrielError('overloaded', 'The server is shutting down.', { retryAfter: 5 }))
    this.#loading?.abort()
    clearTimeout(this.#idle)
    await this.#backend?.close()
  }

  /** One load for all that wait. Never rejects. */
  async #load(): Promise<void> {
    if (this.#closed) return
    const loading = new AbortController()
    const { budget, start, log } = this.#rooms
    this.#loading = loading
    this.#share = 0
    this.#failure = undefined
    let admitted = false
    try {
      await budget.admit(this, loading.signal)
      admitted = true
      this.#starting = true
      const began = performance.now()
      let told = began
      log.info({ model: this.card.id, memory: sizeText(this.bytes) }, 'a model is being loaded')
      const backend = await start(this.card, {
        plan: this.#plan,
        signal: loading.signal,
        onProgress: (share) => {
          this.#share = share
          if (performance.now() - told < logPause) return
          told = performance.now()
          log.info({ model: this.card.id, progress: share }, 'a model is being loaded')
        },
      })
      log.info({ model: this.card.id, ms: Math.round(performance.now() - began) }, 'a model is loaded')
      this.#backend = backend
      this.#letIn(backend)
    } catch (error) {
      if (admitted) budget.release(this)
      if (!loading.signal.aborted) this.#fail(error)
    } finally {
      this.#starting = false
      this.#loading = undefined
    }
    if (this.#closed) await this.#backend?.close()
    // Somebody may have come while the load was being given up.
    else if (this.#backend === undefined && this.#waiting.size > 0) void this.#load()
    else if (this.#backend !== undefined) {
      this.#startIdle()
      budget.settle()
    }
  }

  #fail(error: unknown): void {
    const why = this.#whyFailed(error)
    this.#failure = { error: why, until: performance.now() + failurePause }
    this.#rooms.log.error({ model: this.card.id, error: String(error) }, 'a model could not be loaded')
    this.#refuse(why)
  }

  #whyFailed(error: unknown): OrielError {
    const known = error instanceof OrielError ? error : undefined
    const message = `The model ${this.card.id} could not be loaded: ${known?.message ?? 'the server met an error that it did not expect.'}`
    // What is wrong with the files stays wrong; a process that died may live the next time.
    return known === undefined || known.kind === 'internal'
      ? new OrielError('engine_failed', message, {
          code: 'model_not_loaded',
          retryAfter: failurePause / 1000,
          cause: error,
        })
      : new OrielError('precondition_failed', message, { code: 'model_not_loaded', cause: error })
  }

  #tooLong(patience: number): OrielError {
    const [time, { id }] = [`${patience / 1000} s`, this.card]
    const others = this.#rooms.budget.leaving.filter((tenant) => tenant instanceof Deployment)
    const message = this.#starting
      ? `The model ${id} is being loaded (${Math.floor(this.#share * 100)} %) and was not ready within ${time}. The load goes on: ask again.`
      : `The model ${id} found no room in memory within ${time}${others.length > 0 ? `: requests still run in ${others.map(({ card }) => card.id).join(', ')}` : ''}.`
    return new OrielError('overloaded', message, { code: 'model_loading', retryAfter })
  }

  #refuse(error: OrielError): void {
    for (const waiter of this.#waiting) waiter.reject(error)
    this.#waiting.clear()
  }

  /** All that wait are users from here on, so that nobody sends the model away before they have asked. */
  #letIn(backend: Backend): void {
    for (const waiter of this.#waiting) {
      this.#enter()
      waiter.resolve(backend)
    }
    this.#waiting.clear()
  }

  #enter(): void {
    this.users++
    this.usedAt = performance.now()
    clearTimeout(this.#idle)
  }

  #exitWith(signal: AbortSignal): void {
    const exit = (): void => {
      this.users--
      this.usedAt = performance.now()
      this.#startIdle()
      if (this.users === 0) this.#rooms.budget.settle()
    }
    if (signal.aborted) exit()
    else signal.addEventListener('abort', exit, { once: true })
  }

  #startIdle(): void {
    const { keepLoadedMs } = this.#rooms.config
    clearTimeout(this.#idle)
    if (keepLoadedMs === 0 || this.users > 0) return
    this.#idle = setTimeout(() => this.#rooms.budget.dismiss(this), keepLoadedMs).unref()
  }
}
