import { randomBytes } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Deployments, Keeper, keyOf, type Name, type ResourceStore } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { withLock } from '../../lock.ts'
import type { Logger } from '../../log.ts'
import type { AdapterCard, ModelCard } from '../../models/index.ts'
import type { TrainingConfig } from '../contract.ts'
import type { ExternalTrainer } from '../external/external.ts'
import { type Happening, JobFolder } from './folder.ts'
import { outputOf } from './output.ts'
import { hasTurn, isActive, type JobProgress, type JobState, noProgress, type TuningJob, tuningJob } from './record.ts'
import { takeTurn } from './turn.ts'
import { checkJobId, hyperparametersFor, type WantedJob } from './wanted.ts'

const kind = 'tuning-job'
const mostJobs = 1000
const mostActiveOfAccount = 50
/** How often a running job is kept, and looked for a wish of somebody to stop it, in ms. */
const keepMs = 2000
/** Age at which files without a job are nobody's, in ms: those of a job that is made come first. */
const abandonedMs = 600_000

/** What jobs need of the rest. */
export interface JobsAround {
  /** The folder of all jobs. */
  readonly folder: string
  /** Names the data folder among those of servers with the same database. */
  readonly place: string
  /** Whether jobs of other processes that have ended are gone on with, or only those that are made here. */
  readonly runsAll: boolean
  readonly memory: Deployments['memory']
  readonly threads: number
  /** How the server reads images. */
  readonly reading: TrainingConfig['reading']
  /** The model of a name; undefined: there is none. @throws OrielError why it cannot be used */
  model(name: string): Promise<ModelCard | undefined>
  adapter(name: string): Promise<AdapterCard | undefined>
  /** @throws OrielError `conflict` if there is something of this name; `invalid` for the name; `precondition_failed` at a limit */
  checkOutput(account: string, name: string): Promise<void>
  /** Makes an adapter of the library of the one in a folder, once. */
  publish(job: TuningJob, folder: string): Promise<void>
  /** Copies an adapter in the format of PEFT. @throws OrielError `precondition_failed` if it is in another */
  copyAdapter(name: string, folder: string): Promise<void>
  /** @returns how many examples it has @throws OrielError `not_found`, or `precondition_failed` if it is not ready */
  checkDataset(account: string, id: string): Promise<number>
  /** Writes the examples of a job into its folder. */
  writeExamples(job: TuningJob, folder: string, onProgress: (share: number) => void, signal: AbortSignal): Promise<void>
  /** Bytes that training takes at most. @throws OrielError `precondition_failed` if there can never be as much */
  memoryFor(card: ModelCard): number
  /** Chooses the trainer. @throws OrielError `precondition_failed` if there is none for the model */
  trainerFor(card: ModelCard, wanted: TuningJob['trainer'] | undefined): Promise<TuningJob['trainer']>
  readonly external: ExternalTrainer
  readonly log: Logger
}

/** Jobs that train adapters. One runs at a time in a data folder, in a process of its own. */
export class Jobs {
  readonly #store: ResourceStore
  readonly #around: JobsAround
  readonly #keeper: Keeper<TuningJob>
  /** What is known of running jobs and not yet kept. */
  readonly #live = new Map<string, JobProgress>()
  /** Stops the turn of a job. */
  readonly #stops = new Map<string, AbortController>()
  /** Those that were made or resumed here. */
  readonly #own = new Set<string>()
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined

