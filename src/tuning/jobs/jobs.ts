import { randomBytes } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { checkId, Keeper, keyOf, type Name, type ResourceStore } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { type JobsAround, neededAdapter, neededModel } from './around.ts'
import type { Happening } from './folder.ts'
import { JobQueue } from './queue.ts'
import { hasTurn, isActive, isWanted, type JobState, noProgress, type TuningJob, tuningJob } from './record.ts'
import { hyperparametersFor, type WantedJob } from './wanted.ts'

const kind = 'tuning-job'
const mostJobs = 1000
const mostActiveOfAccount = 50
/** Age at which files without a job are nobody's, in ms: those of a job that is made come first. */
const abandonedMs = 600_000
/** How often files that belong to no job are looked for, in ms. */
const sweepMs = 60_000

/** Jobs that train adapters. One runs at a time in a data folder, in a process of its own. */
export class Jobs {
  readonly #store: ResourceStore
  readonly #around: JobsAround
  readonly #keeper: Keeper<TuningJob>
  readonly #queue: JobQueue
  #sweeping: NodeJS.Timeout | undefined

  constructor(store: ResourceStore, around: JobsAround) {
    this.#store = store
    this.#around = around
    this.#keeper = new Keeper<TuningJob>(store, {
      ...{ kind, schema: tuningJob, noun: 'tuning job', most: mostJobs, log: around.log },
    })
    this.#queue = new JobQueue(this.#keeper, around)
  }

  /** Reads what is kept, and goes on with what ran when the last server ended. */
  async open(): Promise<void> {
    await this.#keeper.reload()
    if (!this.#around.runsAll) return
    this.#queue.wake()
    const failed = (cause: unknown) => this.#around.log.warn({ cause }, 'old jobs could not be removed')
    const sweep = () => void this.#sweep().catch(failed)
    void this.#clear().catch(failed)
    sweep()
    this.#sweeping = setInterval(sweep, sweepMs).unref()
  }

  /** The oldest first, as they are now. */
  async list(): Promise<TuningJob[]> {
    await this.#keeper.reload()
    return this.#keeper.list().map((job) => this.#queue.now(job))
  }

  /** @throws OrielError `not_found` */
  async find(name: Name): Promise<TuningJob> {
    await this.#keeper.reload()
    return this.#queue.now(this.#keeper.find(name))
  }

  /** What happened in a job, the first first. Empty for a job of another server. @throws OrielError `not_found` */
  async history(name: Name): Promise<AsyncIterable<Happening>> {
    return this.#queue.folderOf(await this.find(name)).happened()
  }

  /** The same, as lines of JSON. @throws OrielError `not_found` */
  async historyFile(name: Name): Promise<{ bytes: number; open(): Readable }> {
    return this.#queue.folderOf(await this.find(name)).historyFile()
  }

  /**
   * Makes a job, which waits for its turn.
   * @throws OrielError `invalid`, `not_found`, `conflict` and `precondition_failed`, which name what is at fault
   */
  async create(account: string, wanted: WantedJob): Promise<TuningJob> {
    const { id = newId(), dataset, evaluationDataset = null, warmStart } = wanted
    const around = this.#around
    checkId(id, 'job', 'supervisedFineTuningJobId')
    await this.#keeper.reload()
    this.#keeper.checkNew({ account, id })
    this.#refuseTooMany(account)
    const examples = await around.checkDataset(account, dataset)
    if (evaluationDataset !== null) await around.checkDataset(account, evaluationDataset)
    const warm = warmStart === undefined ? null : await neededAdapter(warmStart, around)
    const card = await neededModel(wanted, warm, around)
    const output = wanted.output ?? id
    this.#refuseTaken({ account, id, output })
    await around.checkOutput(account, output)
    const now = Date.now()
    const job: TuningJob = {
      ...{ account, id, created: now, updated: now, place: around.place },
      displayName: wanted.displayName ?? '',
      ...{ state: 'pending', error: null, dataset, evaluationDataset, carveOut: wanted.carveOut ?? true },
      ...{ base: card.id, warmStart: warm?.id ?? null, output },
      trainer: await around.trainerFor(card, wanted),
      hyperparameters: hyperparametersFor(wanted, { examples, card, warm }),
      metadata: { ...wanted.metadata },
      ...{ progress: noProgress, isTrained: false, stoppedEarly: false, started: null, finished: null },
    }
    around.memoryFor(card)
    const folder = this.#queue.folderOf(job)
    await folder.make()
    await this.#keeper.create(job, () => {
      // Another one may have been made or resumed meanwhile.
      this.#refuseTooMany(account)
      this.#refuseTaken(job)
    })
    try {
      await folder.note({ type: 'message', level: 'info', message: 'The job was created.' })
    } finally {
      this.#queue.add(job)
    }
    return job
  }

  /** Whether a job could train a model. */
  async canTrain(model: string): Promise<boolean> {
    const card = await this.#around.model(model).catch(() => undefined)
    if (card === undefined || card.embedding !== null) return false
    return this.#around.trainerFor(card, {}).then(
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

  /**
   * Lets a job go on that was paused or cancelled, or that failed, or whose process was killed.
   * @throws OrielError `not_found`; `precondition_failed`; `conflict` if something else has got the name of its adapter
   */
  async resume(name: Name): Promise<TuningJob> {
    const { place, state: found, isTrained, output } = await this.find(name)
    if (place !== this.#around.place) throw elsewhere(name.id)
    const isStopped = ['paused', 'cancelled', 'failed'].includes(found)
    // A process that was killed has left its job as it was.
    const isLeft = isActive({ state: found }) && !(await this.#queue.isBusy())
    if (!isStopped && !isLeft) throw notNow(name.id, found, 'resumed')
    // What is trained already is only taken into the library, which sees whether it has it.
    if (!isTrained) await this.#around.checkOutput(name.account, output)
    const job = await this.#keeper.change(name, (before) => {
      if (!before.isTrained) this.#refuseTaken(before)
      return before.state === found && !isWanted(before)
        ? { ...before, state: 'pending', error: null, finished: null }
        : before
    })
    try {
      await this.#queue.note(job, 'info', 'The job was resumed.')
    } finally {
      this.#queue.add(job)
    }
    return this.#queue.now(job)
  }

  /** Removes a job that is over or has not begun, with its checkpoint. Its adapter stays. @throws OrielError as `resume` does */
  async remove(name: Name): Promise<void> {
    const job = await this.find(name)
    if (hasTurn(job)) throw notNow(name.id, job.state, 'deleted')
    await this.#keeper.remove(name)
    // Its turn may begin just now.
    this.#queue.stop(name)
    if (job.place === this.#around.place) await this.#queue.folderOf(job).remove()
  }

  /** Stops what runs, which goes on with the next server. */
  async close(): Promise<void> {
    clearInterval(this.#sweeping)
    await this.#queue.close()
  }

  /** @throws OrielError `precondition_failed` */
  #refuseTooMany(account: string): void {
    const active = this.#keeper.list().filter((job) => job.account === account && isActive(job))
    if (active.length >= mostActiveOfAccount)
      throw new OrielError(
        'precondition_failed',
        `${mostActiveOfAccount} jobs of this account wait or run. There can be no more.`,
        { code: 'too_many_tuning_jobs' },
      )
  }

  /** @throws OrielError `conflict` if another job trains an adapter with this name, or will */
  #refuseTaken({ output, ...name }: Name & Pick<TuningJob, 'output'>): void {
    const other = this.#keeper
      .list()
      .find((job) => job.output === output && isActive(job) && keyOf(job) !== keyOf(name))
    if (other !== undefined) throw outputTaken(other)
  }

  async #stop(name: Name, onTheWay: JobState, over: JobState): Promise<TuningJob> {
    const { state } = await this.find(name)
    if (!isActive({ state })) throw notNow(name.id, state, onTheWay === 'pausing' ? 'paused' : 'cancelled')
    if (state === 'writing') throw notNow(name.id, state, 'stopped')
    const job = await this.#keeper.change(name, (before) => {
      if (before.state === 'pending') return { ...before, state: over, finished: Date.now() }
      return isActive(before) ? { ...before, state: onTheWay } : before
    })
    this.#queue.stop(name)
    return this.#queue.now(job)
  }

  /** Removes what completed jobs have left. */
  async #clear(): Promise<void> {
    for (const job of this.#keeper.list()) {
      const isDone = job.state === 'completed' || job.state === 'early_stopped'
      if (isDone && job.place === this.#around.place) await this.#queue.folderOf(job).clear()
    }
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
        if (!known.has(keyOf(name)) && Date.now() - mtimeMs > abandonedMs) await this.#queue.folderOf(name).remove()
      }
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

const outputTaken = ({ id, output }: TuningJob): OrielError =>
  new OrielError('conflict', `The job ${id} is training an adapter with the name ${output}.`, {
    param: 'outputModel',
    code: 'model_exists',
  })
