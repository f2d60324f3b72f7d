import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { orAborted } from '../abort.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Library } from './library.ts'
import { Pace } from './pace.ts'
import type { PullEvent } from './pull.ts'

/** What a pull is doing: it asks the hub, waits for another process that pulls the same, or pauses before it tries again. */
type PullStep = 'asking' | 'downloading' | 'checking' | 'waiting' | 'retrying'

/** A pull of a server, as far as it has come. */
export interface PullState {
  readonly id: string
  /** As it was asked for. */
  readonly model: string
  readonly repo: string
  readonly state: 'running' | 'done' | 'failed' | 'cancelled'
  /** null: it has ended. */
  readonly step: PullStep | null
  readonly files: readonly { readonly path: string; readonly bytes: number }[]
  /** The file that it is at. */
  readonly file: string | null
  /** Of all files, those that were here before included; 0 until the hub has told. */
  readonly bytes: { readonly done: number; readonly total: number }
  /** null: not known. */
  readonly bytesPerSecond: number | null
  /** Why it waits or tries again. */
  readonly note: string | null
  readonly error: OrielError | null
  /** The name of the model, when it is here. */
  readonly servedAs: string | null
  readonly started: Date
  readonly ended: Date | null
}

type Progress = { -readonly [Key in keyof PullState]: PullState[Key] }

interface Pull {
  /** Pulls of one source are one. */
  readonly source: string
  readonly progress: Progress
  readonly pace: Pace
  readonly stop: AbortController
  over: Promise<void>
}

/** Pulls at the same time, and ended ones that are remembered. */
const most = { running: 4, ended: 20 }
/** The least time between two reports, in ms. */
const reportEvery = 250

/** The pulls of a server. They go on whether or not somebody watches. */
export class Pulls {
  readonly #library: Pick<Library, 'onHub' | 'pull'>
  readonly #log: Logger
  /** The newest last. */
  readonly #pulls = new Map<string, Pull>()
  #changed: Deferred<void> = deferred()
  #version = 0

  constructor(library: Pick<Library, 'onHub' | 'pull'>, log: Logger) {
    this.#library = library
    this.#log = log
  }

