import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Keeper, keyOf, type Name } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { isHeld, withLock } from '../../lock.ts'
import { type JobsAround, neededModel } from './around.ts'
import { JobFolder } from './folder.ts'
import { outputOf } from './output.ts'
import { hasTurn, isActive, isWanted, type JobProgress, type JobState, type TuningJob } from './record.ts'
import { takeTurn } from './turn.ts'

/** How often a running job is kept, and looked for a wish of somebody to stop it, in ms. */
const keepMs = 2000

/** Lets jobs train, one at a time in a data folder. */
export class JobQueue {
  readonly #keeper: Keeper<TuningJob>
  readonly #around: JobsAround
  /** What is known of running jobs and not yet kept. */
  readonly #live = new Map<string, JobProgress>()
  /** Stops the turn of a job. */
  readonly #stops = new Map<string, AbortController>()
  /** Those that were made or resumed here. */
  readonly #own = new Set<string>()
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined

  constructor(keeper: Keeper<TuningJob>, around: JobsAround) {
    this.#keeper = keeper
    this.#around = around
  }

  /** Lets a job wait for its turn here. */
  add(job: TuningJob): void {
    this.#own.add(keyOf(job))
    this.wake()
  }

  /** Stops the turn of a job, if it has one here. */
  stop(name: Name): void {
    this.#stops.get(keyOf(name))?.abort()
  }

  /** A job as it is now. */
  now(job: TuningJob): TuningJob {
    const progress = this.#live.get(keyOf(job))
    return progress === undefined ? job : { ...job, progress }
  }

