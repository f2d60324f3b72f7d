import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { type Dataset, problemsText, type TuningJob } from '../../tuning/index.ts'
import { onDisk } from '../administration/on-disk.ts'
import type { AnswerServices } from '../answering/answer.ts'
import { readFileForm } from '../body/file-form.ts'
import { mayReach, paramOf } from '../control/resources.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { describeIgnored } from '../headers.ts'
import { invalidValue, parseStrictly } from '../request/validation.ts'
import { checkedSoon } from './checked-soon.ts'
import { uploadedFile } from './uploaded-file.ts'

/** A file as OpenAI's API describes it. Each is a dataset. */
export const file = uploadedFile.extend({
  status: z.enum(['uploaded', 'processed', 'error']).describe('`processed`: jobs may use it.'),
  status_details: z.string().optional().describe('Why it cannot be used.'),
})
type File = z.output<typeof file>

export const fileList = z.strictObject({
  object: z.literal('list'),
  data: z.array(file),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
})
export const deletedFile = z.strictObject({ id: z.string(), object: z.literal('file'), deleted: z.literal(true) })

const form = z.object({
  file: z.string().describe('The file: JSONL, with an example in each line.'),
  purpose: z.literal('fine-tune'),
})

const whole = z.string().regex(/^\d{1,5}$/, { error: 'must be a whole number' })
const listQuery = z.object({
  purpose: z.string().optional(),
  limit: whole.optional(),
  after: z.string().optional(),
  order: z.enum(['asc', 'desc']).optional(),
})

/** Files of a page, at most and without `limit`. */
const mostOnPage = 10_000

const all = { tag: 'OpenAI', scope: 'inference', path: '/files' } as const
const one = { ...all, path: '/files/{file}', pattern: '/files/:file' } as const

/** OpenAI's files: the datasets of an account by another door. */
export const fileEndpoints: readonly Endpoint[] = [
  {
    ...all,
    method: 'POST',
    takes: 'arriving-form',
    body: form,
    summary: 'Send a dataset as a file with the purpose fine-tune, and check its lines',
    answer: file,
    handler: onDisk(async (request, { tuning: { datasets } }, { reply }): Promise<File> => {
      let created: Dataset | undefined
      try {
        const fields = await readFileForm(request, async ({ name, source }) => {
          const plain = plainName(name)
          created = await datasets.create(request.identity.account, { displayName: plain.slice(0, 63) })
          created = await datasets.receive(created, { name: plain, bytes: null }, source)
        })
        const { purpose, ...others } = fields
        if (purpose !== 'fine-tune')
          throw invalidValue(
            'purpose',
            `purpose must be "fine-tune"; found ${JSON.stringify(purpose?.slice(0, 40) ?? null)}.`,
          )
        describeIgnored(reply, Object.keys(others))
        if (created === undefined) throw new Error('a file was received and is no dataset')
        return shown(
          (await checkedSoon(datasets.finish(created))) ?? (await datasets.find(created.account, created.id)),
        )
      } catch (error) {
        // A client that is told that its file cannot be used has none.
        if (created !== undefined) await datasets.remove(created).catch(() => {})
        throw error
      }
    }),
  },
  {
    ...all,
    method: 'GET',
    summary: 'List files, the newest first',
    query: [
      { name: 'purpose', description: '`fine-tune`: others there are none.' },
      { name: 'limit', description: `Files of a page: up to ${mostOnPage}, which is the default.` },
      { name: 'after', description: 'The last id of the page before.' },
      { name: 'order', description: '`asc`, `desc`: by the time of creation. Default: `desc`.' },
    ],
    answer: fileList,
    handler: onDisk(async (request, { tuning }): Promise<z.output<typeof fileList>> => {
      const { purpose = 'fine-tune', limit, after, order = 'desc' } = parseStrictly(listQuery, request.query)
      const own = (await tuning.datasets.list()).filter(({ account }) => mayReach(request.identity, account))
      const found = (purpose === 'fine-tune' ? own : []).filter(({ file }) => file !== null).map(shown)
      if (order === 'desc') found.reverse()
      const from = after === undefined ? 0 : found.findIndex(({ id }) => id === after) + 1
      if (after !== undefined && from === 0) throw noFile(after)
      const size = Math.min(Math.max(1, Number(limit ?? mostOnPage)), mostOnPage)
      const data = found.slice(from, from + size)
      return {
        ...{ object: 'list', data, has_more: from + size < found.length },
        ...{ first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null },
      }
    }),
  },
  {
    ...one,
    method: 'GET',
    summary: 'Get a file',
    answer: file,
    handler: onDisk(async (request, services): Promise<File> => {
      const job = await jobOf(request, services)
      if (job === undefined) return shown(await fileIn(request, services))
      const { bytes } = await services.tuning.jobs.historyFile(job)
      return {
        ...{ id: metricsFileOf(job), object: 'file', purpose: 'fine-tune-results', bytes, filename: 'metrics.jsonl' },
        ...{ created_at: Math.floor(job.created / 1000), status: 'processed' },
      }
    }),
  },
  {
    ...one,
    method: 'DELETE',
    summary: 'Delete a file',
    answer: deletedFile,
    handler: onDisk(async (request, services): Promise<z.output<typeof deletedFile>> => {
      const found = await fileIn(request, services)
      await services.tuning.datasets.remove(found)
      return { id: idOf(found), object: 'file', deleted: true }
    }),
  },
  {
    ...one,
    path: `${one.path}/content`,
    pattern: `${one.pattern}/content`,
    method: 'GET',
    summary: 'Get what is in a file',
    answer: null,
    otherType: 'application/octet-stream',
    handler: onDisk(async (request, services, { reply }) => {
      const { tuning } = services
      const job = await jobOf(request, services)
      const { bytes, open } = await (job === undefined
        ? tuning.datasets.file(await fileIn(request, services))
        : tuning.jobs.historyFile(job))
      return reply
        .headers({ 'content-length': bytes, 'content-disposition': 'attachment' })
        .type('application/octet-stream')
        .send(open())
    }),
  },
]

