import { z } from 'zod'
import type { DeployedModel, Deployments } from '../../deployments/index.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { isoOf } from '../request/moment.ts'
import { invalidValue, optional, parseBody } from '../request/validation.ts'
import {
  accountIn,
  given,
  listed,
  listOf,
  listParameters,
  masked,
  pageOf,
  paramOf,
  place,
  readMaskOf,
  readMaskParameter,
  readWanted,
} from './resources.ts'

const time = z.iso.datetime()
const state = z.enum(['DEPLOYED', 'DEPLOYING'])

/** An adapter on a deployment, as models name it. */
export const reference = z.strictObject({
  name: z.string(),
  deployment: z.string(),
  state,
  default: z.boolean(),
  public: z.literal(false),
})

/** An adapter on a deployment. */
export const deployedModel = z.strictObject({
  ...reference.shape,
  model: z.string(),
  displayName: z.string(),
  description: z.string(),
  createTime: time,
  updateTime: time,
  status: z.strictObject({ code: z.literal('OK'), message: z.string() }),
  serverless: z.literal(false),
})

export const deployedModelList = listOf('deployedModels', deployedModel)

const name = z.string().min(1).max(300)
const changes = {
  displayName: optional(z.string().max(63), 'For people.'),
  description: optional(z.string().max(1000), 'For people.'),
  default: optional(
    z.boolean(),
    "Whether the adapter's name alone means it on this deployment. Default: for the first.",
  ),
}
const loaded = z.object({
  model: name.describe('A name of an adapter.'),
  deployment: name.describe('`accounts/{account}/deployments/{id}`, or its id.'),
  ...changes,
})
const changed = z.object({
  model: optional(name, 'It cannot be changed.'),
  deployment: optional(name, 'It cannot be changed.'),
  ...changes,
})
const nothing = z.strictObject({})
const loadQuery = z.object({ replaceMergedAddon: z.enum(['true', 'false']).optional() })

const all = {
  ...place,
  path: '/accounts/{account}/deployedModels',
  pattern: '/accounts/:account/deployedModels',
} as const
const one = { ...place, path: `${all.path}/{deployedModel}`, pattern: `${all.pattern}/:deployedModel` } as const

/** `/accounts/{account}/deployedModels`: which adapters are on which deployments. */
export const deployedModelEndpoints: readonly Endpoint[] = [
  {
    ...all,
    method: 'GET',
    summary: 'List the adapters on the deployments of an account',
    query: listParameters,
    answer: deployedModelList,
    handler:
      ({ services: { deployments } }) =>
      async (request): Promise<z.output<typeof deployedModelList>> => {
        const isListed = listed(request)
        const found = deployments.deployedModels.list().filter(({ account }) => isListed(account))
        const { entries, ...page } = pageOf(
          request,
          found.map((one) => shown(one, deployments)),
        )
        return { deployedModels: entries, ...page }
      },
  },
  {
    ...all,
    method: 'POST',
    scope: 'admin',
    summary: 'Put an adapter on a deployment',
    query: [
      {
        name: 'replaceMergedAddon',
        description: "`true`: the deployment's own name means this adapter from now on, and the others leave it.",
      },
    ],
    body: loaded,
    answer: deployedModel,
    handler:
      (options) =>
      async (request, reply): Promise<z.output<typeof deployedModel>> => {
        const { deployments } = options.services
        const { replaceMergedAddon } = parseBody(loadQuery, request.query)
        const { model: adapter, deployment, default: isDefault, ...texts } = readWanted(loaded, request, reply, options)
        const account = accountIn(request)
        const wanted = { adapter, deployment: deploymentIn(deployment, account), ...given({ isDefault, ...texts }) }
        return shown(await deployments.deployedModels.load(account, wanted, replaceMergedAddon === 'true'), deployments)
      },
  },
  {
    ...one,
    method: 'GET',
    summary: 'Get an adapter on a deployment',
    query: readMaskParameter,
    answer: deployedModel,
    handler:
      ({ services: { deployments } }) =>
      async (request) => {
        const found = deployments.deployedModels.show({
          account: accountIn(request),
          id: paramOf(request, 'deployedModel'),
        })
        return masked(shown(found, deployments), readMaskOf(request))
      },
  },
  {
    ...one,
    method: 'PATCH',
    scope: 'admin',
    summary: 'Change what the body names of an adapter on a deployment',
    body: changed,
    answer: deployedModel,
    handler: (options) => async (request, reply) => {
      const { deployments } = options.services
      const { default: isDefault, model, deployment, ...texts } = readWanted(changed, request, reply, options)
      const own = { account: accountIn(request), id: paramOf(request, 'deployedModel') }
      const before = deployments.deployedModels.show(own)
      if (typeof deployment === 'string' && deploymentIn(deployment, own.account) !== before.deployment)
        throw invalidValue('deployment', 'The deployment of a deployed model cannot be changed.')
      if (typeof model === 'string' && model.replace(/^accounts\/[^/]+\/models\//, '') !== before.adapter)
        throw invalidValue('model', 'The adapter of a deployed model cannot be changed.')
      return shown(await deployments.deployedModels.change(own, given({ isDefault, ...texts })), deployments)
    },
  },
  {
    ...one,
    method: 'DELETE',
    scope: 'admin',
    summary: 'Take an adapter off a deployment',
    answer: nothing,
    handler:
      ({ services: { deployments } }) =>
      async (request): Promise<z.output<typeof nothing>> => {
        await deployments.deployedModels.unload({ account: accountIn(request), id: paramOf(request, 'deployedModel') })
        return {}
      },
  },
]

/** The id of a deployment of the account. @throws OrielError `invalid` for that of another */
function deploymentIn(name: string, account: string): string {
  const [, owner = account, id = name] = /^accounts\/([^/]+)\/deployments\/([^/]+)$/.exec(name) ?? []
  if (owner !== account) throw invalidValue('deployment', `The deployment must be one of the account ${account}.`)
  return id
}

function shown(
  { account, id, adapter, deployment, isDefault, displayName, description, created, updated }: DeployedModel,
  { configured }: Deployments,
): z.output<typeof deployedModel> {
  const on = configured.show(account, deployment)
  return {
    name: `accounts/${account}/deployedModels/${id}`,
    deployment: `accounts/${account}/deployments/${deployment}`,
    model: `accounts/${account}/models/${adapter}`,
    // Without replicas it is there as soon as a request is.
    state: on.state === 'creating' ? 'DEPLOYING' : 'DEPLOYED',
    status: { code: 'OK', message: '' },
    default: isDefault,
    public: false,
    serverless: false,
    displayName,
    description,
    createTime: isoOf(created),
    updateTime: isoOf(updated),
  }
}
