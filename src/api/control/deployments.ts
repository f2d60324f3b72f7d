import { z } from 'zod'
import { type DeploymentStatus, mostReplicas, purgeMs, type Wanted } from '../../deployments/index.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { isoOf } from '../request/moment.ts'
import { invalidValue, optional, parseBody } from '../request/validation.ts'
import { duration, durationText } from './duration.ts'
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
const count = z.int().min(0)
const status = z.strictObject({ code: z.enum(['OK', 'FAILED_PRECONDITION']), message: z.string() })

const policy = z.strictObject({
  scaleUpWindow: z.string(),
  scaleDownWindow: z.string(),
  scaleToZeroWindow: z.string(),
  loadTargets: z.record(z.string(), z.number()),
})

/** A deployment as Fireworks' control plane describes it. */
export const deployment = z.strictObject({
  name: z.string().describe('`accounts/{account}/deployments/{id}`, which requests may use as their model.'),
  displayName: z.string(),
  description: z.string(),
  createTime: time,
  updateTime: time,
  deleteTime: time.optional(),
  purgeTime: time.optional().describe('Until then it can be restored.'),
  state: z.enum(['CREATING', 'READY', 'UPDATING', 'FAILED', 'DELETING', 'DELETED']),
  status,
  baseModel: z.string(),
  minReplicaCount: count,
  maxReplicaCount: count,
  desiredReplicaCount: count,
  replicaCount: count.describe('Those that are ready.'),
  replicaStats: z.strictObject({
    readyReplicaCount: count,
    initializingReplicaCount: count,
    pendingSchedulingReplicaCount: count.describe('Those that wait for memory, or for their next attempt.'),
    downloadingModelReplicaCount: count,
  }),
  autoscalingPolicy: policy,
  enableAddons: z.literal(true),
})

export const deploymentList = listOf('deployments', deployment)

const windows = { most: 3_600_000, leastToZero: 1000, mostToZero: 30 * 86_400_000 }

const loadTargets = z
  .strictObject(
    { default: z.number().gt(0).max(1).optional(), concurrent_requests: z.number().gt(0).max(100_000).optional() },
    { error: 'may have default or concurrent_requests' },
  )
  .refine((targets) => Object.keys(targets).length < 2, { error: 'may have one of default and concurrent_requests' })

const givenPolicy = z.object({
  scaleUpWindow: optional(duration(0, windows.most), 'How long load is higher before a replica starts. Default: 30s.'),
  scaleDownWindow: optional(duration(0, windows.most), 'How long load is lower before one stops. Default: 600s.'),
  scaleToZeroWindow: optional(
    duration(windows.leastToZero, windows.mostToZero),
    'Time without requests before the last one stops, if minReplicaCount is 0. Default: 3600s.',
  ),
  loadTargets: optional(
    loadTargets,
    'Load of each replica at which another one starts: `default`, a share of the sequences that an engine runs at once (0.8), or `concurrent_requests`.',
  ),
})

const replicas = z.int().min(0).max(mostReplicas)

const changes = {
  displayName: optional(z.string().max(63), 'For people.'),
  description: optional(z.string().max(1000), 'For people.'),
  minReplicaCount: optional(replicas, 'Replicas that stay in memory. Default: 0.'),
  maxReplicaCount: optional(replicas, 'Default: minReplicaCount, or 1. 0: it answers nothing.'),
  autoscalingPolicy: optional(givenPolicy, 'When replicas start and stop.'),
}

const name = z.string().min(1).max(300)

const newDeployment = z.object({ baseModel: name.describe('A name of a model of this server.'), ...changes })
const changedDeployment = z.object({ baseModel: optional(name, 'It cannot be changed.'), ...changes })
const scaling = z.object({ replicaCount: replicas.describe('From minReplicaCount to maxReplicaCount.') })
const nothing = z.strictObject({})

