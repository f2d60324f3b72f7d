import { onAbort, orAborted } from '../abort.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { cancelled, OrielError, shuttingDown } from '../errors.ts'
import type { ModelCard } from '../models/index.ts'
import { bytesText } from '../sizes.ts'
import type { Served } from './embedder.ts'
import { failurePauses, isBroken, replaced, whyNotLoaded } from './load-failure.ts'
import type { Resident } from './memory-budget.ts'
import type { MemoryPlan } from './memory-plan.ts'
import type { SharedServices } from './starter.ts'

export type ReplicaState = 'available' | 'loading' | 'loaded' | 'failed'

/** `Retry-After` for a client whose wait was too long, in seconds. */
const retryAfter = 10
/** Minimum time between log lines about a load, in ms. */
const logInterval = 1000

/** How long a replica stays in memory. */
export interface Keeping {
  /** How long it stays without users, in ms; 0: until other models need its memory. */
  readonly idleMs: number
  /** Whether it keeps its memory though other models need it. */
  isPinned(): boolean
  /** It was unloaded because it was idle or others needed its memory. */
  onEvicted(replica: Replica): void
}

/** An engine of a model, which is loaded when a request needs it, and evicted when other models need its memory. */
export class Replica implements Resident {
  readonly card: ModelCard
  readonly #plan: MemoryPlan
  readonly #services: SharedServices
  readonly #keeping: Keeping
  readonly #waiting = new Set<Deferred<Served>>()
  backend: Served | undefined
  /** Ends the load, or the wait for memory before it. */
  #loading: AbortController | undefined
  #starting = false
  /** The share that is loaded so far: 0 to 1. */
  progress = 0
  #failure: { error: OrielError; until: number } | undefined
  /** Why it takes no attachments, and whether it is to be loaded again for that. */
  #unopened: { error: OrielError; isDue: boolean } | undefined
  /** Loads that have failed one after the other. */
  #failures = 0
  #idle: NodeJS.Timeout | undefined
  #closed = false
  /** The client that has used it since it was loaded; null: several have. */
  #only: string | null | undefined
  /** Whether it is unloaded as soon as it has no users. */
  #leaving = false
  /** Whether it leaves for good: no request is given to it any more. */
  #isRetired = false
  /** A load that no request waits for. */
  #started: { over: AbortController; loaded: Promise<void> } | undefined
  /** Resolves when its memory is free; undefined: it is not being unloaded. */
  #unloading: Promise<void> | undefined
  #adapterBytes = 0
  users = 0
  usedAt = 0

  constructor(card: ModelCard, plan: MemoryPlan, services: SharedServices, keeping: Keeping) {
    this.card = card
    this.#plan = plan
    this.#services = services
    this.#keeping = keeping
  }

  /** Its adapters take memory while they are loaded. */
  get bytes(): number {
    return this.#plan.total + this.#adapterBytes
  }

  get evictable(): boolean {
    return this.backend !== undefined && !this.pinned
  }

  get pinned(): boolean {
    return !this.#isRetired && this.#keeping.isPinned()
  }

  /** Whether it answers at once. */
  get isReady(): boolean {
    return this.backend !== undefined && this.#services.budget.isOpen(this)
  }

  /** Requests that use it or wait for it. */
  get load(): number {
    return this.users + this.#waiting.size
  }

  /** Whether it is loaded or about to be. */
  get active(): boolean {
    return this.backend !== undefined || this.#loading !== undefined || this.#waiting.size > 0
  }