/** A name as files may have one on every system. */
const plainName = (name: string): string => name.slice(0, 200).replace(/[\p{Cc}\p{Cs}/\\]/gu, '_') || 'data.jsonl'

const metricsFile = 'file-metrics-'

/** The file of what happened in a job, as lines of JSON. */
export const metricsFileOf = ({ id }: Pick<TuningJob, 'id'>): string => `${metricsFile}${id}`

/** The job of which a request names that file. */
async function jobOf(request: FastifyRequest, { tuning }: AnswerServices): Promise<TuningJob | undefined> {
  const id = paramOf(request, 'file')
  if (!id.startsWith(metricsFile)) return undefined
  const jobs = (await tuning.jobs.list()).filter(({ account }) => mayReach(request.identity, account))
  return jobs.find((job) => metricsFileOf(job) === id)
}

const idOf = ({ uid }: Dataset): string => `file-${uid}`

/** The file that a request names, if who asks may see it. @throws OrielError `not_found` */
export async function findFile(
  { identity }: Pick<FastifyRequest, 'identity'>,
  id: string,
  { tuning }: AnswerServices,
): Promise<Dataset> {
  const found = id.startsWith('file-') ? await tuning.datasets.withUid(id.slice('file-'.length)) : undefined
  if (found === undefined || !mayReach(identity, found.account)) throw noFile(id)
  return found
}

const fileIn = (request: FastifyRequest, services: AnswerServices): Promise<Dataset> =>
  findFile(request, paramOf(request, 'file'), services)

const noFile = (id: string): OrielError =>
  new OrielError('not_found', `There is no file ${JSON.stringify(id.slice(0, 100))}.`, {
    param: 'id',
    code: 'file_not_found',
  })

function shown(dataset: Dataset): File {
  const { file, created, state } = dataset
  return {
    ...{ id: idOf(dataset), object: 'file', purpose: 'fine-tune' },
    bytes: file?.bytes ?? 0,
    created_at: Math.floor(created / 1000),
    filename: file?.name ?? '',
    status: state === 'ready' ? 'processed' : state === 'invalid' ? 'error' : 'uploaded',
    ...(state === 'invalid' && { status_details: problemsText(dataset) }),
  }
}
