import { randomBytes } from 'node:crypto'
import { OrielError } from '../errors.ts'
import { parseJson } from '../json.ts'
import type { Logger } from '../log.ts'
import { between, checkBounds, checkId, type DeploymentRecord, keyOf, purgeMs, record, type Wanted } from './record.ts'

/** A thing that is kept by name, as JSON. */
export interface KeptResource {
  readonly kind: string
  readonly account: string
  readonly id: string
  /** Higher after each change. */
  readonly revision: number
  readonly body: string
}

/** Where deployments are kept. Each change is whole or not at all, also if the process is killed. */
export interface ResourceStore {
  /** @throws OrielError `overloaded` while the store is cut off, as everything here does */
  list(kind: string): Promise<readonly KeptResource[]>
  /** @returns whether there was none of this name */
  insert(resource: Omit<KeptResource, 'revision'>): Promise<boolean>
  /** @param revision that it has: if it has another one, somebody else has changed it. @returns whether it was replaced */
  replace(resource: KeptResource): Promise<boolean>
  remove(name: Pick<KeptResource, 'kind' | 'account' | 'id'>): Promise<void>
}

const kind = 'deployment'
/** Of all accounts together, with those that are deleted. Each is looked at every second. */
const mostDeployments = 200
/** Of one change, with other servers that change the same. */
const mostAttempts = 5

interface Entry {
  readonly record: DeploymentRecord
  readonly revision: number
}

/** The deployments that are configured, as the store has them. Servers with the same store see the changes of others by `reload`. */
export class Registry {
  readonly #store: ResourceStore
  readonly #log: Logger
  #entries = new Map<string, Entry>()
  readonly #unread = new Set<string>()
  #last: Promise<void> = Promise.resolve()

  constructor(store: ResourceStore, log: Logger) {
    this.#store = store
    this.#log = log
  }

  /** With those that are deleted and not purged yet, the oldest first. */
  list(): DeploymentRecord[] {
    return [...this.#entries.values()]
      .map(({ record }) => record)
      .toSorted((a, b) => a.created - b.created || (keyOf(a) < keyOf(b) ? -1 : 1))
  }

  /** @throws OrielError `not_found` */
  find(account: string, id: string): DeploymentRecord {
    return this.#entryOf({ account, id }).record
  }

  /** The record that `create` would make. @throws OrielError `invalid`; `conflict` as `create` does; `precondition_failed` for too many */
  draft(account: string, id: string | undefined, model: string, wanted: Wanted): DeploymentRecord {
    const given = id ?? randomId()
    checkId(given)
    checkBounds(wanted)
    if (this.#entries.has(keyOf({ account, id: given }))) throw exists(given)
    if (this.#entries.size >= mostDeployments) throw tooMany()
    const now = Date.now()
    const replicas = between(1, wanted)
    return { ...wanted, account, id: given, model, replicas, created: now, updated: now, deleted: null }
  }

  /** @throws OrielError `conflict` if there is one of this name */
  create(draft: DeploymentRecord): Promise<void> {
    return this.#inTurn(async () => {
      const inserted = await this.#store.insert({ ...nameOf(draft), body: JSON.stringify(draft) })
      if (!inserted) {
        await this.#read()
        throw exists(draft.id)
      }
      this.#entries.set(keyOf(draft), { record: draft, revision: 1 })
    })
  }

  /**
   * Changes a deployment.
   * @param change makes the new one. It is asked again if another server has changed it meanwhile
   * @throws OrielError `not_found`; what `change` throws
   */
  change(name: Name, change: (before: DeploymentRecord) => DeploymentRecord): Promise<DeploymentRecord> {
    return this.#inTurn(async () => {
      for (let attempt = 1; attempt <= mostAttempts; attempt++) {
        const { record: before, revision } = this.#entryOf(name)
        const record = { ...change(before), updated: Math.max(Date.now(), before.updated + 1) }
        if (await this.#replace(record, revision)) return record
        await this.#read()
      }
      throw changing(name.id)
    })
  }

  /** Keeps how many replicas the load of a deployment has led to. A later change of it counts more. */
  note(name: Name, replicas: number): Promise<void> {
    return this.#inTurn(async () => {
      const entry = this.#entries.get(keyOf(name))
      if (entry === undefined || entry.record.replicas === replicas) return
      await this.#replace({ ...entry.record, replicas }, entry.revision)
    })
  }

  /** Forgets a deployment. @throws OrielError `not_found` */
  purge(name: Name): Promise<void> {
    return this.#inTurn(async () => {
      this.#entryOf(name)
      await this.#store.remove(nameOf(name))
      this.#entries.delete(keyOf(name))
    })
  }

  /** Reads the store again, and purges what was deleted long ago. */
  reload(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#read()
      for (const { record } of this.#entries.values()) {
        if (record.deleted === null || record.deleted + purgeMs > Date.now()) continue
        await this.#store.remove(nameOf(record))
        this.#entries.delete(keyOf(record))
      }
    })
  }

  /** What cannot be read stays in the store, and is no deployment. */
  async #read(): Promise<void> {
    const entries = new Map<string, Entry>()
    for (const { revision, body, account, id } of await this.#store.list(kind)) {
      const read = record.safeParse(parseJson(body))
      const key = keyOf({ account, id })
      if (!read.success) {
        if (!this.#unread.has(key)) this.#log.warn({ account, deployment: id }, 'a deployment cannot be read')
        this.#unread.add(key)
        continue
      }
      const before = this.#entries.get(key)?.record
      // Each server has the load of its own requests, and the replicas for it.
      const isSame = before?.updated === read.data.updated
      entries.set(key, { revision, record: { ...read.data, replicas: (isSame ? before : read.data).replicas } })
    }
    this.#entries = entries
  }

  async #replace(record: DeploymentRecord, revision: number): Promise<boolean> {
    const next = { ...nameOf(record), revision, body: JSON.stringify(record) }
    if (!(await this.#store.replace(next))) return false
    this.#entries.set(keyOf(record), { record, revision: revision + 1 })
    return true
  }

  #entryOf(name: Name): Entry {
    const entry = this.#entries.get(keyOf(name))
    if (entry === undefined) throw noDeployment(name.id)
    return entry
  }

  /** One after the other: what is read of the store must not undo what was written meanwhile. */
  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act)
    this.#last = done.then(
      () => {},
      () => {},
    )
    return done
  }
}

type Name = Pick<DeploymentRecord, 'account' | 'id'>

const nameOf = ({ account, id }: Name) => ({ kind, account, id })

const randomId = (): string =>
  BigInt(`0x${randomBytes(8).toString('hex')}`)
    .toString(36)
    .slice(0, 8)
    .padStart(8, '0')

export const noDeployment = (id: string): OrielError =>
  new OrielError('not_found', `There is no deployment ${JSON.stringify(id.slice(0, 100))}.`, {
    code: 'deployment_not_found',
  })

const exists = (id: string): OrielError =>
  new OrielError('conflict', `There is a deployment ${id} already. A deleted one can be restored or purged.`, {
    param: 'deploymentId',
    code: 'deployment_exists',
  })

const changing = (id: string): OrielError =>
  new OrielError('overloaded', `The deployment ${id} is being changed by others. Try again.`, { retryAfter: 1 })

const tooMany = (): OrielError =>
  new OrielError(
    'precondition_failed',
    `There are ${mostDeployments} deployments, with those that are deleted and not purged. There can be no more.`,
    { code: 'too_many_deployments' },
  )