const all = { ...place, path: '/accounts/{account}/deployments', pattern: '/accounts/:account/deployments' } as const
const one = {
  ...place,
  path: '/accounts/{account}/deployments/{deployment}',
  pattern: '/accounts/:account/deployments/:deployment',
} as const
const verb = (word: string) => ({
  ...place,
  path: `${one.path}:${word}`,
  pattern: `/accounts/:account/deployments/:deployment(^[^:/]+)::${word}`,
})

const flag = z.enum(['true', 'false']).optional()
const createQuery = z.object({ deploymentId: z.string().optional(), validateOnly: flag })
const listQuery = z.object({ showDeleted: flag })
const removeQuery = z.object({ hard: flag, ignoreChecks: flag })

/** `/accounts/{account}/deployments`: reading is for the keys of an account, and changing for those of the scope admin. */
export const deploymentEndpoints: readonly Endpoint[] = [
  {
    ...all,
    method: 'GET',
    summary: 'List the deployments of an account, the oldest first; of all with `-`',
    query: [...listParameters, { name: 'showDeleted', description: '`true`: with those that can be restored.' }],
    answer: deploymentList,
    handler:
      ({ services: { deployments } }) =>
      async (request): Promise<z.output<typeof deploymentList>> => {
        const isListed = listed(request)
        const withDeleted = parseBody(listQuery, request.query).showDeleted === 'true'
        const found = deployments.configured
          .list()
          .filter(({ record }) => isListed(record.account) && (withDeleted || record.deleted === null))
        const { entries, ...page } = pageOf(request, found.map(shown))
        return { deployments: entries, ...page }
      },
  },
  {
    ...all,
    method: 'POST',
    scope: 'admin',
    summary: 'Create a deployment',
    query: [
      { name: 'deploymentId', description: 'Default: a random one.' },
      { name: 'validateOnly', description: '`true`: only answer what would be created.' },
    ],
    body: newDeployment,
    answer: deployment,
    handler:
      (options) =>
      async (request, reply): Promise<z.output<typeof deployment>> => {
        const { deploymentId: id, validateOnly } = parseBody(createQuery, request.query)
        const { baseModel: model, ...wanted } = readWanted(newDeployment, request, reply, options)
        const made = options.services.deployments.configured.create(
          accountIn(request),
          { id, model, ...wantedOf(wanted) },
          { validateOnly: validateOnly === 'true' },
        )
        return shown(await made)
      },
  },
  {
    ...one,
    method: 'GET',
    summary: 'Get a deployment',
    query: readMaskParameter,
    answer: deployment,
    handler:
      ({ services: { deployments } }) =>
      async (request) =>
        masked(
          shown(deployments.configured.show(accountIn(request), paramOf(request, 'deployment'))),
          readMaskOf(request),
        ),
  },
  {
    ...one,
    method: 'PATCH',
    scope: 'admin',
    summary: 'Change what the body names of a deployment',
    body: changedDeployment,
    answer: deployment,
    handler: (options) => async (request, reply) => {
      const { configured, lookUp } = options.services.deployments
      const [account, id] = [accountIn(request), paramOf(request, 'deployment')]
      const { baseModel, ...wanted } = readWanted(changedDeployment, request, reply, options)
      const { record } = configured.show(account, id)
      if (typeof baseModel === 'string' && (await lookUp(baseModel)).id !== record.model)
        throw invalidValue('baseModel', `The model of a deployment cannot be changed: ${id} has ${record.model}.`)
      return shown(await configured.change(account, id, wantedOf(wanted)))
    },
  },
  {
    ...one,
    method: 'DELETE',
    scope: 'admin',
    summary: 'Delete a deployment. It can be restored for 7 days',
    query: [
      { name: 'hard', description: '`true`: for good.' },
      { name: 'ignoreChecks', description: '`true`: also while requests use it, which are answered to their end.' },
    ],
    answer: nothing,
    handler:
      ({ services: { deployments } }) =>
      async (request): Promise<z.output<typeof nothing>> => {
        const { hard, ignoreChecks } = parseBody(removeQuery, request.query)
        await deployments.configured.remove(accountIn(request), paramOf(request, 'deployment'), {
          purge: hard === 'true',
          force: ignoreChecks === 'true',
        })
        return {}
      },
  },
  {
    ...verb('scale'),
    method: 'PATCH',
    scope: 'admin',
    summary: 'Have so many replicas now, until the load asks for others',
    body: scaling,
    answer: nothing,
    handler: (options) => async (request, reply) => {
      const { replicaCount } = readWanted(scaling, request, reply, options)
      await options.services.deployments.configured.scale(
        accountIn(request),
        paramOf(request, 'deployment'),
        replicaCount,
      )
      return {}
    },
  },
  {
    ...verb('undelete'),
    method: 'POST',
    scope: 'admin',
    summary: 'Restore a deleted deployment',
    body: z.object({}),
    answer: deployment,
    handler:
      ({ services: { deployments } }) =>
      async (request) =>
        shown(await deployments.configured.restore(accountIn(request), paramOf(request, 'deployment'))),
  },
]

