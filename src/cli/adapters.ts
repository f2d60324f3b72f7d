import { z } from 'zod'
import { ownAccount } from '../accounts/index.ts'
import { OrielError } from '../errors.ts'
import { configOf } from '../load-config.ts'
import { deploymentNamed } from './deployment-names.ts'
import { table } from './figures.ts'
import { askServer, urlHere } from './server.ts'

interface AdapterFlags {
  server?: string
  account?: string
  json?: boolean
}

const adapter = z.object({ name: z.string(), peftDetails: z.object({ baseModel: z.string(), r: z.number() }) })
const adapterPage = z.object({ models: z.array(adapter) })
const deployed = z.object({ name: z.string(), model: z.string(), deployment: z.string(), default: z.boolean() })
const deployedPage = z.object({ deployedModels: z.array(deployed) })
const nothing = z.object({})

/** `oriel adapters list`: the adapters of a running server. @throws OrielError with one sentence for the person */
export async function listAdapters(flags: AdapterFlags): Promise<void> {
  const { send } = clientOf(flags)
  const filter = new URLSearchParams({ filter: 'kind = HF_PEFT_ADDON', pageSize: '200' })
  const [{ models }, { deployedModels }] = await Promise.all([
    send('GET', `/models?${filter}`, adapterPage),
    send('GET', '/deployedModels?pageSize=200', deployedPage, '-'),
  ])
  const adapters = models.map(({ name, peftDetails: { baseModel, r } }) => ({
    ...{ id: shortOf(name), base: shortOf(baseModel), rank: r },
    deployments: deployedModels
      .filter(({ model }) => shortOf(model) === shortOf(name))
      .map(({ deployment, default: isDefault }) => ({ deployment, default: isDefault })),
  }))
  if (flags.json) return void process.stdout.write(`${JSON.stringify({ adapters }, null, 2)}\n`)
  if (adapters.length === 0) return void process.stdout.write('The server has no adapters. `oriel pull` gets one.\n')
  const rows = adapters.map(({ id, base, rank, deployments }) => [
    ...[id, base, String(rank)],
    deployments.map((one) => `${shortOf(one.deployment)}${one.default ? ' (default)' : ''}`).join(', '),
  ])
  process.stdout.write(table([['NAME', 'MODEL', 'RANK', 'DEPLOYMENTS'], ...rows]))
}

/** `oriel adapters load`: puts an adapter on a deployment. @throws OrielError as `listAdapters` does */
export async function loadAdapter(
  name: string,
  deployment: string,
  given: AdapterFlags & { default?: boolean; replaceMergedAddon?: boolean },
): Promise<void> {
  const { id, flags } = deploymentNamed(deployment, given)
  const { send } = clientOf(flags)
  const query = flags.replaceMergedAddon ? '?replaceMergedAddon=true' : ''
  const body = { model: name, deployment: id, default: flags.default }
  const loaded = await send('POST', `/deployedModels${query}`, deployed, undefined, body)
  if (flags.json) return void process.stdout.write(`${JSON.stringify(loaded, null, 2)}\n`)
  const meant = flags.replaceMergedAddon ? `, and ${shortOf(loaded.deployment)} alone means it` : ''
  process.stdout.write(
    `The adapter ${shortOf(loaded.model)} is on the deployment ${shortOf(loaded.deployment)}${meant}.\n`,
  )
}

/** `oriel adapters unload`: one that is not there is unloaded. @throws OrielError as `listAdapters` does */
export async function unloadAdapter(name: string, deployment: string, given: AdapterFlags): Promise<void> {
  const { id: on, flags } = deploymentNamed(deployment, given)
  const { send } = clientOf(flags)
  const { deployedModels } = await send('GET', '/deployedModels?pageSize=200', deployedPage)
  const id = shortOf(name)
  const found = deployedModels.find((one) => shortOf(one.model) === id && shortOf(one.deployment) === on)
  if (found !== undefined)
    await send('DELETE', `/deployedModels/${shortOf(found.name)}`, nothing).catch((error: unknown) => {
      if (!(error instanceof OrielError) || error.kind !== 'not_found') throw error
    })
  if (flags.json) return void process.stdout.write(`${JSON.stringify({ unloaded: found !== undefined })}\n`)
  process.stdout.write(
    `The adapter ${id} ${found === undefined ? 'was not' : 'is no longer'} on the deployment ${on}.\n`,
  )
}

function clientOf({ server, account: own = ownAccount }: AdapterFlags) {
  const url = server ?? urlHere(configOf({}).server)
  return {
    send: <Schema extends z.ZodType>(
      method: Parameters<typeof askServer>[0],
      path: string,
      schema: Schema,
      account = own,
      body?: object,
    ) => askServer(method, url, `/v1/accounts/${encodeURIComponent(account)}${path}`, schema, body),
  }
}

/** What is behind `accounts/acme/models/` and its like. */
const shortOf = (name: string): string => name.replace(/^accounts\/[^/]+\/[^/]+\//, '')