  /** Whether a process lets jobs of this data folder train. */
  isBusy(): Promise<boolean> {
    return isHeld(this.#lock)
  }

  folderOf(name: Name): JobFolder {
    return new JobFolder(path.join(this.#around.folder, 'jobs'), name)
  }

  async note(job: TuningJob, level: 'info' | 'warn' | 'error', message: string): Promise<void> {
    await this.folderOf(job).note({ type: 'message', level, message })
  }

  /** Stops what runs, which goes on with the next server. */
  async close(): Promise<void> {
    this.#closing.abort()
    for (const stop of this.#stops.values()) stop.abort()
    await this.#running
  }

  /** Begins to take turns, if nobody does. */
  wake(): void {
    if (this.#closing.signal.aborted || this.#running !== undefined) return
    const { log } = this.#around
    const { signal } = this.#closing
    const work = () =>
      withLock(
        this.#lock,
        signal,
        () => {},
        () => this.#takeTurns(),
      )
    this.#running = work()
      .catch(async (cause: unknown) => {
        if (signal.aborted) return
        log.error({ cause }, 'jobs of training cannot be run')
        await sleep(keepMs, undefined, { signal }).catch(() => {})
      })
      .finally(() => {
        this.#running = undefined
        // One may have been made while the last turn ended.
        if (this.#next() !== undefined) this.wake()
      })
  }

  get #lock(): string {
    return path.join(this.#around.folder, 'running.lock')
  }

  /** Those that were running come first: their server was killed. */
  #next(): TuningJob | undefined {
    const { place, runsAll } = this.#around
    const waiting = this.#keeper
      .list()
      .filter((job) => isActive(job) && job.place === place && (runsAll || this.#own.has(keyOf(job))))
    return waiting.find(hasTurn) ?? waiting[0]
  }

  async #takeTurns(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      await this.#keeper.reload()
      const job = this.#next()
      if (job === undefined) return
      await this.#turn(job)
    }
  }

  async #turn(job: TuningJob): Promise<void> {
    const [key, { log }] = [keyOf(job), this.#around]
    const stop = new AbortController()
    if (this.#closing.signal.aborted) stop.abort()
    this.#stops.set(key, stop)
    this.#live.set(key, job.progress)
    const looking = setInterval(() => void this.#keep(job, stop).catch(() => {}), keepMs)
    if (!isWanted(job)) stop.abort()
    try {
      const isTrained = job.isTrained || (await this.#train(job, stop.signal))
      if (isTrained) await this.#publish(job)
      else await this.#stopped(job)
    } catch (cause) {
      const isTold = cause instanceof OrielError && cause.kind !== 'internal'
      if (!isTold) log.error({ cause, job: job.id }, 'a job of training failed')
      await this.#fail(job, isTold ? cause : unexpected(cause)).catch(async (again: unknown) => {
        log.error({ cause: again, job: job.id }, 'the state of a job of training cannot be kept')
        await sleep(keepMs)
      })
    } finally {
      clearInterval(looking)
      this.#stops.delete(key)
      this.#live.delete(key)
    }
  }

  /** @returns whether it has been trained, and was not stopped */
  async #train(job: TuningJob, signal: AbortSignal): Promise<boolean> {
    const around = this.#around
    const folder = this.folderOf(job)
    const card = await neededModel(job, null, around)
    const began = job.started === null ? 'The job has begun.' : 'The job goes on.'
    await this.#keeper.change(job, (before) => ({ ...before, started: before.started ?? Date.now() }))
    await folder.make()
    await this.note(job, 'info', began)
    let state: JobState | undefined
    const outcome = await takeTurn(
      job,
      {
        ...{ folder, card, memory: around.memory, threads: around.threads, reading: around.reading },
        memoryBytes: around.memoryFor(card),
        warmStart: await this.#warmStartOf(job, folder),
        writeExamples: (signal) =>
          around.writeExamples(job, folder.path, (prepared) => this.#progress(job, { prepared: prepared / 2 }), signal),
        external: job.trainer === 'external' ? around.external : null,
        onState: (next) => {
          if (next !== state) void this.#become(job, next).catch(() => {})
          state = next
        },
        onProgress: (change) => this.#progress(job, change),
      },
      signal,
    )
    if (outcome.type === 'stopped') return false
    await this.#keeper.change(job, (before) => ({
      ...before,
      progress: this.#live.get(keyOf(job)) ?? before.progress,
      ...{ isTrained: true, stoppedEarly: outcome.stoppedEarly },
    }))
    return true
  }

  /** Copies the adapter once: a job that was stopped goes on though the adapter was removed meanwhile. */
  async #warmStartOf({ warmStart }: TuningJob, folder: JobFolder): Promise<string | null> {
    if (warmStart === null) return null
    const copy = path.join(folder.path, 'warm-start')
    if (existsSync(copy)) return copy
    const unfinished = `${copy}.new`
    await rm(unfinished, { recursive: true, force: true })
    await this.#around.copyAdapter(warmStart, unfinished)
    await rename(unfinished, copy)
    return copy
  }

  async #publish(job: TuningJob): Promise<void> {
    const folder = this.folderOf(job)
    await this.#become(job, 'writing')
    const output = await outputOf(folder)
    if (output === undefined)
      throw new OrielError('engine_failed', 'What was trained is not there any more.', { code: 'no_adapter' })
    await this.#around.publish(job, output)
    const warn = (cause: unknown): void =>
      this.#around.log.warn({ cause, job: job.id }, 'the folder of a job that is completed cannot be changed')
    await this.note(job, 'info', `The adapter ${job.output} answers.`).catch(warn)
    await this.#keeper.change(job, (before) => ({
      ...before,
      state: before.stoppedEarly ? 'early_stopped' : 'completed',
      ...{ error: null, finished: Date.now() },
    }))
    await folder.clear().catch(warn)
  }

  /** Somebody wanted it, or the server ends: then it goes on with the next one. */
  async #stopped(job: TuningJob): Promise<void> {
    const over = { pausing: 'paused', cancelling: 'cancelled' } as const
    const stopped = await this.#keeper.change(job, (before) => {
      const progress = this.#live.get(keyOf(job)) ?? before.progress
      const state = before.state === 'pausing' || before.state === 'cancelling' ? over[before.state] : undefined
      return { ...before, progress, ...(state !== undefined && { state, finished: Date.now() }) }
    })
    const what =
      stopped.state === 'cancelled'
        ? 'cancelled'
        : stopped.state === 'paused'
          ? 'paused'
          : 'stopped by the end of the server'
    await this.note(job, 'info', `The job was ${what}.`)
  }

  async #fail(job: TuningJob, { message, code = 'training_failed' }: OrielError): Promise<void> {
    const progress = this.#live.get(keyOf(job))
    const failed = await this.#keeper.change(job, (before) =>
      // Another one may have its name.
      before.created !== job.created
        ? before
        : {
            ...before,
            ...(progress !== undefined && { progress }),
            ...{ state: 'failed', error: { code, message }, finished: Date.now() },
          },
    )
    if (failed.created === job.created) await this.note(job, 'error', message)
  }

  #progress(job: TuningJob, change: Partial<JobProgress>): void {
    this.#live.set(keyOf(job), { ...(this.#live.get(keyOf(job)) ?? job.progress), ...change })
  }

  /** Another state, unless somebody wants it to stop, or has stopped it as its turn began. */
  async #become(job: TuningJob, state: JobState): Promise<void> {
    const progress = this.#live.get(keyOf(job)) ?? job.progress
    await this.#keeper.change(job, (before) => ({
      ...before,
      progress,
      state: isWanted(before) ? state : before.state,
    }))
  }

  /** Keeps the progress, and stops a job that somebody stopped or removed by another server. */
  async #keep(job: TuningJob, stop: AbortController): Promise<void> {
    await this.#keeper.reload()
    const known = this.#keeper.known(job)
    if (known === undefined || !isWanted(known)) stop.abort()
    const progress = this.#live.get(keyOf(job))
    if (progress !== undefined) await this.#keeper.note(job, (before) => ({ ...before, progress }))
  }
}

/** What a client reads of an error of the system. */
function unexpected(cause: unknown): OrielError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new OrielError('precondition_failed', 'The disk of the server is full.', { code: 'no_space', cause })
  return new OrielError('internal', 'The job failed for a reason that is in the log of the server.', {
    code: 'internal',
    cause,
  })
}