/** What a body wants. What it leaves out stays as it is. */
function wantedOf({
  displayName,
  description,
  minReplicaCount,
  maxReplicaCount,
  autoscalingPolicy,
}: Partial<z.output<typeof changedDeployment>>): Partial<Wanted> {
  const { scaleUpWindow, scaleDownWindow, scaleToZeroWindow, loadTargets } = autoscalingPolicy ?? {}
  return given({
    displayName,
    description,
    minReplicas: minReplicaCount,
    maxReplicas: maxReplicaCount,
    scaleUpMs: scaleUpWindow,
    scaleDownMs: scaleDownWindow,
    scaleToZeroMs: scaleToZeroWindow,
    loadTarget: loadTargets && targetOf(loadTargets),
  })
}

function targetOf(targets: z.output<typeof loadTargets>): Wanted['loadTarget'] | undefined {
  if (targets.concurrent_requests !== undefined) return { kind: 'requests', value: targets.concurrent_requests }
  return targets.default === undefined ? undefined : { kind: 'share', value: targets.default }
}

const states = {
  creating: 'CREATING',
  ready: 'READY',
  updating: 'UPDATING',
  failed: 'FAILED',
  deleting: 'DELETING',
  deleted: 'DELETED',
} as const

function shown({ record, state, error, replicas }: DeploymentStatus): z.output<typeof deployment> {
  const { account, id, deleted, loadTarget } = record
  return {
    name: `accounts/${account}/deployments/${id}`,
    displayName: record.displayName,
    description: record.description,
    createTime: isoOf(record.created),
    updateTime: isoOf(record.updated),
    ...(deleted !== null && { deleteTime: isoOf(deleted), purgeTime: isoOf(deleted + purgeMs) }),
    state: states[state],
    status: error === null ? { code: 'OK', message: '' } : { code: 'FAILED_PRECONDITION', message: error },
    baseModel: `accounts/${account}/models/${record.model}`,
    minReplicaCount: record.minReplicas,
    maxReplicaCount: record.maxReplicas,
    desiredReplicaCount: record.replicas,
    replicaCount: replicas.ready,
    replicaStats: {
      readyReplicaCount: replicas.ready,
      initializingReplicaCount: replicas.loading,
      pendingSchedulingReplicaCount: replicas.pending,
      downloadingModelReplicaCount: 0,
    },
    autoscalingPolicy: {
      scaleUpWindow: durationText(record.scaleUpMs),
      scaleDownWindow: durationText(record.scaleDownMs),
      scaleToZeroWindow: durationText(record.scaleToZeroMs),
      loadTargets: { [loadTarget.kind === 'share' ? 'default' : 'concurrent_requests']: loadTarget.value },
    },
    enableAddons: true,
  }
}
