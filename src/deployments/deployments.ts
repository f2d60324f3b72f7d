import { OrielError } from '../errors.ts'
import type { Backend } from './backend.ts'

/** Fireworks' form of a name. Whose account it is does not matter here: every model is ours. */
const inAccount = /^accounts\/[^/]+\/models\//

/** The models that answer, by the names that requests use for them. */
export interface Deployments {
  list(): readonly Backend[]
  /** @throws OrielError `not_found` with the names there are */
  find(name: string): Backend
  close(): Promise<void>
}

export function deploy(backends: readonly Backend[]): Deployments {
  return {
    list: () => backends,
    find(name) {
      const short = name.replace(inAccount, '')
      const found = backends.find(({ card }) => card.id === short || card.aliases.includes(name))
      if (found !== undefined) return found
      const names = backends.map(({ card }) => card.id).join(', ')
      throw new OrielError('not_found', `The model ${JSON.stringify(name)} is not here. There are: ${names}.`, {
        param: 'model',
        code: 'model_not_found',
      })
    },
    async close() {
      await Promise.all(backends.map((backend) => backend.close()))
    },
  }
}
