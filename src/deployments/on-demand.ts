import type { ModelCard } from '../models/index.ts'
import type { Deployment } from './deployment.ts'

/** The deployments that nobody has configured: one for each model that requests have named. */
export class OnDemand {
  readonly #byModel = new Map<string, Deployment>()
  readonly #make: (card: ModelCard) => Deployment

  constructor(make: (card: ModelCard) => Deployment) {
    this.#make = make
  }

  get deployments(): readonly Deployment[] {
    return [...this.#byModel.values()]
  }

  /** @param id of a model */
  get(id: string): Deployment | undefined {
    return this.#byModel.get(id)
  }

  /** The deployment of a model. A file that has changed is another model with the same name. */
  of(card: ModelCard): Deployment {
    const before = this.#byModel.get(card.id)
    if (before !== undefined && (before.active || before.card.version === card.version)) return before
    const deployment = this.#make(card)
    this.#byModel.set(card.id, deployment)
    return deployment
  }

  /** Gives up the deployment of a model. @returns it, if it has loaded the same files; otherwise it ends */
  give({ id, version }: ModelCard): Deployment | undefined {
    const deployment = this.#byModel.get(id)
    this.#byModel.delete(id)
    if (deployment?.active && deployment.card.version === version) return deployment
    void deployment?.retire()
    return undefined
  }
}
