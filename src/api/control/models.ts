import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { type Identity, mayUse } from '../../accounts/index.ts'
import type { Adapter, DeployedModel, ListedModel } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { Upload } from '../../machine/index.ts'
import { onDisk } from '../administration/on-disk.ts'
import type { AnswerServices } from '../answering/answer.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { createdAt, isFor, isHere, ownModel } from '../models/listed.ts'
import { isoOf } from '../request/moment.ts'
import { reference } from './deployed-models.ts'
import {
  listOf,
  listParameters,
  masked,
  mayReach,
  pageOf,
  paramOf,
  place,
  readMaskOf,
  readMaskParameter,
} from './resources.ts'
import { shownUpload, uploadedModel } from './uploads.ts'

const common = {
  name: z.string().describe('`accounts/{account}/models/{id}`, which requests may use.'),
  displayName: z.string(),
  description: z.string(),
  createTime: z.iso.datetime(),
  state: z.enum(['READY', 'STATE_UNSPECIFIED']).describe('Not `READY`: its files are not on this server.'),
  status: z.strictObject({ code: z.enum(['OK', 'FAILED_PRECONDITION']), message: z.string() }),
  public: z.boolean(),
  supportsLora: z.boolean(),
  tunable: z.boolean().describe('Whether a fine-tuning job could train it.'),
  deployedModelRefs: z.array(reference).optional().describe('On which deployments an adapter is. Of one model only.'),
}

const baseModel = z.strictObject({
  ...common,
  kind: z.enum(['HF_BASE_MODEL', 'EMBEDDING_MODEL']),
  contextLength: z.int(),
  conversationConfig: z.strictObject({ style: z.literal('jinja') }),
  supportsImageInput: z.boolean(),
  supportsTools: z.boolean(),
})

const addon = z.strictObject({
  ...common,
  kind: z.literal('HF_PEFT_ADDON'),
  peftDetails: z.strictObject({ baseModel: z.string(), r: z.int(), targetModules: z.array(z.string()) }),
})

/** A model or an adapter as Fireworks' control plane describes it. */
export const accountModel = z.union([z.discriminatedUnion('kind', [baseModel, addon]), uploadedModel])
type Shown = z.output<typeof accountModel>

export const accountModelList = listOf('models', accountModel)
const nothing = z.strictObject({})

const one = { ...place, path: '/accounts/{account}/models/{model}', pattern: '/accounts/:account/models/*' } as const

/** Models belong to the server, not to an account: whatever account the URL names has those that the key may use. */
export const modelEndpoints: readonly Endpoint[] = [
  {
    ...place,
    method: 'GET',
    path: '/accounts/{account}/models',
    pattern: '/accounts/:account/models',
    summary: 'List the models and adapters of this server as models of an account',
    query: listParameters,
    answer: accountModelList,
    handler:
      ({ services: { deployments, machine, tuning } }) =>
      async (request): Promise<z.output<typeof accountModelList>> => {
        const account = paramOf(request, 'account')
        const uploads = (await machine.uploads.list()).filter(
          (one) => mayReach(request.identity, one.account) && ['-', one.account].includes(account),
        )
        const models = (await deployments.list()).filter(isHere).filter(isFor(request.identity))
        const adapters = (await deployments.adapters()).filter(isUsable(request.identity))
        const tunable = await Promise.all(models.map(({ id }) => tuning.jobs.canTrain(id)))
        const { entries, ...page } = pageOf<Shown>(request, [
          ...models.map((model, at) => shown(model, account, tunable[at] === true)),
          ...adapters.map((adapter) => shownAdapter(adapter, account)),
          ...uploads.map(shownUpload),
        ])
        return { models: entries, ...page }
      },
  },
  {
    ...one,
    method: 'GET',
    summary: 'Get one model or adapter of an account. Its id may have slashes',
    query: readMaskParameter,
    answer: accountModel,
    handler:
      ({ services }) =>
      async (request) => {
        const [name, account] = [paramOf(request, '*'), paramOf(request, 'account')]
        const upload = await uploadOf(request, services)
        if (upload !== undefined) return masked(shownUpload(upload), readMaskOf(request))
        const adapter = await adapterOf(request, services)
        if (adapter !== undefined) {
          const own = services.deployments.deployedModels
            .list()
            .filter((one) => one.adapter === adapter.id && mayReach(request.identity, one.account))
          return masked({ ...shownAdapter(adapter, account), deployedModelRefs: own.map(refOf) }, readMaskOf(request))
        }
        const { deployments, tuning } = services
        const model = await ownModel(request.identity, name, () => deployments.describe(name))
        return masked(shown(model, account, await tuning.jobs.canTrain(model.id)), readMaskOf(request))
      },
  },
  {
    ...one,
    method: 'DELETE',
    scope: 'admin',
    summary: 'Remove the files of a model that is not in memory, of an adapter, or of an upload',
    answer: nothing,
    handler: onDisk(async (request, services): Promise<z.output<typeof nothing>> => {
      const [name, { machine, deployments }] = [paramOf(request, '*'), services]
      const upload = await uploadOf(request, services)
      if (upload !== undefined) {
        await machine.uploads.cancel(upload)
        return {}
      }
      const isDeployed = deployments.configured
        .list()
        .some(({ record }) => record.deleted === null && record.model === name)
      if (isDeployed)
        throw new OrielError('precondition_failed', `The model ${name} has a deployment. Delete that first.`, {
          code: 'model_deployed',
        })
      await machine.remove(name)
      return {}
    }),
  },
]

