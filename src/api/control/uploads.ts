import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { isCalled } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { Upload } from '../../machine/index.ts'
import { onDisk } from '../administration/on-disk.ts'
import type { AnswerServices } from '../answering/answer.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { describeIgnored } from '../headers.ts'
import { ownModel } from '../models/listed.ts'
import { isoOf } from '../request/moment.ts'
import { optional, parseBody } from '../request/validation.ts'
import { accountIn, ignoredIn, paramOf, place, readWanted } from './resources.ts'
import { signedUrl } from './transfers.ts'

/** A model or an adapter that is being uploaded, as Fireworks' control plane describes it. */
export const uploadedModel = z.strictObject({
  name: z.string(),
  displayName: z.string(),
  createTime: z.iso.datetime(),
  kind: z.enum(['HF_BASE_MODEL', 'HF_PEFT_ADDON']),
  state: z.literal('UPLOADING'),
  status: z.strictObject({ code: z.enum(['OK', 'FAILED_PRECONDITION']), message: z.string() }),
  public: z.literal(true),
})

const kinds = ['HF_PEFT_ADDON', 'HF_BASE_MODEL', 'EMBEDDING_MODEL', 'KIND_UNSPECIFIED'] as const

const properties = z.object({
  kind: optional(z.enum(kinds), 'A model in GGUF: `HF_BASE_MODEL`. Default: `HF_PEFT_ADDON`, an adapter.'),
  peftDetails: optional(
    z.object({ baseModel: optional(z.string().max(300), 'The model that it is for. Default: its files tell.') }),
    'Of an adapter.',
  ),
})

const newModel = z.object({
  modelId: z.string().describe('1 to 63 small letters, digits, `.`, `_` and `-`.'),
  model: optional(properties, 'What it is.'),
})

const announced = z.object({
  filenameToSize: z
    .record(
      z.string(),
      z.union([z.int().min(0), z.string().regex(/^\d{1,15}$/, { error: 'must be a number of bytes' })]),
    )
    .describe('The bytes of each file.'),
  enableResumableUpload: optional(z.boolean(), 'Not supported: `false`.'),
  readMask: optional(z.string(), 'It has no effect.'),
})

const urls = z.record(z.string(), z.string())
export const uploadEndpoint = z.strictObject({ filenameToSignedUrls: urls })
export const downloadEndpoint = z.strictObject({ filenameToSignedUrls: urls })
export const uploadValidation = z.strictObject({ warnings: z.array(z.string()) })

const verb = (word: string) => ({
  ...place,
  scope: 'admin' as const,
  path: `/accounts/{account}/models/{model}:${word}`,
  pattern: `/accounts/:account/models/:model(^[^/]+)::${word}`,
})

