import type { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { checkId, Keeper, type Name, notKept, type ResourceStore, randomId } from './kept.ts'
import { between, checkBounds, type DeploymentRecord, purgeMs, record, type Wanted } from './record.ts'

/** Of all accounts together, with those that are deleted. Each is looked at every second. */
const mostDeployments = 200
const noun = 'deployment'

/** The deployments that are configured. */
export class Registry {
  readonly #keeper: Keeper<DeploymentRecord>

  constructor(store: ResourceStore, log: Logger) {
    this.#keeper = new Keeper<DeploymentRecord>(store, {
      ...{ kind: noun, schema: record, noun, most: mostDeployments, log },
      // Each server has the load of its own requests, and the replicas for it.
      merge: (before, read) => (before.updated === read.updated ? { ...read, replicas: before.replicas } : read),
    })
  }

  /** With those that are deleted and not purged yet, the oldest first. */
  list(): DeploymentRecord[] {
    return this.#keeper.list()
  }

  /** @throws OrielError `not_found` */
  find(account: string, id: string): DeploymentRecord {
    return this.#keeper.find({ account, id })
  }

  /** The record that `create` would make. @throws OrielError `invalid`, and as `create` does */
  draft(account: string, id: string | undefined, model: string, wanted: Wanted): DeploymentRecord {
    const given = id ?? randomId(8)
    checkId(given, noun, 'deploymentId')
    checkBounds(wanted)
    this.#keeper.checkNew({ account, id: given })
    const now = Date.now()
    const replicas = between(1, wanted)
    return { ...wanted, account, id: given, model, replicas, created: now, updated: now, deleted: null }
  }

  /** @throws OrielError `conflict` if there is one of this name; `precondition_failed` if there are too many */
  create(draft: DeploymentRecord): Promise<void> {
    return this.#keeper.create(draft)
  }

  /** As `Keeper.change`. */
  change(name: Name, change: (before: DeploymentRecord) => DeploymentRecord): Promise<DeploymentRecord> {
    return this.#keeper.change(name, change)
  }

  /** Whether nobody has changed or removed a deployment since. */
  isCurrent(record: DeploymentRecord): boolean {
    return this.#keeper.known(record)?.updated === record.updated
  }

  /** Keeps how many replicas the load of a deployment has led to. A later change of it counts more. */
  note({ updated, ...name }: Name & Pick<DeploymentRecord, 'updated'>, replicas: number): Promise<void> {
    return this.#keeper.note(name, (before) =>
      before.updated !== updated || before.replicas === replicas ? before : { ...before, replicas },
    )
  }

  /** Forgets a deployment. @throws OrielError `not_found` */
  purge(name: Name): Promise<void> {
    return this.#keeper.remove(name)
  }

  /** Reads the store again, and purges what was deleted long ago. @param onPurge is awaited before one is purged */
  reload(onPurge?: (record: DeploymentRecord) => Promise<void>): Promise<void> {
    return this.#keeper.reload(({ deleted }) => deleted !== null && deleted + purgeMs < Date.now(), onPurge)
  }
}

export const noDeployment = (id: string): OrielError => notKept(noun, id)