/** The upload that the path names, if who asks may see its account. */
async function uploadOf(request: FastifyRequest, { machine }: AnswerServices): Promise<Upload | undefined> {
  const account = paramOf(request, 'account')
  return mayReach(request.identity, account) ? machine.uploads.find(account, paramOf(request, '*')) : undefined
}

const refOf = ({ account, id, deployment, isDefault }: DeployedModel): z.output<typeof reference> => ({
  name: `accounts/${account}/deployedModels/${id}`,
  deployment: `accounts/${account}/deployments/${deployment}`,
  state: 'DEPLOYED',
  default: isDefault,
  public: false,
})

/** A key for some models may use their adapters. */
const isUsable =
  (identity: Identity) =>
  ({ fits }: Adapter): boolean =>
    fits.some((model) => mayUse(identity, model))

async function adapterOf(request: FastifyRequest, { deployments }: AnswerServices): Promise<Adapter | undefined> {
  const name = paramOf(request, '*')
  const all = await deployments.adapters()
  return all.filter(isUsable(request.identity)).find(({ id, aliases }) => id === name || aliases.includes(name))
}

function shown(model: ListedModel, account: string, tunable: boolean): z.output<typeof baseModel> {
  const { id, title, description, error, contextTokens, inputs, tools, dimensions } = model
  return {
    name: `accounts/${account}/models/${id}`,
    displayName: title,
    description,
    createTime: createdAt(model),
    kind: dimensions === undefined ? 'HF_BASE_MODEL' : 'EMBEDDING_MODEL',
    state: isHere(model) ? 'READY' : 'STATE_UNSPECIFIED',
    status: error === null ? { code: 'OK', message: '' } : { code: 'FAILED_PRECONDITION', message: error },
    public: true,
    contextLength: contextTokens,
    conversationConfig: { style: 'jinja' },
    supportsImageInput: inputs.includes('image'),
    supportsTools: tools,
    supportsLora: dimensions === undefined,
    tunable,
  }
}

const shownAdapter = ({ id, base, fits, rank, created }: Adapter, account: string): z.output<typeof addon> => ({
  name: `accounts/${account}/models/${id}`,
  displayName: id,
  description: '',
  createTime: isoOf(created * 1000),
  kind: 'HF_PEFT_ADDON',
  state: 'READY',
  status: { code: 'OK', message: '' },
  public: true,
  supportsLora: false,
  tunable: false,
  peftDetails: { baseModel: `accounts/${account}/models/${base ?? fits[0]}`, r: rank, targetModules: [] },
})
