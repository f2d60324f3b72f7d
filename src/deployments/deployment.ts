import { OrielError } from '../errors.ts'
import type { AdapterCard, ModelCard } from '../models/index.ts'
import { Autoscaler } from './autoscaler.ts'
import { embeds, type Served } from './embedder.ts'
import type { MemoryPlan } from './memory-plan.ts'
import type { DeploymentRecord, Wanted } from './record.ts'
import { type Keeping, Replica, type ReplicaState } from './replica.ts'
import { noTraces, Router, type Traces } from './routing.ts'
import type { SharedServices } from './starter.ts'

/** The replicas of a deployment by what they do. */
export interface ReplicaCounts {
  ready: number
  loading: number
  /** Those that wait for memory, or for their next attempt. */
  pending: number
  /** No longer wanted, with requests that they answer first. */
  leaving: number
}

/**
 * A model that answers by its replicas. One that nobody has configured has one replica, which is loaded when a request needs
 * it. One that is configured has as many as its load asks for, within its bounds.
 */
export class Deployment {
  readonly card: ModelCard
  readonly #plan: MemoryPlan
  readonly #services: SharedServices
  readonly #router = new Router<Replica>()
  readonly #autoscaler = new Autoscaler()
  /** undefined: nobody has configured it. */
  #wanted: (Wanted & Pick<DeploymentRecord, 'id'>) | undefined
  #isRetired = false
  #isClosed = false
  #replicas: Replica[] = []
  #retired: Replica[] = []
  #usedAt = performance.now()
  #hasServed = false

  /** @param record of one that is configured */
  constructor(card: ModelCard, plan: MemoryPlan, services: SharedServices, record?: DeploymentRecord) {
    this.card = card
    this.#plan = plan
    this.#services = services
    if (record === undefined) void this.#scale(1)
    else this.configure(record)
  }

