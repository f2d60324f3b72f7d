import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { type Dataset, datasetReport, problem, problemsText } from '../../tuning/index.ts'
import { onDisk } from '../administration/on-disk.ts'
import type { AnswerServices } from '../answering/answer.ts'
import { readFileForm } from '../body/file-form.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { checkedSoon } from '../files/checked-soon.ts'
import { type UploadedFile, uploadedFile } from '../files/uploaded-file.ts'
import { describeIgnored } from '../headers.ts'
import { isoOf } from '../request/moment.ts'
import { invalidValue, optional } from '../request/validation.ts'
import {
  accountIn,
  ignoredIn,
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
import { signedUrl } from './transfers.ts'
import { downloadEndpoint, uploadEndpoint } from './uploads.ts'

const time = z.iso.datetime()

/** A dataset as Fireworks' control plane describes it, with what was found in its lines. */
export const dataset = z.strictObject({
  name: z.string().describe('`accounts/{account}/datasets/{id}`, which jobs may use.'),
  displayName: z.string(),
  createTime: time,
  updateTime: time,
  state: z.enum(['UPLOADING', 'READY']),
  status: z
    .strictObject({ code: z.enum(['OK', 'INVALID_ARGUMENT']), message: z.string() })
    .describe('`INVALID_ARGUMENT`: its file cannot be used, and why.'),
  format: z.literal('CHAT'),
  exampleCount: z.string(),
  averageTurnCount: z.number().optional(),
  userUploaded: z.strictObject({}),
  report: datasetReport.nullable().describe('What its lines have. It is none of Fireworks.'),
  problems: z.array(problem).describe('The first lines that cannot be used. It is none of Fireworks.'),
})
type Shown = z.output<typeof dataset>

export const datasetList = listOf('datasets', dataset)

const formats = ['FORMAT_UNSPECIFIED', 'CHAT', 'COMPLETION', 'RL'] as const
const whole = z.string().regex(/^\d{1,15}$/, { error: 'must be a whole number as text' })

const properties = z.object({
  displayName: optional(z.string().max(63), 'For people.'),
  format: optional(z.enum(formats), 'Of its lines. `CHAT` is what there is here.'),
  userUploaded: optional(z.looseObject({}), 'That its file will be sent. It has no effect.'),
  exampleCount: optional(whole, 'It has no effect: examples are counted.'),
  externalUrl: optional(z.string(), 'Not supported: files are sent.'),
})

const newDataset = z.object({
  datasetId: z.string().describe("1 to 63 small letters, digits and '-'."),
  dataset: optional(properties, 'What it is.'),
  sourceDatasetId: optional(z.string(), 'Not supported.'),
  filter: optional(z.string(), 'It has no effect.'),
})

const announced = z.object({
  filenameToSize: z
    .record(z.string(), z.union([z.int().min(0), whole]))
    .describe('The bytes of the file. A dataset has one.'),
  readMask: optional(z.string(), 'It has no effect.'),
})

const nothing = z.strictObject({})

const all = {
  ...place,
  scope: 'inference',
  path: '/accounts/{account}/datasets',
  pattern: '/accounts/:account/datasets',
} as const
const one = { ...all, path: `${all.path}/{dataset}`, pattern: `${all.pattern}/:dataset` } as const
const verb = (word: string) => ({
  ...all,
  path: `${one.path}:${word}`,
  pattern: `${all.pattern}/:dataset(^[^:/]+)::${word}`,
})

/** `/accounts/{account}/datasets`: each account has its own. They are created, their file is sent, and its lines are checked. */
export const datasetEndpoints: readonly Endpoint[] = [
  {
    ...all,
    method: 'GET',
    summary: 'List the datasets of an account, the oldest first; of all with `-`',
    query: listParameters,
    answer: datasetList,
    handler: onDisk(async (request, { tuning }): Promise<z.output<typeof datasetList>> => {
      const isListed = listed(request)
      const found = (await tuning.datasets.list()).filter(({ account }) => isListed(account))
      const { entries, ...page } = pageOf<Shown>(request, found.map(shown))
      return { datasets: entries, ...page }
    }),
  },
  {
    ...all,
    method: 'POST',
    summary: 'Begin a dataset, whose file is sent next',
    body: newDataset,
    answer: dataset,
    handler: onDisk(async (request, { tuning }, { reply, options }): Promise<Shown> => {
      const account = accountIn(request)
      const { datasetId: id, dataset: given, sourceDatasetId } = readWanted(newDataset, request, reply, options)
      if (sourceDatasetId) throw notMade('sourceDatasetId', 'Datasets are not made of others')
      if (given?.externalUrl) throw notMade('dataset.externalUrl', 'Files are not fetched from elsewhere')
      const { format } = given ?? {}
      if (format === 'COMPLETION' || format === 'RL')
        throw notMade('dataset.format', `Datasets of ${format} are not used`)
      describeIgnored(reply, ignoredIn(newDataset, { field: 'dataset', schema: properties }, request.body, options))
      return shown(await tuning.datasets.create(account, { id, displayName: given?.displayName ?? '' }))
    }),
  },
  {
    ...one,
    method: 'GET',
    summary: 'Get a dataset, with what was found in its lines',
    query: readMaskParameter,
    answer: dataset,
    handler: onDisk(async (request, services) =>
      masked(shown(await datasetIn(request, services)), readMaskOf(request)),
    ),
  },
  {
    ...one,
    method: 'PATCH',
    summary: 'Change the displayName of a dataset. Nothing else can be changed',
    body: properties,
    answer: dataset,
    handler: onDisk(async (request, services, { reply, options }): Promise<Shown> => {
      const found = await datasetIn(request, services)
      const { displayName } = readWanted(properties, request, reply, options)
      if (displayName === undefined || displayName === null) return shown(found)
      return shown(await services.tuning.datasets.rename(found, displayName))
    }),
  },
  {
    ...one,
    method: 'DELETE',
    summary: 'Delete a dataset with its file',
    answer: nothing,
    handler: onDisk(async (request, services): Promise<z.output<typeof nothing>> => {
      await services.tuning.datasets.remove(await datasetIn(request, services))
      return {}
    }),
  },
  {
    ...verb('upload'),
    method: 'POST',
    takes: 'arriving-form',
    body: z.object({ file: z.string().describe('JSONL, with an example in each line.') }),
    summary: 'Send the file of a dataset as a form, and check its lines',
    answer: uploadedFile,
    handler: onDisk(async (request, services): Promise<UploadedFile> => {
      const { datasets } = services.tuning
      const found = await datasetIn(request, services)
      let received = found
      await readFileForm(request, async ({ name, source }) => {
        received = await datasets.receive(found, { name: fileName(name), bytes: null }, source)
      })
      await checkedSoon(datasets.finish(received))
      return {
        ...{ id: received.id, object: 'file', purpose: 'fine-tune', bytes: received.file?.bytes ?? 0 },
        ...{ created_at: Math.floor(received.created / 1000), filename: received.file?.name ?? '' },
      }
    }),
  },
  {
    ...verb('getUploadEndpoint'),
    method: 'POST',
    summary: 'Announce the file of a dataset, and get the URL to PUT it',
    body: announced,
    answer: uploadEndpoint,
    handler: onDisk(async (request, services, { reply, options }): Promise<z.output<typeof uploadEndpoint>> => {
      const found = await datasetIn(request, services)
      const { filenameToSize } = readWanted(announced, request, reply, options)
      const [file, ...others] = Object.entries(filenameToSize)
      if (file === undefined || others.length > 0)
        throw invalidValue('filenameToSize', `A dataset has one file; found ${Object.keys(filenameToSize).length}.`)
      const [name, bytes] = [fileName(file[0]), Number(file[1])]
      const { account, id, uid } = await services.tuning.datasets.announce(found, { name, bytes })
      const url = signedUrl(request, { does: 'send_dataset', account, dataset: id, uid, file: name, bytes })
      return { filenameToSignedUrls: { [name]: url } }
    }),
  },
  {
    ...verb('validateUpload'),
    method: 'POST',
    summary: 'Check the lines of the file that was sent. If they can be used, the dataset is READY from then on',
    answer: nothing,
    handler: onDisk(async (request, services): Promise<z.output<typeof nothing>> => {
      await checkedSoon(services.tuning.datasets.finish(await datasetIn(request, services)))
      return {}
    }),
  },
  {
    ...verb('getDownloadEndpoint'),
    method: 'GET',
    summary: 'Get the URL of the file of a dataset',
    answer: downloadEndpoint,
    handler: onDisk(async (request, services): Promise<z.output<typeof downloadEndpoint>> => {
      const found = await datasetIn(request, services)
      const { name } = await services.tuning.datasets.file(found)
      const { account, id, uid } = found
      const url = signedUrl(request, { does: 'fetch_dataset', account, dataset: id, uid, file: name })
      return { filenameToSignedUrls: { [name]: url } }
    }),
  },
]

/** The dataset that the path of a request names. @throws OrielError `not_found`; `forbidden` */
const datasetIn = (request: FastifyRequest, { tuning }: AnswerServices): Promise<Dataset> =>
  tuning.datasets.find(accountIn(request), paramOf(request, 'dataset'))

/** @throws OrielError `invalid` */
function fileName(name: string): string {
  if (/^[^/\\\p{Cc}\p{Cs}]{1,200}$/u.test(name)) return name
  throw invalidValue('file', 'The name of a file has 1 to 200 characters, none of them a slash.')
}

const notMade = (param: string, what: string): OrielError =>
  new OrielError('invalid', `${what} here: create a dataset and send its file.`, { param, code: 'not_here' })

function shown({ account, id, displayName, created, updated, state, report, problems, invalid }: Dataset): Shown {
  const isInvalid = state === 'invalid'
  return {
    name: `accounts/${account}/datasets/${id}`,
    displayName,
    createTime: isoOf(created),
    updateTime: isoOf(updated),
    state: state === 'ready' ? 'READY' : 'UPLOADING',
    status: {
      code: isInvalid ? 'INVALID_ARGUMENT' : 'OK',
      message: isInvalid
        ? problemsText({ problems, invalid })
        : state === 'checking'
          ? 'Its lines are being checked.'
          : '',
    },
    format: 'CHAT',
    exampleCount: String(report?.examples ?? 0),
    ...(report !== null && report.examples > 0 && { averageTurnCount: report.turns / report.examples }),
    userUploaded: {},
    report,
    problems: [...problems],
  }
}
