import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { ModelCard } from '../models/index.ts'
import { bytesText } from '../sizes.ts'
import type { Deployment, ReplicaCounts } from './deployment.ts'
import { keyOf, type ResourceStore } from './kept.ts'
import { between, checkBounds, type DeploymentRecord, usualWanted, type Wanted } from './record.ts'
import { noDeployment, Registry } from './registry.ts'

/** A deployment that is configured, and what became of it here. */
export interface DeploymentStatus {
  readonly record: DeploymentRecord
  /**
   * `creating`: no replica has been ready yet. `ready`: there are as many as there should be, which may be none.
   * `updating`: it is on the way there. `deleting`: it answers its last requests.
   */
  readonly state: 'creating' | 'ready' | 'updating' | 'failed' | 'deleting' | 'deleted'
  /** Why it has failed, or why a replica has. */
  readonly error: string | null
  readonly replicas: ReplicaCounts
}

/** The deployments that somebody has configured, of all accounts. They are kept in a store, and outlive this process. */
export interface Configured {
  /** Reads them from the store, and begins to hold to them. */
  open(store: ResourceStore): Promise<void>
  /** With those that are deleted, the oldest first. */
  list(): DeploymentStatus[]
  /** @throws OrielError `not_found` */
  show(account: string, id: string): DeploymentStatus
  /**
   * @param model a name of a model
   * @returns the new one, or the one that it would be
   * @throws OrielError `invalid` for its id or its bounds; `conflict` if there is one; `not_found` for the model;
   * `precondition_failed` if the replicas that it must have do not fit beside those of others
   */
  create(account: string, given: NewDeployment, options?: { validateOnly?: boolean }): Promise<DeploymentStatus>
  /** @throws OrielError `not_found`, and as `create` does */
  change(account: string, id: string, change: Partial<Wanted>): Promise<DeploymentStatus>
  /** Has so many replicas from now on, until its load asks for others. @throws OrielError `not_found`; `invalid` beyond its bounds */
  scale(account: string, id: string, replicas: number): Promise<DeploymentStatus>
  /**
   * Deletes it. It can be restored for a while, unless it is purged.
   * @param options.force also while requests use it, which are answered to their end
   * @throws OrielError `not_found`; `precondition_failed` while requests use it
   */
  remove(account: string, id: string, options?: { purge?: boolean; force?: boolean }): Promise<void>
  /** Restores a deleted one. @throws OrielError `not_found`; `precondition_failed` as `create` does */
  restore(account: string, id: string): Promise<DeploymentStatus>
}

export interface NewDeployment extends Partial<Wanted> {
  /** undefined: one is made up. */
  id?: string | undefined
  model: string
}

interface ConfiguredOptions {
  find(model: string): Promise<ModelCard>
  make(card: ModelCard, record: DeploymentRecord): Deployment
  /** Bytes that a replica of a model takes. */
  bytesOf(card: ModelCard): number
  /** Bytes that all models together may take. */
  budget: number
  /** Called when what other servers have changed was read. */
  onReload(): Promise<void>
  /** Forgets what belongs to a deployment: it is about to be, or another one has its name now. */
  forget(record: DeploymentRecord): Promise<void>
  /** Sequences that an engine of a model runs at once. */
  sequencesOf(card: ModelCard): number
  log: Logger
}

const tickMs = 1000
/** Servers with the same store see the changes of others after so many ticks. */
const ticksToReload = 5

const nothing: ReplicaCounts = { ready: 0, loading: 0, pending: 0, leaving: 0 }

export class ConfiguredDeployments implements Configured {
  readonly #options: ConfiguredOptions
  readonly #running = new Map<string, { deployment: Deployment; appliedAt: number }>()
  /** Why the model of a deployment cannot be found. */
  readonly #faults = new Map<string, OrielError>()
  #registry: Registry | undefined
  #timer: NodeJS.Timeout | undefined
  #ticks = 0
  #isTicking = false
  #isClosed = false

  constructor(options: ConfiguredOptions) {
    this.#options = options
  }