  /** Bytes of memory: what its replicas take, or what the first one would. */
  get bytes(): number {
    return Math.max(1, this.#present.filter(({ active }) => active).length) * this.#plan.total
  }

  /** Whether a replica is loaded or about to be. */
  get active(): boolean {
    return this.#present.some(({ active }) => active)
  }

  get state(): ReplicaState {
    const states = this.#present.map(({ state }) => state)
    return (['loaded', 'loading', 'failed'] as const).find((state) => states.includes(state)) ?? 'available'
  }

  get failure(): OrielError | undefined {
    return this.#replicas.find(({ failure }) => failure !== undefined)?.failure
  }

  /** The share that is loaded, 0 to 1, of the replica that is first. */
  get progress(): number {
    return Math.max(0, ...this.#replicas.map(({ progress }) => progress))
  }

  /** Those that are ready. */
  get backends(): Served[] {
    return this.#present.flatMap(({ backend }) => backend ?? [])
  }

  get users(): number {
    return this.#present.reduce((sum, { users }) => sum + users, 0)
  }

  get usedAt(): number {
    return Math.max(0, ...this.#present.map(({ usedAt }) => usedAt))
  }

  /** When it will be unloaded if no request uses it; null: only when other models need its memory. */
  get idleAt(): Date | null {
    return this.#replicas[0]?.idleAt ?? null
  }

  get counts(): ReplicaCounts {
    const ready = this.#replicas.filter(({ backend }) => backend !== undefined).length
    const loading = this.#replicas.filter(({ state }) => state === 'loading').length
    const leaving = this.#stillLeaving().length
    return { ready, loading, pending: this.#replicas.length - ready - loading, leaving }
  }

  /** How many replicas it should have. */
  get desired(): number {
    return this.#replicas.length
  }

  /** Whether a replica has been loaded. */
  get hasServed(): boolean {
    return this.#hasServed || this.backends.length > 0
  }

  /** Whether a request is answered at once. */
  get isReady(): boolean {
    return this.#replicas.some(({ isReady }) => isReady)
  }

  /** Holds to what somebody wants of it now. Replicas that are too many leave when their requests are over. */
  configure(record: DeploymentRecord): void {
    this.#wanted = record
    this.#isRetired = false
    // Those that somebody asks for have the whole window before they stop.
    if (record.replicas > this.#replicas.length) this.#usedAt = performance.now()
    void this.#scale(record.replicas)
    // What is pinned now may leave too little for others that wait.
    this.#services.budget.settle()
  }

  /**
   * A model, ready to answer. It stays loaded until the signal aborts.
   * @param traces of the request, for the replica that has seen them before
   * @throws OrielError as `Replica.use` does; `precondition_failed` if it may have no replica
   */
  async use(signal: AbortSignal, timeoutMs: number, traces: () => Traces = () => noTraces): Promise<Served> {
    this.#wake()
    const [first, ...others] = this.#answering()
    if (first === undefined) throw new Error('a deployment without replicas was asked')
    const replica = others.length === 0 ? first : this.#router.choose([first, ...others], traces())
    this.#usedAt = performance.now()
    const served = await replica.use(signal, timeoutMs)
    signal.addEventListener('abort', () => {
      this.#usedAt = performance.now()
    })
    return served
  }

  /** Has an adapter loaded in the replicas that are ready. @throws OrielError why one cannot load it */
  async loadAdapter(card: AdapterCard): Promise<void> {
    await Promise.all(this.backends.map((served) => (embeds(served) ? undefined : served.loadAdapter?.(card))))
  }

  usedBy(client: string): void {
    for (const replica of this.#replicas) replica.usedBy(client)
  }

  /** As `Replica.start`. */
  async start(): Promise<void> {
    this.#wake()
    await this.#replicas[0]?.start()
  }

  /** As `Replica.leave`. One that is configured keeps the replicas that it must have, and does not leave for a client. */
  async leave(client?: string): Promise<void> {
    if (this.#wanted === undefined) return this.#replicas[0]?.leave(client)
    if (client === undefined) await this.#scale(this.#wanted.minReplicas)
  }

  /** Looks at its load and its replicas. To be called about once a second. @returns how many replicas it should have */
  tick(target: number): number {
    if (this.#wanted === undefined || this.#isRetired || this.#isClosed) return this.#replicas.length
    const load = this.#replicas.reduce((sum, one) => sum + one.load, 0)
    if (load > 0) this.#usedAt = performance.now()
    this.#hasServed ||= this.backends.length > 0
    const moment = { now: performance.now(), desired: this.#replicas.length, load, usedAt: this.#usedAt, target }
    void this.#scale(this.#autoscaler.next(moment, this.#wanted))
    this.#replicas.forEach((replica, at) => {
      const isNeeded = at === 0 || replica.pinned || this.#services.budget.hasRoom(replica.bytes)
      // What it failed of is told by its state.
      if (!replica.active && isNeeded) replica.start().catch(() => {})
    })
    return this.#replicas.length
  }

  /** Has no replicas from now on, unless it is asked on demand. @returns when their memory is free, if no request uses them */
  async retire(): Promise<void> {
    this.#isRetired = true
    await this.#scale(0)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#present.map((replica) => replica.close()))
  }

  /**
   * The replicas that a request may go to: those that are ready, or else on the way. One that is neither may wait for memory that
   * there is not.
   */
  #answering(): readonly Replica[] {
    const ready = this.#replicas.filter(({ isReady }) => isReady)
    if (ready.length > 0) return ready
    const active = this.#replicas.filter(({ active }) => active)
    return active.length > 0 ? active : this.#replicas.slice(0, 1)
  }

  get #present(): Replica[] {
    return [...this.#replicas, ...this.#retired]
  }

  /** Has a replica again, if its load has let it have none. */
  #wake(): void {
    if (this.#replicas.length > 0) return
    if (this.#wanted !== undefined && (this.#isRetired || this.#wanted.maxReplicas === 0))
      throw new OrielError(
        'precondition_failed',
        `The deployment ${this.#wanted.id} has no replicas: ${this.#isRetired ? 'it is deleted' : 'its maxReplicaCount is 0'}.`,
        { param: 'model', code: 'deployment_without_replicas' },
      )
    void this.#scale(1)
  }

  #stillLeaving(): Replica[] {
    this.#retired = this.#retired.filter(({ active }) => active)
    return this.#retired
  }

  /** @returns when the memory of those that leave is free, if no request uses them */
  async #scale(replicas: number): Promise<void> {
    const leaving = this.#replicas.splice(replicas)
    this.#retired = [...this.#stillLeaving(), ...leaving]
    while (this.#replicas.length < replicas) this.#replicas.push(this.#newReplica())
    await Promise.all(leaving.map((replica) => replica.retire()))
  }

  #newReplica(): Replica {
    const least = () => this.#wanted?.minReplicas ?? 0
    const idleMs = () => (this.#wanted === undefined ? this.#services.config.keepLoadedMs : 0)
    const keeping: Keeping = {
      get idleMs() {
        return idleMs()
      },
      isPinned: () => this.#replicas.slice(0, least()).includes(replica),
      onEvicted: () => {
        if (this.#wanted !== undefined && this.#replicas.length > least())
          this.#replicas = this.#replicas.filter((one) => one !== replica)
      },
    }
    const replica = new Replica(this.card, this.#plan, this.#services, keeping)
    return replica
  }
}
