import { z } from 'zod'
import type { ListedModel } from '../../deployments/index.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { invalidValue, parseBody } from '../request/validation.ts'
import { createdAt, isFor, isHere, ownModel } from './listed.ts'

/** A model as Fireworks' control plane describes it. */
export const accountModel = z.strictObject({
  name: z.string().describe('`accounts/{account}/models/{id}`, which requests may use.'),
  displayName: z.string(),
  description: z.string(),
  createTime: z.iso.datetime(),
  kind: z.literal('HF_BASE_MODEL'),
  state: z.enum(['READY', 'STATE_UNSPECIFIED']).describe('Not `READY`: its files are not on this server.'),
  status: z.strictObject({ code: z.enum(['OK', 'FAILED_PRECONDITION']), message: z.string() }),
  public: z.boolean(),
  contextLength: z.int(),
  conversationConfig: z.strictObject({ style: z.literal('jinja') }),
  supportsImageInput: z.boolean(),
  supportsTools: z.boolean(),
  supportsLora: z.literal(false),
  tunable: z.literal(false),
})

export const accountModelList = z.strictObject({
  models: z.array(accountModel),
  nextPageToken: z.string().describe('Empty on the last page.'),
  totalSize: z.int(),
})

/** Models of a page, at most and without `pageSize`. */
const [mostOnPage, usualOnPage] = [200, 50]

const whole = z.string().regex(/^\d{1,9}$/, { error: 'must be a whole number' })

const pageQuery = z.object({ pageSize: whole.optional(), pageToken: whole.or(z.literal('')).optional() })

/** Models belong to the server, not to an account: whatever account the URL names has those that the key may use. */
export const accountModelsEndpoint: Endpoint = {
  method: 'GET',
  path: '/{account}/models',
  pattern: '/:account/models',
  tag: 'Fireworks',
  summary: 'List the models of this server as models of an account',
  query: [
    { name: 'pageSize', description: `Models of a page: up to ${mostOnPage}. Default: ${usualOnPage}.` },
    { name: 'pageToken', description: 'The nextPageToken of the page before.' },
  ],
  answer: accountModelList,
  handler:
    ({ services: { deployments } }) =>
    async ({ params, query, identity }): Promise<z.output<typeof accountModelList>> => {
      const { pageSize, pageToken } = parseBody(pageQuery, query)
      const size = Math.min(Number(pageSize) || usualOnPage, mostOnPage)
      const from = Number(pageToken ?? 0)
      const here = (await deployments.list()).filter(isHere).filter(isFor(identity))
      if (from > here.length) throw invalidValue('pageToken', 'pageToken is not the token of a page.')
      return {
        models: here.slice(from, from + size).map((model) => inAccount(model, accountOf(params))),
        nextPageToken: from + size < here.length ? String(from + size) : '',
        totalSize: here.length,
      }
    },
}

/** A model id may contain slashes. */
export const accountModelEndpoint: Endpoint = {
  method: 'GET',
  path: '/{account}/models/{model}',
  pattern: '/:account/models/*',
  tag: 'Fireworks',
  summary: 'Get one model of an account',
  answer: accountModel,
  handler:
    ({ services: { deployments } }) =>
    async ({ params, identity }) => {
      const name = (params as { '*': string })['*']
      return inAccount(await ownModel(identity, name, () => deployments.describe(name)), accountOf(params))
    },
}

const accountOf = (params: unknown): string => (params as { account: string }).account

function inAccount(model: ListedModel, account: string): z.output<typeof accountModel> {
  const { id, title, description, error, contextTokens, inputs, tools } = model
  return {
    name: `accounts/${account}/models/${id}`,
    displayName: title,
    description,
    createTime: createdAt(model),
    kind: 'HF_BASE_MODEL',
    state: isHere(model) ? 'READY' : 'STATE_UNSPECIFIED',
    status: error === null ? { code: 'OK', message: '' } : { code: 'FAILED_PRECONDITION', message: error },
    public: true,
    contextLength: contextTokens,
    conversationConfig: { style: 'jinja' },
    supportsImageInput: inputs.includes('image'),
    supportsTools: tools,
    supportsLora: false,
    tunable: false,
  }
}
