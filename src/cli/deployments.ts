import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { ownAccount } from '../accounts/index.ts'
import { OrielError } from '../errors.ts'
import { configOf } from '../load-config.ts'
import { deploymentNamed, idOfModel } from './deployment-names.ts'
import { table } from './figures.ts'
import { askServer, urlHere } from './server.ts'

export interface DeploymentFlags {
  server?: string
  account?: string
  json?: boolean
  wait?: boolean
}

interface DeployFlags extends DeploymentFlags {
  deploymentId?: string
  displayName?: string
  description?: string
  minReplicaCount?: number
  maxReplicaCount?: number
  scaleUpWindow?: string
  scaleDownWindow?: string
  scaleToZeroWindow?: string
  concurrentRequests?: number
  validateOnly?: boolean
}

const deployment = z.object({
  name: z.string(),
  state: z.string(),
  status: z.object({ message: z.string() }),
  baseModel: z.string(),
  displayName: z.string(),
  minReplicaCount: z.number(),
  maxReplicaCount: z.number(),
  desiredReplicaCount: z.number(),
  replicaCount: z.number(),
})
type Shown = z.output<typeof deployment>

const page = z.object({ deployments: z.array(deployment), nextPageToken: z.string() })
const nothing = z.object({})

const pollMs = 300

/**
 * `oriel deploy`: makes a deployment of a model, or changes the one of this id to what the flags say.
 * @throws OrielError with one sentence for the person
 */
export async function deploy(model: string, flags: DeployFlags): Promise<void> {
  const { deploymentId = idOfModel(model), validateOnly } = flags
  const { send, one } = clientOf(flags)
  const body = {
    baseModel: model,
    displayName: flags.displayName,
    description: flags.description,
    minReplicaCount: flags.minReplicaCount,
    maxReplicaCount: flags.maxReplicaCount,
    autoscalingPolicy: {
      scaleUpWindow: flags.scaleUpWindow,
      scaleDownWindow: flags.scaleDownWindow,
      scaleToZeroWindow: flags.scaleToZeroWindow,
      loadTargets: flags.concurrentRequests && { concurrent_requests: flags.concurrentRequests },
    },
  }
  const query = `?deploymentId=${encodeURIComponent(deploymentId)}${validateOnly ? '&validateOnly=true' : ''}`
  const before = await found(send('GET', one(deploymentId), deployment))
  if (before !== undefined && validateOnly)
    throw new OrielError(
      'conflict',
      `There is a deployment ${deploymentId} already, so none was checked. Choose another name with --deployment-id.`,
    )
  if (before === undefined) {
    const made = await send('POST', one(undefined, query), deployment, body)
    return tell(validateOnly ? made : await settled(made, flags), flags, validateOnly ? 'would be made' : 'was made')
  }
  const wasDeleted = isDeleted(before)
  if (wasDeleted) await send('POST', one(`${deploymentId}:undelete`), deployment, {})
  const changed = await send('PATCH', one(deploymentId), deployment, body)
  tell(await settled(changed, flags), flags, wasDeleted ? 'was restored' : 'is as you want it')
}

/** `oriel scale`. @throws OrielError as `deploy` does */
export async function scale(name: string, replicaCount: number, given: DeploymentFlags): Promise<void> {
  const { id, flags } = deploymentNamed(name, given)
  const { send, one } = clientOf(flags)
  await send('PATCH', one(`${id}:scale`), nothing, { replicaCount })
  const shown = await settled(await send('GET', one(id), deployment), flags)
  tell(shown, flags, `has ${shown.replicaCount} of ${replicaCount} replicas`)
}

