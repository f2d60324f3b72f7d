import type { Readable } from 'node:stream'
import { Keeper, type Name, type ResourceStore } from '../../deployments/index.ts'
import { OrielError, shuttingDown } from '../../errors.ts'
import { Costs } from '../../fairness.ts'
import type { Logger } from '../../log.ts'
import { Semaphore } from '../../semaphore.ts'
import { bytesText } from '../../sizes.ts'
import { examplesIn, type NumberedExample } from './check.ts'
import type { ExampleLimits } from './example.ts'
import type { WrittenFolder } from './job-folder.ts'
import { type Dataset, datasetRecord, newDataset, type WantedDataset } from './record.ts'
import { problemsText } from './report.ts'
import { DatasetStorage, type Source } from './storage.ts'
import { work } from './work.ts'

export interface DatasetsOptions {
  /** Where their files are. */
  readonly folder: string
  readonly store: ResourceStore
  /** Of one account. */
  readonly quota: { readonly datasets: number; readonly bytes: number }
  readonly limits: ExampleLimits
  readonly log: Logger
}

/** A file that is to come. */
export interface ExpectedFile {
  readonly name: string
  /** null: nobody knows. */
  readonly bytes: number | null
}

/** What becomes of a dataset in the folder of a job. */
export interface FolderOptions {
  readonly folder: string
  /** The dataset for the evaluation. */
  readonly evaluation?: Dataset | undefined
  /** Whether examples are kept from the training for it, if there is no such dataset. */
  readonly carveOut: boolean
  readonly seed: number
  readonly signal: AbortSignal
  /** Is told how many examples were written. */
  onProgress?(examples: number): void
}

/** Of all accounts together. */
const mostDatasets = 5000
/** Datasets that are read at the same time, each in a process of its own. */
const mostRead = 2
/** Time after which the store is read again for what other servers have changed, in ms. */
const freshMs = 1000
const sweepMs = 60_000
/** Bytes of a file that arrives after which the other datasets of its account are counted again. */
const quotaStep = 4e6

/** The datasets of all accounts: records in a store, and files on the disk. */
export class Datasets {
  readonly #options: DatasetsOptions
  readonly #keeper: Keeper<Dataset>
  readonly #storage: DatasetStorage
  readonly #costs = new Costs()
  /** A large file is read for minutes: one account leaves place for others. */
  readonly #reading = new Semaphore({ capacity: mostRead, mostOfOne: 1 }, this.#costs)
  /** By uid: the account, and how many bytes have come. */
  readonly #arriving = new Map<string, { readonly account: string; bytes: number; isDropped: boolean }>()
  /** By uid: what comes of the check, and what ends it. */
  readonly #checking = new Map<string, { readonly checked: Promise<Dataset>; readonly stop: AbortController }>()
  /** By uid: how many jobs read it. */
  readonly #readers = new Map<string, number>()
  readonly #closing = new AbortController()
  readonly #sweeping: NodeJS.Timeout
  #readAt = Number.NEGATIVE_INFINITY