/** Models and adapters that come from clients, and go to them. They are created, sent file by file, and checked. */
export const uploadEndpoints: readonly Endpoint[] = [
  {
    ...place,
    method: 'POST',
    scope: 'admin',
    path: '/accounts/{account}/models',
    pattern: '/accounts/:account/models',
    summary: 'Begin to upload a model in GGUF, or an adapter in the format of PEFT or in GGUF',
    query: [{ name: 'validateOnly', description: '`true`: only answer what would be created.' }],
    body: newModel,
    answer: uploadedModel,
    handler: onDisk(
      async (request, { machine, deployments }, { reply, options }): Promise<z.output<typeof uploadedModel>> => {
        const account = accountIn(request)
        const { validateOnly } = parseBody(createQuery, request.query)
        const { modelId: model, model: given } = readWanted(newModel, request, reply, options)
        describeIgnored(reply, ignoredIn(newModel, { field: 'model', schema: properties }, request.body, options))
        const { kind, peftDetails } = given ?? {}
        const isModel = kind === 'HF_BASE_MODEL' || kind === 'EMBEDDING_MODEL'
        const base = isModel ? null : (peftDetails?.baseModel?.replace(/^accounts\/[^/]+\/models\//, '') ?? null)
        await refuseTaken(model, deployments)
        const wanted = { model, account, kind: isModel ? 'model' : 'adapter', base } as const
        return shownUpload(await machine.uploads.begin(wanted, { dryRun: validateOnly === 'true' }))
      },
    ),
  },
  {
    ...verb('getUploadEndpoint'),
    method: 'POST',
    summary: 'Announce files of an upload, and get the URLs to PUT them',
    body: announced,
    answer: uploadEndpoint,
    handler: onDisk(async (request, services, { reply, options }): Promise<z.output<typeof uploadEndpoint>> => {
      const upload = await uploadIn(request, services)
      const { filenameToSize, enableResumableUpload } = readWanted(announced, request, reply, options)
      if (enableResumableUpload === true)
        throw new OrielError('not_implemented', 'Files are uploaded in one piece here, each with one PUT.', {
          param: 'enableResumableUpload',
          code: 'not_here',
        })
      const sizes = Object.fromEntries(Object.entries(filenameToSize).map(([file, bytes]) => [file, Number(bytes)]))
      const { id, model } = await services.machine.uploads.announce(upload, sizes)
      const signed = Object.entries(sizes).map(([file, bytes]) => [
        file,
        signedUrl(request, { does: 'send', upload: id, model, file, bytes }),
      ])
      return { filenameToSignedUrls: Object.fromEntries(signed) }
    }),
  },
  {
    ...verb('validateUpload'),
    method: 'GET',
    summary: 'Check the files of an upload. If they can be used, it is a model or an adapter from then on',
    answer: uploadValidation,
    handler: onDisk(async (request, services): Promise<z.output<typeof uploadValidation>> => {
      const [name, { machine, deployments }] = [paramOf(request, 'model'), services]
      const upload = await machine.uploads.find(accountIn(request), name)
      if (upload !== undefined) await machine.uploads.finish(upload)
      // It may have been checked before.
      else await needModel(request, name, deployments)
      return { warnings: [] }
    }),
  },
  {
    ...verb('getDownloadEndpoint'),
    method: 'GET',
    summary: 'Get the URLs of the files of a model or an adapter',
    answer: downloadEndpoint,
    handler: onDisk(async (request, { machine, deployments }): Promise<z.output<typeof downloadEndpoint>> => {
      const name = paramOf(request, 'model')
      await needModel(request, name, deployments)
      const signed = (await machine.files(name)).map(({ name: file }) => [
        file,
        signedUrl(request, { does: 'fetch', model: name, file }),
      ])
      return { filenameToSignedUrls: Object.fromEntries(signed) }
    }),
  },
  ...(
    [
      ['PATCH', { ...place, path: '/accounts/{account}/models/{model}', pattern: '/accounts/:account/models/*' }],
      ['POST', verb('prepare')],
    ] as const
  ).map(
    ([method, where]): Endpoint => ({
      ...where,
      method,
      scope: 'admin',
      isHidden: true,
      summary: 'Models are what their files say',
      answer: null,
      handler: () => async () => {
        throw new OrielError(
          'not_implemented',
          'A model is what its files say here: nothing else of it can be changed.',
          {
            code: 'not_here',
          },
        )
      },
    }),
  ),
]

const createQuery = z.object({ validateOnly: z.enum(['true', 'false']).optional() })

/** @throws OrielError `conflict` if a model, an adapter or an entry of the catalogue has the name */
async function refuseTaken(name: string, deployments: AnswerServices['deployments']): Promise<void> {
  const [models, adapters] = await Promise.all([deployments.list(), deployments.adapters()])
  if (![...models, ...adapters].some((one) => isCalled(one, name))) return
  throw new OrielError('conflict', `There is a model with the name ${name}.`, {
    param: 'modelId',
    code: 'model_exists',
  })
}

/** @throws OrielError `not_found`, `forbidden` */
async function needModel(
  request: FastifyRequest,
  name: string,
  deployments: AnswerServices['deployments'],
): Promise<void> {
  const adapters = await deployments.adapters()
  if (adapters.some((one) => isCalled(one, name))) return
  await ownModel(request.identity, name, () => deployments.describe(name))
}

/** The upload that the path of a request names. @throws OrielError `not_found`; `forbidden` */
async function uploadIn(request: FastifyRequest, { machine }: AnswerServices): Promise<Upload> {
  const name = paramOf(request, 'model')
  const upload = await machine.uploads.find(accountIn(request), name)
  if (upload === undefined)
    throw new OrielError('not_found', `${JSON.stringify(name.slice(0, 100))} is not being uploaded. Create it first.`, {
      code: 'upload_not_found',
    })
  return upload
}

export const shownUpload = ({ account, model, kind, created, error }: Upload): z.output<typeof uploadedModel> => ({
  name: `accounts/${account}/models/${model}`,
  displayName: model,
  createTime: isoOf(created),
  kind: kind === 'model' ? 'HF_BASE_MODEL' : 'HF_PEFT_ADDON',
  state: 'UPLOADING',
  status: error === null ? { code: 'OK', message: '' } : { code: 'FAILED_PRECONDITION', message: error },
  public: true,
})