/** `oriel deployments list`. @throws OrielError as `deploy` does */
export async function listDeployments(flags: DeploymentFlags & { showDeleted?: boolean }): Promise<void> {
  const { send, one } = clientOf({ ...flags, account: flags.account ?? '-' })
  const deployments: Shown[] = []
  for (let token = ''; ; ) {
    const query = new URLSearchParams({
      pageToken: token,
      pageSize: '200',
      showDeleted: String(flags.showDeleted ?? false),
    })
    const found = await send('GET', one(undefined, `?${query}`), page)
    deployments.push(...found.deployments)
    token = found.nextPageToken
    if (token === '') break
  }
  if (flags.json) return void process.stdout.write(`${JSON.stringify({ deployments }, null, 2)}\n`)
  if (deployments.length === 0)
    return void process.stdout.write('There are no deployments. `oriel deploy <model>` makes one.\n')
  const rows = deployments.map(({ name, state, status, baseModel, ...one }) => [
    ...[name, baseModel.replace(/^.*\/models\//, ''), state],
    `${one.replicaCount} of ${one.desiredReplicaCount}`,
    `${one.minReplicaCount} to ${one.maxReplicaCount}`,
    status.message,
  ])
  process.stdout.write(table([['NAME', 'MODEL', 'STATE', 'REPLICAS', 'BOUNDS', ''], ...rows]))
}

/** `oriel deployments get`. @throws OrielError as `deploy` does */
export async function showDeployment(name: string, given: DeploymentFlags): Promise<void> {
  const { id, flags } = deploymentNamed(name, given)
  const { send, one } = clientOf(flags)
  const shown = await send('GET', one(id), z.looseObject(deployment.shape))
  process.stdout.write(flags.json ? `${JSON.stringify(shown, null, 2)}\n` : table(rowsOf(shown)))
}

/** `oriel deployments delete`: one that is not there is deleted. @throws OrielError as `deploy` does */
export async function deleteDeployment(
  name: string,
  given: DeploymentFlags & { hard?: boolean; ignoreChecks?: boolean },
): Promise<void> {
  const { id, flags } = deploymentNamed(name, given)
  const { send, one } = clientOf(flags)
  const query = new URLSearchParams({
    hard: String(flags.hard ?? false),
    ignoreChecks: String(flags.ignoreChecks ?? false),
  })
  const gone = await found(send('DELETE', one(id, `?${query}`), nothing))
  if (flags.json) return void process.stdout.write(`${JSON.stringify({ deleted: gone !== undefined })}\n`)
  process.stdout.write(
    gone === undefined
      ? `There is no deployment ${id}.\n`
      : `The deployment ${id} was deleted${flags.hard ? '' : '. `oriel deployments undelete` restores it within 7 days'}.\n`,
  )
}

/** `oriel deployments undelete`. @throws OrielError as `deploy` does */
export async function undeleteDeployment(name: string, given: DeploymentFlags): Promise<void> {
  const { id, flags } = deploymentNamed(name, given)
  const { send, one } = clientOf(flags)
  const restored = await send('POST', one(`${id}:undelete`), deployment, {})
  tell(await settled(restored, flags), flags, 'was restored')
}

/** Ids of deployments on the server of this machine, for completion. */
export async function deploymentIds(): Promise<string[]> {
  const { send, one } = clientOf({ account: '-' })
  const found = await send('GET', one(undefined, '?pageSize=200'), page).catch(() => undefined)
  return found?.deployments.map(({ name }) => shortOf(name)) ?? []
}

function clientOf({ server, account = ownAccount }: DeploymentFlags) {
  const url = server ?? urlHere(configOf({}).server)
  const base = `/v1/accounts/${encodeURIComponent(account)}/deployments`
  return {
    send: <Schema extends z.ZodType>(method: Method, path: string, schema: Schema, body?: object) =>
      askServer(method, url, path, schema, body),
    one: (id?: string, query = ''): string =>
      `${base}${id === undefined ? '' : `/${id.split(':').map(encodeURIComponent).join(':')}`}${query}`,
  }
}

type Method = Parameters<typeof askServer>[0]

/** What there is; undefined: the server knows nothing of this name. */
const found = <T>(asking: Promise<T>): Promise<T | undefined> =>
  asking.catch((error: unknown) => {
    if (error instanceof OrielError && error.code === 'deployment_not_found') return undefined
    throw error
  })

/** With `--wait`, when its replicas are ready. @throws OrielError that they cannot be, or will not: somebody has deleted it */
async function settled(shown: Shown, flags: DeploymentFlags): Promise<Shown> {
  const { send, one } = clientOf(flags)
  let last = shown
  while (flags.wait && last.state !== 'READY') {
    if (last.state === 'FAILED') throw new OrielError('precondition_failed', last.status.message)
    if (isDeleted(last)) throw new OrielError('not_found', `The deployment ${shortOf(last.name)} was deleted.`)
    await pause(pollMs)
    last = await send('GET', one(shortOf(last.name)), deployment)
  }
  return last
}

/** It can be restored for some days, in which nothing else becomes of it. */
const isDeleted = ({ state }: Shown): boolean => state === 'DELETED' || state === 'DELETING'

function tell(shown: Shown, { json }: DeploymentFlags, what: string): void {
  if (json) return void process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`)
  process.stdout.write(`The deployment ${shortOf(shown.name)} ${what}.\n${table(rowsOf(shown))}`)
}

const rowsOf = (shown: Shown): string[][] =>
  [
    ['name', shown.name],
    ['title', shown.displayName],
    ['model', shown.baseModel],
    ['state', shown.state],
    ['reason', shown.status.message],
    [
      'replicas',
      `${shown.replicaCount} of ${shown.desiredReplicaCount}, from ${shown.minReplicaCount} to ${shown.maxReplicaCount}`,
    ],
  ].filter(([, text]) => text !== '')

/** `eyes` of `accounts/acme/deployments/eyes`. */
const shortOf = (name: string): string => name.replace(/^accounts\/[^/]+\/deployments\//, '')