  async open(store: ResourceStore): Promise<void> {
    this.#registry ??= new Registry(store, this.#options.log)
    await this.#reload()
    if (this.#isClosed) return
    this.#timer ??= setInterval(() => void this.#tick(), tickMs).unref()
    await this.#tick()
  }

  list(): DeploymentStatus[] {
    return (this.#registry?.list() ?? []).map((record) => this.#statusOf(record))
  }

  show(account: string, id: string): DeploymentStatus {
    return this.#statusOf(this.#opened.find(account, id))
  }

  async create(
    account: string,
    { id, model, ...given }: NewDeployment,
    { validateOnly = false } = {},
  ): Promise<DeploymentStatus> {
    const card = await this.#options.find(model)
    const wanted = { ...usualWanted, maxReplicas: Math.max(1, given.minReplicas ?? 0), ...given }
    const draft = this.#opened.draft(account, id, card.id, wanted)
    await this.#checkMemory(draft, card)
    if (validateOnly) return this.#statusOf(draft)
    await this.#opened.create(draft)
    // Another server may have put an adapter on the last one of this name while it was deleted here.
    await this.#options.forget(draft)
    return this.#hold(draft)
  }

  async change(account: string, id: string, change: Partial<Wanted>): Promise<DeploymentStatus> {
    const changed = (before: DeploymentRecord): DeploymentRecord => {
      if (before.deleted !== null) throw noDeployment(id)
      const wanted = { ...before, ...change }
      checkBounds(wanted)
      return { ...wanted, replicas: between(before.replicas, wanted) }
    }
    await this.#checkMemory(changed(this.#opened.find(account, id)))
    return this.#hold(await this.#opened.change({ account, id }, changed))
  }

  async scale(account: string, id: string, replicas: number): Promise<DeploymentStatus> {
    const scaled = (before: DeploymentRecord): DeploymentRecord => {
      if (before.deleted !== null) throw noDeployment(id)
      if (between(replicas, before) !== replicas) throw beyond(before, replicas)
      return { ...before, replicas }
    }
    return this.#hold(await this.#opened.change({ account, id }, scaled))
  }

  async remove(account: string, id: string, { purge = false, force = false } = {}): Promise<void> {
    const { record } = this.show(account, id)
    const users = this.#running.get(placeOf(record))?.deployment.users ?? 0
    if (record.deleted === null && users > 0 && !force) throw inUse(id, users)
    if (purge) {
      await this.#options.forget(record)
      await this.#opened.purge(record)
    } else if (record.deleted === null)
      await this.#opened.change(record, (before) => ({ ...before, replicas: 0, deleted: Date.now() }))
    this.#retire(placeOf(record))
  }

  async restore(account: string, id: string): Promise<DeploymentStatus> {
    const restored = (before: DeploymentRecord): DeploymentRecord => ({
      ...before,
      replicas: between(Math.max(1, before.replicas), before),
      deleted: null,
    })
    const { record } = this.show(account, id)
    if (record.deleted === null) return this.#statusOf(record)
    await this.#checkMemory(restored(record))
    return this.#hold(await this.#opened.change(record, restored))
  }

  /**
   * Those that requests may mean, the oldest first.
   * @param visible whether who asks may use the deployments of an account
   */
  records(visible: (account: string) => boolean): DeploymentRecord[] {
    return (this.#registry?.list() ?? []).filter(({ account, deleted }) => deleted === null && visible(account))
  }

  /** @throws OrielError `not_found`, or what is wrong with the files of its model */
  async deployed(record: DeploymentRecord): Promise<Deployment> {
    const key = placeOf(record)
    const before = this.#running.get(key)?.deployment
    if (before?.active) return before
    const card = await this.#options.find(record.model)
    // Others may have looked it up meanwhile.
    const running = this.#running.get(key)?.deployment
    // A file that has changed is another model with the same name.
    if (running !== undefined && (running.active || running.card.version === card.version)) return running
    const deployment = this.#options.make(card, record)
    this.#running.set(key, { deployment, appliedAt: record.updated })
    return deployment
  }

  /** undefined while it has no replicas, and has had none. */
  runningOf(record: DeploymentRecord): Deployment | undefined {
    return this.#running.get(placeOf(record))?.deployment
  }

  get deployments(): Deployment[] {
    return [...this.#running.values()].map(({ deployment }) => deployment)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    await Promise.all(this.deployments.map((one) => one.close()))
  }

  get #opened(): Registry {
    if (this.#registry === undefined) throw new Error('the deployments are not open')
    return this.#registry
  }

  #reload(): Promise<void> {
    return this.#opened.reload((record) => this.#options.forget(record))
  }

  async #tick(): Promise<void> {
    if (this.#isTicking) return
    this.#isTicking = true
    try {
      if (++this.#ticks % ticksToReload === 0) {
        await this.#reload()
        await this.#options.onReload()
      }
      for (const record of this.#opened.list()) if (record.deleted === null) await this.#hold(record)
      const live = new Set(this.records(() => true).map(placeOf))
      for (const key of this.#running.keys()) if (!live.has(key)) this.#retire(key)
    } catch (error) {
      this.#options.log.error({ error: String(error) }, 'the deployments could not be read')
    } finally {
      this.#isTicking = false
    }
  }

  /** Holds a deployment to its record, and keeps what its load has led to. */
  async #hold(record: DeploymentRecord): Promise<DeploymentStatus> {
    const key = placeOf(record)
    try {
      const known = this.#running.get(key)?.deployment
      // Without replicas nothing depends on the files of its model.
      const deployment = known !== undefined && record.replicas === 0 ? known : await this.deployed(record)
      // No engine may start behind the others that are closed, nor for a record that somebody has changed meanwhile.
      if (this.#isClosed || !this.#opened.isCurrent(record)) return this.#statusOf(record)
      const running = this.#running.get(key)
      if (running !== undefined && running.appliedAt !== record.updated) {
        running.appliedAt = record.updated
        deployment.configure(record)
      }
      this.#faults.delete(key)
      const replicas = deployment.tick(this.#targetOf(record, deployment.card))
      // While the store is cut off, the next tick tries it again.
      await this.#opened.note(record, replicas).catch(() => {})
    } catch (error) {
      if (!(error instanceof OrielError)) throw error
      this.#faults.set(key, error)
    }
    return this.#statusOf(record)
  }

  #targetOf({ loadTarget: { kind, value } }: Wanted, card: ModelCard): number {
    return kind === 'requests' ? value : value * this.#options.sequencesOf(card)
  }

  #retire(key: string): void {
    const running = this.#running.get(key)
    this.#faults.delete(key)
    if (running === undefined) return
    // What is restored is configured anew.
    running.appliedAt = 0
    void running.deployment.retire()
    if (!running.deployment.active) this.#running.delete(key)
  }

  #statusOf(record: DeploymentRecord): DeploymentStatus {
    const key = placeOf(record)
    const deployment = this.#running.get(key)?.deployment
    const replicas = deployment?.counts ?? { ...nothing, pending: record.deleted === null ? record.replicas : 0 }
    const error = this.#faults.get(key) ?? deployment?.failure
    const current = { ...record, replicas: record.deleted === null ? (deployment?.desired ?? record.replicas) : 0 }
    return {
      record: current,
      state: stateOf(current, replicas, deployment, error),
      error: error?.message ?? null,
      replicas,
    }
  }

  /** @throws OrielError `precondition_failed` if the replicas that deployments must have would not fit together */
  async #checkMemory(wanted: DeploymentRecord, card?: ModelCard): Promise<void> {
    if (wanted.minReplicas === 0) return
    let [own, others] = [0, 0]
    for (const record of [...this.records(() => true).filter((one) => keyOf(one) !== keyOf(wanted)), wanted]) {
      if (record.minReplicas === 0) continue
      const isOwn = record === wanted
      const found = isOwn
        ? (card ?? (await this.#options.find(record.model)))
        : await this.#options.find(record.model).catch(() => undefined)
      const bytes = found === undefined ? 0 : record.minReplicas * this.#options.bytesOf(found)
      if (isOwn) own = bytes
      else others += bytes
    }
    const { budget } = this.#options
    if (own + others > budget) throw doNotFit(wanted, own, others, budget)
  }
}

/** Where a deployment runs. One that was deleted may still stop while another of its name, of another model, starts. */
const placeOf = (record: DeploymentRecord): string => `${keyOf(record)} ${record.model}`

function stateOf(
  { deleted, replicas: desired }: DeploymentRecord,
  { ready, leaving }: ReplicaCounts,
  deployment: Deployment | undefined,
  error: OrielError | undefined,
): DeploymentStatus['state'] {
  if (deleted !== null) return leaving > 0 ? 'deleting' : 'deleted'
  if (error !== undefined && ready === 0) return 'failed'
  if (ready === desired) return 'ready'
  return ready === 0 && !deployment?.hasServed ? 'creating' : 'updating'
}

const beyond = ({ id, minReplicas, maxReplicas }: DeploymentRecord, replicas: number): OrielError =>
  new OrielError(
    'invalid',
    `The deployment ${id} may have ${minReplicas} to ${maxReplicas} replicas, by its minReplicaCount and maxReplicaCount; found ${replicas}.`,
    { param: 'replicaCount', code: 'bad_replica_count' },
  )

const inUse = (id: string, users: number): OrielError =>
  new OrielError(
    'precondition_failed',
    `The deployment ${id} answers ${users === 1 ? 'a request' : `${users} requests`} now. With ignoreChecks it is deleted when they are answered.`,
    { code: 'deployment_in_use' },
  )

const doNotFit = ({ minReplicas, model }: DeploymentRecord, own: number, others: number, budget: number): OrielError =>
  new OrielError(
    'precondition_failed',
    `${minReplicas === 1 ? `A replica of ${model} takes` : `${minReplicas} replicas of ${model} take`} ${bytesText(own)} of memory at all times${others > 0 ? `, and other deployments ${bytesText(others)}` : ''}. Models may take ${bytesText(budget)}.`,
    { param: 'minReplicaCount', code: 'memory_pinned' },
  )
