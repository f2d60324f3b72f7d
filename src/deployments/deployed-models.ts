import { z } from 'zod'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { AdapterCard } from '../models/index.ts'
import { Keeper, keyOf, type Name, type ResourceStore } from './kept.ts'
import { checkFits, noAdapter } from './names.ts'
import type { DeploymentRecord } from './record.ts'
import { noDeployment } from './registry.ts'

const noun = 'deployed model'
const mostDeployedModels = 1000

const deployedModel = z.strictObject({
  account: z.string(),
  id: z.string(),
  /** The id of an adapter. */
  adapter: z.string(),
  /** The id of the deployment, which has the same account. */
  deployment: z.string(),
  /** Whether the adapter's name alone means it on this deployment. */
  isDefault: z.boolean(),
  /** Whether the deployment's name alone means it with this adapter. */
  isMerged: z.boolean(),
  displayName: z.string(),
  description: z.string(),
  created: z.number(),
  updated: z.number(),
})

/** An adapter on a deployment. */
export type DeployedModel = Readonly<z.output<typeof deployedModel>>

export interface LoadedModel extends Partial<Pick<DeployedModel, 'isDefault' | 'displayName' | 'description'>> {
  /** A name of an adapter. */
  adapter: string
  /** The id of a deployment of the account. */
  deployment: string
}

interface Around {
  /** Deployments that are not deleted. */
  deployments(): readonly DeploymentRecord[]
  adapter(name: string): Promise<AdapterCard | undefined>
  /** Has it loaded where the deployment has replicas. @throws OrielError why it cannot be */
  load(record: DeploymentRecord, card: AdapterCard): Promise<void>
  log: Logger
}

/** Which adapters are on which deployments. Replicas that start later load them when a request names them. */
export class DeployedModels {
  readonly #around: Around
  #keeper: Keeper<DeployedModel> | undefined

  constructor(around: Around) {
    this.#around = around
  }

  async open(store: ResourceStore): Promise<void> {
    const { log } = this.#around
    this.#keeper ??= new Keeper<DeployedModel>(store, {
      ...{ kind: 'deployed_model', schema: deployedModel, noun, most: mostDeployedModels, log },
    })
    await this.#keeper.reload()
  }

  reload(): Promise<void> {
    return this.#opened.reload()
  }

  /** Those whose deployments are not deleted, the oldest first. */
  list(): DeployedModel[] {
    const live = new Set(this.#around.deployments().map(keyOf))
    return (this.#keeper?.list() ?? []).filter(({ account, deployment }) =>
      live.has(keyOf({ account, id: deployment })),
    )
  }

  /** @throws OrielError `not_found` */
  show(name: Name): DeployedModel {
    return this.#opened.find(name)
  }

  /**
   * Puts an adapter on a deployment. What is there already is changed.
   * @param isMerged whether the deployment's own name means this adapter from now on; the other adapters leave it
   * @throws OrielError `not_found` for the deployment or the adapter; `precondition_failed` for an adapter that does not fit
   */
  async load(
    account: string,
    { adapter, deployment, ...given }: LoadedModel,
    isMerged: boolean,
  ): Promise<DeployedModel> {
    const record = this.#deploymentOf(account, deployment)
    const card = await this.#around.adapter(adapter)
    if (card === undefined) throw noAdapter(adapter)
    checkFits(card, record.model)
    await this.#around.load(record, card)
    const name = { account, id: `${card.id.toLowerCase().replace(/[^a-z0-9]+/g, '-')}-${deployment}` }
    const now = Date.now()
    const isFirst = !this.list().some((one) => one.account === account && one.adapter === card.id)
    const before = this.#opened.list().find((one) => keyOf(one) === keyOf(name))
    const wanted = {
      ...{ isDefault: isFirst, isMerged, displayName: '', description: '', created: now },
      ...before,
      ...given,
      ...{ ...name, adapter: card.id, deployment, updated: now },
      ...(isMerged && { isMerged }),
    }
    if (before === undefined) await this.#opened.create(wanted)
    else await this.#opened.change(name, () => wanted)
    if (isMerged)
      for (const other of this.list())
        if (other.account === account && other.deployment === deployment && other.id !== name.id)
          await this.#opened.remove(other)
    if (wanted.isDefault) await this.#onlyDefault(wanted)
    return this.show(name)
  }

  /** @throws OrielError `not_found` */
  async change(
    name: Name,
    change: Partial<Pick<DeployedModel, 'isDefault' | 'displayName' | 'description'>>,
  ): Promise<DeployedModel> {
    const changed = await this.#opened.change(name, (before) => ({ ...before, ...change }))
    if (change.isDefault) await this.#onlyDefault(changed)
    return changed
  }

  /** @throws OrielError `not_found` */
  unload(name: Name): Promise<void> {
    return this.#opened.remove(name)
  }

  /** Takes all adapters off a deployment. */
  forget({ account, id }: Name): Promise<void> {
    return this.#opened.reload((one) => one.account === account && one.deployment === id)
  }

  /** The deployment that an adapter's name alone means. */
  defaultOf(adapter: string, records: readonly DeploymentRecord[]): DeploymentRecord | undefined {
    const own = this.list().find((one) => one.adapter === adapter && one.isDefault && records.some(isOf(one)))
    return own && records.find(isOf(own))
  }

  /** The adapter that is merged into a deployment. @throws OrielError `precondition_failed` if it cannot be used */
  async mergedInto({ account, id }: Name): Promise<AdapterCard | undefined> {
    const merged = this.list().find((one) => one.account === account && one.deployment === id && one.isMerged)
    if (merged === undefined) return undefined
    const card = await this.#around.adapter(merged.adapter)
    if (card !== undefined) return card
    throw new OrielError('precondition_failed', `The adapter ${merged.adapter} of the deployment ${id} is gone.`, {
      param: 'model',
      code: 'adapter_unusable',
    })
  }

  get #opened(): Keeper<DeployedModel> {
    if (this.#keeper === undefined) throw new Error('the deployed models are not open')
    return this.#keeper
  }

  #deploymentOf(account: string, id: string): DeploymentRecord {
    const record = this.#around.deployments().find((one) => one.account === account && one.id === id)
    if (record !== undefined) return record
    throw noDeployment(id).at('deployment')
  }

  async #onlyDefault({ account, id, adapter }: DeployedModel): Promise<void> {
    for (const other of this.#opened.list())
      if (other.account === account && other.adapter === adapter && other.id !== id && other.isDefault)
        await this.#opened.change(other, (before) => ({ ...before, isDefault: false }))
  }
}

const isOf =
  ({ account, deployment }: DeployedModel) =>
  (record: DeploymentRecord): boolean =>
    record.account === account && record.id === deployment