  /** Opens what the store has, and goes on with what a killed server has left. @throws OrielError as the store does */
  static async open(options: DatasetsOptions): Promise<Datasets> {
    const datasets = new Datasets(options)
    await datasets.#refresh()
    for (const dataset of datasets.#keeper.list())
      if (dataset.state === 'checking' && (await datasets.#storage.bytesOf(dataset.uid)) !== undefined)
        // Its owner reads what comes of it.
        datasets.finish(dataset).catch(() => {})
    return datasets
  }

  private constructor(options: DatasetsOptions) {
    this.#options = options
    this.#keeper = new Keeper<Dataset>(options.store, {
      ...{ kind: 'dataset', schema: datasetRecord, noun: 'dataset', most: mostDatasets, log: options.log },
    })
    this.#storage = new DatasetStorage(options.folder)
    this.#sweeping = setInterval(() => void this.#sweep(), sweepMs).unref()
  }

  /** Those of all accounts, the oldest first. */
  async list(): Promise<Dataset[]> {
    await this.#refresh()
    return this.#keeper.list()
  }

  /** @param uid if the id may be another dataset's by now @throws OrielError `not_found` */
  async find(account: string, id: string, uid?: string): Promise<Dataset> {
    await this.#refresh()
    const found = this.#keeper.find({ account, id })
    if (uid !== undefined && found.uid !== uid) throw gone(id)
    return found
  }

  /** The dataset that ever had this uid. */
  async withUid(uid: string): Promise<Dataset | undefined> {
    return (await this.list()).find((one) => one.uid === uid)
  }

  /** @param dryRun only checks @throws OrielError `invalid`, `conflict`; `precondition_failed` if there are too many */
  async create(account: string, wanted: WantedDataset, { dryRun = false } = {}): Promise<Dataset> {
    const dataset = newDataset(account, wanted)
    await this.#refresh()
    this.#keeper.checkNew(dataset)
    const [own, most] = [this.#of(account).length, this.#options.quota.datasets]
    if (own >= most)
      throw new OrielError(
        'precondition_failed',
        `This account has ${own} datasets; ${most} are allowed. Delete some.`,
        {
          code: 'too_many_datasets',
        },
      )
    if (!dryRun) await this.#keeper.create(dataset)
    return dataset
  }

  /** Creates a dataset of a file that comes now. Nothing of it stays if the file cannot be used. @throws OrielError as `create`, `receive` and `finish` do */
  async add(account: string, wanted: WantedDataset, file: ExpectedFile, source: Source): Promise<Dataset> {
    const dataset = await this.create(account, wanted)
    try {
      return await this.finish(await this.receive(dataset, file, source))
    } catch (error) {
      // Somebody may have deleted it meanwhile.
      if (!this.#closing.signal.aborted) await this.remove(dataset).catch(() => {})
      throw error
    }
  }

  /** @throws OrielError `not_found` */
  rename(dataset: Name, displayName: string): Promise<Dataset> {
    return this.#keeper.change(dataset, (before) => ({ ...before, displayName }))
  }

  /** Says which file will come. @throws OrielError `precondition_failed` without space for it; `conflict` if one is here */
  async announce(dataset: Dataset, { name, bytes }: { name: string; bytes: number }): Promise<Dataset> {
    this.#refuseComplete(this.#keeper.find(dataset))
    this.#quotaFor(dataset)(bytes)
    await this.#storage.checkSpace(bytes)
    return this.#keeper.change(dataset, (before) => ({ ...before, expected: { name, bytes } }))
  }

  /**
   * Receives the file of a dataset, in the place of one that cannot be used.
   * @throws OrielError `conflict` while it arrives or is checked, and if it is complete; `invalid` for another number of bytes;
   * `precondition_failed` if the disk is full or the account has too much; as `source` does
   */
  async receive(dataset: Dataset, expected: ExpectedFile, source: Source): Promise<Dataset> {
    const { account, id, uid } = dataset
    this.#refuseComplete(this.#known(dataset))
    if (this.#arriving.has(uid)) throw conflict(`The file of ${id} is being sent already.`)
    const arriving = { account, bytes: 0, isDropped: false }
    this.#arriving.set(uid, arriving)
    try {
      const checkQuota = this.#quotaFor(dataset)
      checkQuota(expected.bytes ?? 0)
      const bytes = await this.#storage.receive(uid, source, (received) => {
        if (arriving.isDropped) throw gone(id)
        if (received > (expected.bytes ?? Number.POSITIVE_INFINITY))
          throw wrongSize(expected, `more than ${expected.bytes}`)
        arriving.bytes = received
        checkQuota(received)
      })
      if (expected.bytes !== null && bytes < expected.bytes) throw wrongSize(expected, `${bytes}`)
      if (arriving.isDropped) throw gone(id)
      const file = { name: expected.name, bytes }
      return await this.#change(dataset, (before) => ({
        ...before,
        ...{ file, expected: null, state: 'uploaded', report: null, problems: [], invalid: 0 },
      }))
    } catch (error) {
      if (arriving.isDropped) await this.#storage.remove(uid)
      throw error
    } finally {
      this.#arriving.delete(uid)
    }
  }

  /**
   * Looks at all lines of the file that came. The dataset is `ready` then.
   * @returns it, also if it was before
   * @throws OrielError `invalid` that names the first lines which cannot be used; `precondition_failed` if there is no file
   */
  finish(dataset: Dataset): Promise<Dataset> {
    const { uid } = dataset
    const running = this.#checking.get(uid)
    if (running !== undefined) return running.checked
    const stop = new AbortController()
    const checked = this.#finish(dataset, stop.signal).finally(() => this.#checking.delete(uid))
    this.#checking.set(uid, { checked, stop })
    return checked
  }

  /** Deletes a dataset, and ends what checks it. @throws OrielError `not_found`; `conflict` while a job reads it */
  async remove(dataset: Dataset): Promise<void> {
    const { id, uid } = this.#known(dataset)
    if ((this.#readers.get(uid) ?? 0) > 0) throw conflict(`A job that begins is reading ${id}. Try again later.`)
    const arriving = this.#arriving.get(uid)
    if (arriving !== undefined) arriving.isDropped = true
    await this.#keeper.remove(dataset)
    // The next file of its account waits for it.
    this.#checking.get(uid)?.stop.abort()
    await this.#storage.remove(uid)
  }

  /** The file of a dataset as it came. @throws OrielError `precondition_failed` if it is not here */
  async file(dataset: Dataset): Promise<{ name: string; bytes: number; open(): Readable }> {
    const { uid, file } = dataset
    const bytes = await this.#needFile(dataset)
    return { name: file?.name ?? `${dataset.id}.jsonl`, bytes, open: () => this.#storage.read(uid) }
  }

  /** Its examples, one after the other. A line may take a tenth of a second: this is not for the process of a server. */
  async *examples(dataset: Dataset): AsyncGenerator<NumberedExample> {
    await this.#needFile(dataset)
    yield* examplesIn(this.#storage.pathOf(dataset.uid), this.#options.limits)
  }

  /**
   * Writes the folder of a job from a dataset that is `ready`, in a process of its own.
   * @throws OrielError `precondition_failed` if one is not, or the disk is full; `cancelled`
   */
  async writeJobFolder(dataset: Dataset, options: FolderOptions): Promise<WrittenFolder> {
    const { folder, evaluation, carveOut, seed, onProgress } = options
    const signal = AbortSignal.any([options.signal, this.#closing.signal])
    const all = [dataset, ...(evaluation === undefined ? [] : [evaluation])]
    const letGo = all.map((one) => this.#hold(one))
    try {
      const examples = readyExamples(dataset)
      let bytes = 0
      for (const one of all) {
        readyExamples(one)
        bytes += await this.#needFile(one)
      }
      await this.#storage.checkSpace(bytes)
      const release = await this.#read(dataset.account, signal)
      try {
        return await work(
          {
            ...{ type: 'folder', folder, examples, limits: this.#options.limits },
            file: this.#storage.pathOf(dataset.uid),
            evaluation: evaluation === undefined ? null : this.#storage.pathOf(evaluation.uid),
            carveOut: carveOut && evaluation === undefined ? { examples: evaluationExamples(examples), seed } : null,
          },
          { signal, ...(onProgress !== undefined && { onProgress }) },
        )
      } finally {
        release()
      }
    } finally {
      for (const one of letGo) one()
    }
  }

  /** Ends what runs. */
  close(): void {
    clearInterval(this.#sweeping)
    this.#closing.abort(shuttingDown())
  }

  /** @param deleted aborts when the dataset is deleted */
  async #finish(given: Dataset, deleted: AbortSignal): Promise<Dataset> {
    const dataset = this.#known(given)
    const { id, uid, state, file, account } = dataset
    if (state === 'ready') return dataset
    if (file === null || this.#arriving.has(uid))
      throw new OrielError('precondition_failed', `The file of the dataset ${id} is not here.`, {
        code: 'upload_incomplete',
      })
    await this.#needFile(dataset)
    await this.#change(dataset, (before) => ({ ...before, state: 'checking' }))
    const [signal, { limits }] = [AbortSignal.any([this.#closing.signal, deleted]), this.#options]
    try {
      const release = await this.#read(account, signal)
      const looked = work({ type: 'check', file: this.#storage.pathOf(uid), limits }, { signal }).finally(release)
      const { report, problems, invalid } = await looked
      const isRight = problems.length === 0
      const done = await this.#change(dataset, (before) => ({
        ...before,
        ...{ report, problems, invalid, state: isRight ? 'ready' : 'invalid' },
      }))
      if (!isRight) throw invalidDataset(done)
      return done
    } catch (error) {
      // A server that ends leaves it as it is: the next one goes on.
      if (this.#closing.signal.aborted) throw shuttingDown()
      if (deleted.aborted) throw gone(id)
      if (!(error instanceof OrielError && error.code === 'invalid_dataset'))
        await this.#keeper.note(dataset, (before) => (before.uid === uid ? { ...before, state: 'uploaded' } : before))
      throw error
    }
  }

  /** Waits until a file of the account may be read. @returns to be called when it was */
  async #read(account: string, signal: AbortSignal): Promise<() => void> {
    const release = await this.#reading.acquire(account, 1, signal)
    const charge = this.#costs.run(account)
    return () => {
      charge()
      release()
    }
  }

  async #refresh(): Promise<void> {
    if (performance.now() - this.#readAt < freshMs) return
    await this.#keeper.reload()
    this.#readAt = performance.now()
  }

  async #sweep(): Promise<void> {
    try {
      await this.#keeper.reload()
      const known = new Set(this.#keeper.list().map(({ uid }) => uid))
      await this.#storage.sweep((uid) => known.has(uid))
    } catch (cause) {
      this.#options.log.warn({ cause }, 'old datasets could not be removed')
    }
  }

  #of(account: string): Dataset[] {
    return this.#keeper.list().filter((one) => one.account === account)
  }

  /** The dataset as it is now. @throws OrielError `not_found` also if another one has its id */
  #known(dataset: Dataset): Dataset {
    const now = this.#keeper.find(dataset)
    if (now.uid !== dataset.uid) throw gone(dataset.id)
    return now
  }

  /** As `Keeper.change`. @throws OrielError `not_found` also if another one has its id */
  #change(dataset: Dataset, change: (before: Dataset) => Dataset): Promise<Dataset> {
    return this.#keeper.change(dataset, (before) => {
      if (before.uid !== dataset.uid) throw gone(dataset.id)
      return change(before)
    })
  }

  /** @throws OrielError `conflict` */
  #refuseComplete({ id, state, uid }: Dataset): void {
    if (state === 'ready') throw conflict(`The dataset ${id} is complete. Create another one, or delete it first.`)
    if (this.#checking.has(uid)) throw conflict(`The file of ${id} is being checked.`)
  }

  /**
   * What an account may have beside its other datasets.
   * @returns a function that throws an OrielError `precondition_failed` for more bytes than that
   */
  #quotaFor({ account, uid }: Dataset): (bytes: number) => void {
    const most = this.#options.quota.bytes
    let [others, countAgainAt] = [0, 0]
    return (bytes) => {
      if (bytes >= countAgainAt) {
        countAgainAt = bytes + quotaStep
        others = 0
        for (const one of this.#of(account))
          if (one.uid !== uid)
            others += Math.max(
              ...[one.file?.bytes ?? 0, one.expected?.bytes ?? 0, this.#arriving.get(one.uid)?.bytes ?? 0],
            )
      }
      if (others + bytes <= most) return
      throw new OrielError(
        'precondition_failed',
        `The datasets of this account would have ${bytesText(others + bytes)}; ${bytesText(most)} are allowed. Delete some.`,
        { code: 'dataset_quota' },
      )
    }
  }

  /** @returns its bytes @throws OrielError `precondition_failed` */
  async #needFile({ id, uid, file }: Dataset): Promise<number> {
    const bytes = file === null ? undefined : await this.#storage.bytesOf(uid)
    if (bytes !== undefined) return bytes
    throw new OrielError('precondition_failed', `The file of the dataset ${id} is not on this server.`, {
      code: 'dataset_file_missing',
    })
  }

  #hold({ uid }: Dataset): () => void {
    const count = (change: number): void => void this.#readers.set(uid, (this.#readers.get(uid) ?? 0) + change)
    count(1)
    return () => {
      count(-1)
      if (this.#readers.get(uid) === 0) this.#readers.delete(uid)
    }
  }
}

/** How many of so many examples are kept from the training for the evaluation. */
const evaluationExamples = (examples: number): number => Math.min(500, Math.max(1, Math.round(examples / 10)))

/** How many examples a dataset has. @throws OrielError `precondition_failed` for one that cannot be trained with */
export function readyExamples({ id, state, report }: Dataset): number {
  if (state === 'ready' && report !== null) return report.examples
  throw new OrielError('precondition_failed', `The dataset ${id} is not ready: it is ${state}.`, {
    param: 'dataset',
    code: 'dataset_not_ready',
  })
}

const invalidDataset = (dataset: Dataset): OrielError =>
  new OrielError('invalid', `The dataset ${dataset.id} cannot be used. ${problemsText(dataset)}`, {
    code: 'invalid_dataset',
  })

const conflict = (message: string): OrielError => new OrielError('conflict', message, { code: 'dataset_in_use' })

const gone = (id: string): OrielError =>
  new OrielError('not_found', `The dataset ${id} was deleted.`, { code: 'dataset_not_found' })

const wrongSize = ({ name, bytes }: ExpectedFile, found: string): OrielError =>
  new OrielError('invalid', `${name} was announced with ${bytes} bytes; found ${found}.`, { code: 'wrong_size' })