  get state(): ReplicaState {
    if (this.backend !== undefined) return 'loaded'
    if (this.#loading !== undefined) return 'loading'
    return this.#failure === undefined ? 'available' : 'failed'
  }

  get failure(): OrielError | undefined {
    return (this.#failure ?? this.#unopened)?.error
  }

  /**
   * The model, ready to answer. It stays loaded until the signal aborts.
   * @param timeoutMs how long to wait for it
   * @throws OrielError `overloaded` when the wait is too long, or why the model cannot be loaded
   */
  async use(signal: AbortSignal, timeoutMs: number): Promise<Served> {
    if (signal.aborted) throw cancelled()
    if (this.backend !== undefined && this.isReady) {
      this.#enter()
      onAbort(signal, () => this.#exit())
      return this.backend
    }
    if (this.#failure !== undefined && this.#failure.until > performance.now()) throw this.#failure.error
    const waiter = deferred<Served>()
    const timer = Number.isFinite(timeoutMs)
      ? setTimeout(() => waiter.reject(this.#tooLong(timeoutMs)), timeoutMs)
      : undefined
    this.#waiting.add(waiter)
    if (this.backend === undefined && this.#loading === undefined) void this.#load()
    try {
      const loaded = await orAborted(waiter.promise, signal)
      onAbort(signal, () => this.#exit())
      return loaded
    } catch (error) {
      if (this.#waiting.delete(waiter)) {
        if (this.#waiting.size === 0 && !this.#starting) this.#loading?.abort()
      } else {
        // It was admitted while its wait ended, and nothing else counts it out.
        await waiter.promise.then(
          () => this.#exit(),
          () => {},
        )
      }
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Loads it though no request waits for it. @returns when it is loaded. @throws OrielError why it cannot be */
  start(): Promise<void> {
    const over = new AbortController()
    this.#started ??= {
      over,
      loaded: this.use(over.signal, Number.POSITIVE_INFINITY)
        .then(() => {})
        .finally(() => {
          this.#started = undefined
          over.abort()
        }),
    }
    return this.#started.loaded
  }

  /** When it will be unloaded if no request uses it; null: only when other models need its memory. */
  get idleAt(): Date | null {
    const { idleMs } = this.#keeping
    if (idleMs === 0) return null
    const idle = this.users > 0 ? 0 : performance.now() - this.usedAt
    return new Date(Date.now() + idleMs - idle)
  }

  usedBy(client: string): void {
    this.#only = this.#only === undefined || this.#only === client ? client : null
  }

  /**
   * Unloads it when its last user leaves, unless others come meanwhile.
   * @param client who asks for it, which has no effect on a model that others have used: they would wait for it to load
   * again. undefined: whoever runs the server
   * @returns when its memory is free, if it has no users
   */
  async leave(client?: string): Promise<void> {
    if (client !== undefined && this.#only !== undefined && this.#only !== client) return
    if (client === undefined) this.#started?.over.abort()
    this.#leaving = true
    this.#unloadIdle()
    await this.#unloading
  }

  /** Unloads it when its last user leaves. No request may be given to it any more. @returns as `leave` does */
  retire(): Promise<void> {
    this.#isRetired = true
    return this.leave()
  }

  unload(): Promise<void> {
    this.#unloading = this.#free().finally(() => {
      this.#unloading = undefined
    })
    return this.#unloading
  }

  reopen(): void {
    if (this.backend !== undefined) this.#admitWaiting(this.backend)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#refuse(shuttingDown())
    this.#loading?.abort()
    clearTimeout(this.#idle)
    await this.backend?.close()
  }

  async #free(): Promise<void> {
    clearTimeout(this.#idle)
    await this.backend?.close()
    this.backend = undefined
    this.#unopened = undefined
    this.#only = undefined
    this.#services.log.info({ model: this.card.id }, 'a model was unloaded')
    if (this.#waiting.size > 0) void this.#load()
    else if (!this.#isRetired) this.#keeping.onEvicted(this)
  }

  /** One load for all waiting requests. Never rejects. */
  async #load(): Promise<void> {
    if (this.#closed) return
    const loading = new AbortController()
    const { budget, start, reread, log } = this.#services
    this.#loading = loading
    this.progress = 0
    this.#failure = undefined
    this.#unopened = undefined
    this.#adapterBytes = 0
    let admitted = false
    try {
      await budget.admit(this, loading.signal)
      admitted = true
      this.#starting = true
      const began = performance.now()
      let logged = began
      log.info({ model: this.card.id, memory: bytesText(this.bytes) }, 'a model is loading')
      const backend = await start(this.card, {
        plan: this.#plan,
        signal: loading.signal,
        isCurrent: async () => (await reread(this.card)).version === this.card.version,
        onLost: (error) => this.#lose(error),
        onOpened: () => {
          this.#unopened = undefined
        },
        onAdapters: (bytes) => {
          const isMore = bytes > this.#adapterBytes
          this.#adapterBytes = bytes
          if (isMore) budget.grow(this)
        },
        onUnopened: (error) => this.#cannotOpen(error),
        onProgress: (share) => {
          this.progress = share
          if (performance.now() - logged < logInterval) return
          logged = performance.now()
          log.info({ model: this.card.id, progress: share }, 'a model is loading')
        },
      })
      log.info({ model: this.card.id, ms: Math.round(performance.now() - began) }, 'a model is loaded')
      this.backend = backend
      this.#failures = 0
      this.#admitWaiting(backend)
    } catch (error) {
      if (admitted) budget.release(this)
      if (!loading.signal.aborted) this.#fail(error)
    } finally {
      this.#starting = false
      this.#loading = undefined
    }
    if (this.#closed) await this.backend?.close()
    // A request may have arrived while the load was being given up.
    else if (this.backend === undefined && this.#waiting.size > 0) void this.#load()
    else if (this.backend !== undefined) {
      this.#startIdle()
      budget.settle()
      this.#unloadIdle()
    }
  }

  #fail(error: unknown): OrielError {
    const { first, last } = failurePauses
    const pause = isBroken(error) ? last : Math.min(last, first * 2 ** this.#failures++)
    const reason = whyNotLoaded(this.card, error, pause)
    this.#failure = { error: reason, until: performance.now() + pause }
    this.#services.log.error({ model: this.card.id, error: String(error) }, 'a model could not be loaded')
    this.#refuse(reason)
    return reason
  }

  /**
   * It goes on with texts. What the encoders lacked, such as memory, may be there when it is loaded again: it leaves when it is
   * idle. Files stay as they are.
   */
  #cannotOpen(cause: OrielError): void {
    const error = new OrielError('internal', `The model ${this.card.id} takes only texts now. ${cause.message}`, {
      cause,
    })
    const unopened = { error, isDue: false }
    this.#unopened = unopened
    if (isBroken(cause)) return
    const retry = (): void => {
      unopened.isDue = true
      this.#unloadIdle()
    }
    setTimeout(retry, failurePauses.last).unref()
  }

  /** Its backend has ended by itself. */
  #lose(error: unknown): OrielError {
    this.backend = undefined
    this.#unopened = undefined
    clearTimeout(this.#idle)
    const reason = error === undefined ? replaced(this.card) : this.#fail(error)
    this.#refuse(reason)
    this.#services.budget.release(this)
    return reason
  }

  #tooLong(timeoutMs: number): OrielError {
    const [time, { id }] = [`${timeoutMs / 1000} s`, this.card]
    const others = this.#services.budget.leaving.filter((resident) => resident instanceof Replica)
    const message = this.#starting
      ? `The model ${id} is still loading (${Math.floor(this.progress * 100)} %) after ${time}. The load continues: send the request again.`
      : `The model ${id} waited ${time} for memory${others.length > 0 ? ` while requests ran in ${others.map(({ card }) => card.id).join(', ')}` : ''}.`
    return new OrielError('overloaded', message, { code: 'model_loading', retryAfter })
  }

  #refuse(error: OrielError): void {
    for (const waiter of this.#waiting) waiter.reject(error)
    this.#waiting.clear()
  }

  /** Waiting requests become users at once, so that the model is not evicted before they use it. */
  #admitWaiting(backend: Served): void {
    for (const waiter of this.#waiting) {
      this.#enter()
      waiter.resolve(backend)
    }
    this.#waiting.clear()
  }

  #enter(): void {
    this.users++
    this.usedAt = performance.now()
    this.#leaving = false
    clearTimeout(this.#idle)
  }

  #exit(): void {
    this.users--
    this.usedAt = performance.now()
    this.#startIdle()
    if (this.users === 0) this.#services.budget.settle()
    this.#unloadIdle()
  }

  #unloadIdle(): void {
    const leaves = this.#leaving || this.#isRetired || this.#unopened?.isDue === true
    if (leaves && this.users === 0 && this.backend !== undefined) this.#services.budget.evict(this)
  }

  #startIdle(): void {
    const { idleMs } = this.#keeping
    clearTimeout(this.#idle)
    if (idleMs === 0 || this.users > 0) return
    this.#idle = setTimeout(() => {
      // Since then somebody may have configured a deployment of it.
      if (this.#keeping.idleMs > 0) this.#services.budget.evict(this)
    }, idleMs).unref()
  }
}