  /**
   * Begins to pull a model from the hub, or joins the pull of it that is running.
   * @throws OrielError `invalid` or `not_found` for a name that is not on the hub; `overloaded` when too many are running
   */
  start(model: string, { anyway = false } = {}): PullState {
    const { repo, ...rest } = this.#library.onHub(model)
    const source = JSON.stringify([repo, rest])
    const running = [...this.#pulls.values()].filter(({ progress }) => progress.ended === null)
    const same = running.find((pull) => pull.source === source)
    if (same !== undefined) return stateOf(same)
    if (running.length >= most.running)
      throw new OrielError(
        'overloaded',
        `${most.running} models are being pulled. Wait for one of them, or cancel it.`,
        {
          code: 'too_many_pulls',
          retryAfter: 10,
        },
      )
    const pull: Pull = {
      source,
      progress: begun(model, repo),
      pace: new Pace(),
      stop: new AbortController(),
      over: Promise.resolve(),
    }
    this.#pulls.set(pull.progress.id, pull)
    pull.over = this.#run(pull, anyway)
    this.#change()
    return stateOf(pull)
  }

  /** The newest first: those that run, and the last ones that have ended. */
  list(): PullState[] {
    return [...this.#pulls.values()].map(stateOf).reverse()
  }

  /** The list now, and whenever it has changed. */
  async *live(signal: AbortSignal): AsyncIterable<PullState[]> {
    while (!signal.aborted) {
      const seen = this.#version
      yield this.list()
      try {
        await sleep(reportEvery, undefined, { signal })
        if (this.#version === seen) await orAborted(this.#changed.promise, signal)
      } catch {
        return
      }
    }
  }

  /**
   * Stops a pull that is running, and forgets one that has ended. What was downloaded stays, and another pull continues it.
   * @throws OrielError `not_found`
   */
  async cancel(id: string): Promise<PullState> {
    const pull = this.#pulls.get(id)
    if (pull === undefined)
      throw new OrielError('not_found', 'There is no such pull.', { param: 'pull', code: 'pull_not_found' })
    if (pull.progress.ended !== null) this.#pulls.delete(id)
    pull.stop.abort()
    await pull.over
    this.#change()
    return stateOf(pull)
  }

  async close(): Promise<void> {
    for (const { stop } of this.#pulls.values()) stop.abort()
    await Promise.all([...this.#pulls.values()].map(({ over }) => over))
  }

  /** Never rejects. */
  async #run(pull: Pull, anyway: boolean): Promise<void> {
    const { progress, stop } = pull
    const { model } = progress
    try {
      const onEvent = (event: PullEvent): void => {
        take(pull, event)
        this.#change()
      }
      const card = await this.#library.pull(model, { anyway, fromHub: true, signal: stop.signal, onEvent })
      Object.assign(progress, { state: 'done', servedAs: card.id })
      this.#log.info({ model: card.id, bytes: card.bytes }, 'a model was pulled')
    } catch (error) {
      const isCancelled = stop.signal.aborted
      if (!isCancelled) this.#log.error({ error: String(error) }, 'a model could not be pulled')
      Object.assign(progress, isCancelled ? { state: 'cancelled' } : { state: 'failed', error: shown(error) })
    }
    Object.assign(progress, { step: null, file: null, note: null, ended: new Date() })
    this.#forgetOld()
    this.#change()
  }

  #forgetOld(): void {
    const ended = [...this.#pulls.values()].filter(({ progress }) => progress.ended !== null)
    for (const { progress } of ended.slice(0, Math.max(0, ended.length - most.ended))) this.#pulls.delete(progress.id)
  }

  #change(): void {
    this.#version++
    this.#changed.resolve()
    this.#changed = deferred()
  }
}

const begun = (model: string, repo: string): Progress => ({
  ...{ id: `pull_${randomUUID()}`, model, repo, state: 'running', step: 'asking', files: [], file: null },
  ...{ bytes: { done: 0, total: 0 }, bytesPerSecond: null, note: null, error: null, servedAs: null },
  ...{ started: new Date(), ended: null },
})

function stateOf({ progress, pace }: Pull): PullState {
  const { step, bytes } = progress
  return { ...progress, bytesPerSecond: (step === 'downloading' ? pace.of(bytes.done) : undefined) ?? null }
}

function take({ progress, pace }: Pull, event: PullEvent): void {
  const { type } = event
  if (type === 'plan') {
    const total = event.files.reduce((sum, { bytes }) => sum + bytes, 0)
    const done = total - event.missing
    pace.add(done)
    Object.assign(progress, { step: 'downloading', files: event.files, bytes: { done, total } })
  } else if (type === 'bytes') {
    const { done, total, file } = event
    pace.add(done)
    Object.assign(progress, { step: 'downloading', file, bytes: { done, total }, note: null })
  } else if (type === 'retry') {
    const note = `${event.why}: next attempt in ${Math.ceil(event.seconds)} s.`
    Object.assign(progress, { step: 'retrying', note })
  } else if (type === 'wait') {
    const note = 'Another process pulls this file: waiting for it.'
    Object.assign(progress, { step: 'waiting', file: event.file, note })
  } else Object.assign(progress, { step: 'checking', file: event.file, note: null })
}

/** An error as others than the people at this machine may see it: without paths and the texts of libraries. */
function shown(error: unknown): OrielError {
  if (!(error instanceof OrielError))
    return new OrielError('internal', 'The server met an error that it did not expect.')
  const { kind, code } = error
  if (code !== 'unusable_folder') return error
  return new OrielError(kind, 'A file or folder of the models on this server cannot be used.', { code })
}
