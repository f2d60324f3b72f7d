import { OrielError } from '../../errors.ts'
import type { Endpoint, Method } from '../dialects/dialect.ts'
import { paramOf, place } from './resources.ts'

/** What Fireworks' accounts have and Oriel's do not, in words. */
const elsewhere: Readonly<Record<string, string>> = {
  batchInferenceJobs: 'Batches are not run here: send the requests themselves, as many at once as you like.',
  clusters: 'There are no clusters here: a server has its own machine.',
  deploymentTemplates: 'There are no templates of deployments here: a deployment says all of it.',
  dpoJobs: 'Models are trained on examples here: see supervisedFineTuningJobs.',
  evaluationJobs: 'Models are not evaluated here.',
  evaluators: 'Models are not evaluated here, so there are no evaluators.',
  reinforcementFineTuningJobs: 'Models are trained on examples here: see supervisedFineTuningJobs.',
  rlorTrainerJobs: 'Models are trained on examples here: see supervisedFineTuningJobs.',
  secrets: 'Nothing here needs secrets of accounts.',
}

const resource = `:resource(^${Object.keys(elsewhere).join('|')}$)`
const methods: readonly Method[] = ['GET', 'POST', 'PATCH', 'DELETE']

/** Answers what means nothing here, so that a client is not told that its URL is wrong. */
export const elsewhereEndpoints: readonly Endpoint[] = ['', '/*'].flatMap((below) =>
  methods.map((method) => ({
    ...place,
    method,
    path: `/accounts/{account}/{resource}${below}`,
    pattern: `/accounts/:account/${resource}${below}`,
    isHidden: true,
    summary: 'What means nothing here',
    answer: null,
    handler: () => async (request) => {
      const name = paramOf(request, 'resource')
      throw new OrielError('not_implemented', elsewhere[name] ?? '', { code: 'not_here' })
    },
  })),
)