  constructor(store: ResourceStore, around: JobsAround) {
    this.#store = store
    this.#around = around
    this.#keeper = new Keeper<TuningJob>(store, {
      ...{ kind, schema: tuningJob, noun: 'tuning job', most: mostJobs, log: around.log },
    })
  }

  /** Reads what is kept, and goes on with what ran when the last server ended. */
  async open(): Promise<void> {
    await this.#keeper.reload()
    if (!this.#around.runsAll) return
    this.#wake()
    void this.#sweep().catch((cause: unknown) => this.#around.log.warn({ cause }, 'old jobs could not be removed'))
  }

  /** The oldest first, as they are now. */
  async list(): Promise<TuningJob[]> {
    await this.#keeper.reload()
    return this.#keeper.list().map((job) => this.#now(job))
  }

  /** @throws OrielError `not_found` */
  async find(name: Name): Promise<TuningJob> {
    await this.#keeper.reload()
    return this.#now(this.#keeper.find(name))
  }

  /** What happened in a job, the first first. Empty for a job of another server. @throws OrielError `not_found` */
  async history(name: Name): Promise<AsyncIterable<Happening>> {
    return this.#folderOf(await this.find(name)).happened()
  }

  /** The same, as lines of JSON. @throws OrielError `not_found` */
  async historyFile(name: Name): Promise<{ bytes: number; open(): Readable }> {
    return this.#folderOf(await this.find(name)).historyFile()
  }

  /**
   * Makes a job, which waits for its turn.
   * @throws OrielError `invalid`, `not_found`, `conflict` and `precondition_failed`, which name what is at fault
   */
  async create(account: string, wanted: WantedJob): Promise<TuningJob> {
    const { id = newId(), dataset, evaluationDataset = null, warmStart } = wanted
    const around = this.#around
    checkJobId(id)
    await this.#keeper.reload()
    this.#keeper.checkNew({ account, id })
    const active = this.#keeper.list().filter(isActive)
    if (active.filter((job) => job.account === account).length >= mostActiveOfAccount)
      throw new OrielError(
        'precondition_failed',
        `${mostActiveOfAccount} jobs of this account wait or run. There can be no more.`,
        { code: 'too_many_tuning_jobs' },
      )
    const examples = await around.checkDataset(account, dataset)
    if (evaluationDataset !== null) await around.checkDataset(account, evaluationDataset)
    const warm = warmStart === undefined ? null : await this.#adapterOf(warmStart)
    const card = await this.#baseOf(wanted, warm)
    const output = wanted.output ?? id
    if (active.some((job) => job.output === output)) throw outputTaken(output)
    await around.checkOutput(account, output)
    const now = Date.now()
    const job: TuningJob = {
      ...{ account, id, created: now, updated: now, place: around.place },
      displayName: wanted.displayName ?? '',
      ...{ state: 'pending', error: null, dataset, evaluationDataset, carveOut: wanted.carveOut ?? true },
      ...{ base: card.id, warmStart: warm?.id ?? null, output },
      trainer: await around.trainerFor(card, wanted.trainer),
      hyperparameters: hyperparametersFor(wanted, { examples, card, warm }),
      metadata: { ...wanted.metadata },
      ...{ progress: noProgress, isTrained: false, stoppedEarly: false, started: null, finished: null },
    }
    around.memoryFor(card)
    const folder = this.#folderOf(job)
    await folder.make()
    await this.#keeper.create(job)
    await folder.note({ type: 'message', level: 'info', message: 'The job was created.' })
    this.#own.add(keyOf(job))
    this.#wake()
    return job
  }

  /** Whether a job could train a model. */
  async canTrain(model: string): Promise<boolean> {
    const card = await this.#around.model(model).catch(() => undefined)
    if (card === undefined || card.embedding !== null) return false
    return this.#around.trainerFor(card, undefined).then(
      () => true,
      () => false,
    )
  }

  /** Ends a job. It can be resumed. @throws OrielError `not_found`; `precondition_failed` if it is over */
  cancel(name: Name): Promise<TuningJob> {
    return this.#stop(name, 'cancelling', 'cancelled')
  }

  /** Stops a job, which keeps a checkpoint. @throws OrielError as `cancel` does */
  pause(name: Name): Promise<TuningJob> {
    return this.#stop(name, 'pausing', 'paused')
  }

  /** Lets a job go on that was paused or cancelled, or that failed. @throws OrielError `not_found`; `precondition_failed` */
  async resume(name: Name): Promise<TuningJob> {
    const { place, state: found } = await this.find(name)
    if (place !== this.#around.place) throw elsewhere(name.id)
    if (!['paused', 'cancelled', 'failed'].includes(found)) throw notNow(name.id, found, 'resumed')
    const job = await this.#keeper.change(name, (before) =>
      before.state === found ? { ...before, state: 'pending', error: null, finished: null } : before,
    )
    await this.#note(job, 'info', 'The job was resumed.')
    this.#own.add(keyOf(job))
    this.#wake()
    return this.#now(job)
  }

  /** Removes a job that is over or has not begun, with its checkpoint. Its adapter stays. @throws OrielError as `resume` does */
  async remove(name: Name): Promise<void> {
    const job = await this.find(name)
    if (hasTurn(job)) throw notNow(name.id, job.state, 'deleted')
    await this.#keeper.remove(name)
    if (job.place === this.#around.place) await this.#folderOf(job).remove()
  }

  /** Stops what runs, which goes on with the next server. */
  async close(): Promise<void> {
    this.#closing.abort()
    for (const stop of this.#stops.values()) stop.abort()
    await this.#running
  }

  #now(job: TuningJob): TuningJob {
    const progress = this.#live.get(keyOf(job))
    return progress === undefined ? job : { ...job, progress }
  }

  #folderOf(name: Name): JobFolder {
    return new JobFolder(path.join(this.#around.folder, 'jobs'), name)
  }

  async #adapterOf(name: string): Promise<AdapterCard> {
    const found = await this.#around.adapter(name)
    if (found !== undefined) return found
    throw new OrielError('not_found', `The adapter ${JSON.stringify(name.slice(0, 200))} was not found.`, {
      param: 'warmStartFrom',
      code: 'model_not_found',
    })
  }

  async #baseOf({ base }: WantedJob, warm: AdapterCard | null): Promise<ModelCard> {
    if ((base === undefined) === (warm === null))
      throw new OrielError('invalid', 'A job needs either baseModel or warmStartFrom.', {
        param: 'baseModel',
        code: 'invalid_value',
      })
    const name = base ?? warm?.base ?? warm?.fits[0] ?? ''
    const card = await this.#around.model(name)
    if (card === undefined)
      throw new OrielError('not_found', `The model ${JSON.stringify(name.slice(0, 200))} is not on this server.`, {
        param: 'baseModel',
        code: 'model_not_found',
      })
    if (card.embedding !== null)
      throw new OrielError('invalid', `${card.id} embeds texts. Models that answer can be trained.`, {
        param: 'baseModel',
        code: 'invalid_value',
      })
    return card
  }

  async #stop(name: Name, onTheWay: JobState, over: JobState): Promise<TuningJob> {
    const { state } = await this.find(name)
    if (!isActive({ state })) throw notNow(name.id, state, onTheWay === 'pausing' ? 'paused' : 'cancelled')
    if (state === 'writing') throw notNow(name.id, state, 'stopped')
    const job = await this.#keeper.change(name, (before) => {
      if (before.state === 'pending') return { ...before, state: over, finished: Date.now() }
      return isActive(before) ? { ...before, state: onTheWay } : before
    })
    this.#stops.get(keyOf(name))?.abort()
    return this.#now(job)
  }

  async #note(job: TuningJob, level: 'info' | 'warn' | 'error', message: string): Promise<void> {
    await this.#folderOf(job).note({ type: 'message', level, message })
  }

  /** Begins to take turns, if nobody does. */
  #wake(): void {
    if (this.#closing.signal.aborted || this.#running !== undefined) return
    const { folder, log } = this.#around
    const { signal } = this.#closing
    const work = () =>
      withLock(
        path.join(folder, 'running.lock'),
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
        if (this.#next() !== undefined) this.#wake()
      })
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
    if (job.state === 'pausing' || job.state === 'cancelling') stop.abort()
    try {
      const isTrained = job.isTrained || (await this.#train(job, stop.signal))
      if (isTrained) await this.#publish(job)
      else await this.#stopped(job)
    } catch (cause) {
      const error = cause instanceof OrielError && cause.kind !== 'internal' ? cause : unexpected(cause)
      if (!(cause instanceof OrielError)) log.error({ cause, job: job.id }, 'a job of training failed')
      await this.#fail(job, error).catch(async (again: unknown) => {
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
    const folder = this.#folderOf(job)
    const card = await this.#baseOf({ dataset: job.dataset, base: job.base }, null)
    const began = job.started === null ? 'The job has begun.' : 'The job goes on.'
    await this.#keeper.change(job, (before) => ({ ...before, started: before.started ?? Date.now() }))
    await folder.make()
    await this.#note(job, 'info', began)
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

  async #warmStartOf({ warmStart }: TuningJob, folder: JobFolder): Promise<string | null> {
    if (warmStart === null) return null
    const copy = path.join(folder.path, 'warm-start')
    await this.#around.copyAdapter(warmStart, copy)
    return copy
  }

  async #publish(job: TuningJob): Promise<void> {
    const folder = this.#folderOf(job)
    await this.#become(job, 'writing')
    const output = await outputOf(folder)
    if (output === undefined)
      throw new OrielError('engine_failed', 'What was trained is not there any more.', { code: 'no_adapter' })
    await this.#around.publish(job, output)
    await this.#keeper.change(job, (before) => ({
      ...before,
      state: before.stoppedEarly ? 'early_stopped' : 'completed',
      ...{ error: null, finished: Date.now() },
    }))
    await this.#note(job, 'info', `The adapter ${job.output} answers.`)
    await folder.clear()
  }

  /** Removes the files of jobs whose account was erased. */
  async #sweep(): Promise<void> {
    const folder = path.join(this.#around.folder, 'jobs')
    // Those that this version cannot read, too.
    const known = new Set((await this.#store.list(kind)).map(keyOf))
    for (const encoded of await readdir(folder).catch((): string[] => []))
      for (const id of await readdir(path.join(folder, encoded)).catch((): string[] => [])) {
        const name = { account: decodeURIComponent(encoded), id }
        const { mtimeMs } = await stat(path.join(folder, encoded, id))
        if (!known.has(keyOf(name)) && Date.now() - mtimeMs > abandonedMs) await this.#folderOf(name).remove()
      }
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
    await this.#note(job, 'info', `The job was ${what}.`)
  }

  async #fail(job: TuningJob, { message, code = 'training_failed' }: OrielError): Promise<void> {
    const progress = this.#live.get(keyOf(job))
    await this.#keeper.change(job, (before) => ({
      ...before,
      ...(progress !== undefined && { progress }),
      ...{ state: 'failed', error: { code, message }, finished: Date.now() },
    }))
    await this.#note(job, 'error', message)
  }

  #progress(job: TuningJob, change: Partial<JobProgress>): void {
    this.#live.set(keyOf(job), { ...(this.#live.get(keyOf(job)) ?? job.progress), ...change })
  }

  /** Another state, unless somebody wants it to stop. */
  async #become(job: TuningJob, state: JobState): Promise<void> {
    const progress = this.#live.get(keyOf(job)) ?? job.progress
    await this.#keeper.change(job, (before) => ({
      ...before,
      progress,
      state: before.state === 'pausing' || before.state === 'cancelling' ? before.state : state,
    }))
  }

  /** Keeps the progress, and stops a job that somebody stopped by another server. */
  async #keep(job: TuningJob, stop: AbortController): Promise<void> {
    await this.#keeper.reload()
    const { state } = this.#keeper.find(job)
    if (state === 'pausing' || state === 'cancelling') stop.abort()
    const progress = this.#live.get(keyOf(job))
    if (progress !== undefined) await this.#keeper.note(job, (before) => ({ ...before, progress }))
  }
}

/** As OpenAI's are called, whose clients know it by this. */
const newId = (): string => `ftjob-${randomBytes(9).toString('hex')}`

const words: Partial<Record<JobState, string>> = { writing: 'has been trained', early_stopped: 'is completed' }

const notNow = (id: string, state: JobState, what: string): OrielError =>
  new OrielError(
    'precondition_failed',
    `The job ${id} ${words[state] ?? `is ${state}`}, and cannot be ${what}.${what === 'deleted' ? ' Cancel it first.' : ''}`,
    { code: 'wrong_job_state' },
  )

const elsewhere = (id: string): OrielError =>
  new OrielError('precondition_failed', `The files of the job ${id} are on another server. Ask that one.`, {
    code: 'job_elsewhere',
  })

const outputTaken = (name: string): OrielError =>
  new OrielError('conflict', `A job is training an adapter with the name ${name}.`, {
    param: 'outputModel',
    code: 'model_exists',
  })

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
