import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { type Happening, type JobState, secondsLeft, type TuningJob, usualHyperparameters } from '../../tuning/index.ts'
import { onDisk } from '../administration/on-disk.ts'
import type { AnswerServices } from '../answering/answer.ts'
import { mayReach, paramOf } from '../control/resources.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { findFile, metricsFileOf } from '../files/files.ts'
import { describeIgnored } from '../headers.ts'
import { parseBody, parseStrictly, unknownParameters } from '../request/validation.ts'
import { checkpointList, eventList, job, type jobEvent, jobList, newJob } from './schema.ts'

type Job = z.output<typeof job>

const whole = z.string().regex(/^\d{1,4}$/, { error: 'must be a whole number' })
const pageQuery = z.object({ limit: whole.optional(), after: z.string().optional() })
/** `metadata[key]=value` selects by what the client has said. */
const listQuery = z.looseObject(pageQuery.shape)

/** Entries of a page, at most and without `limit`. */
const [mostOnPage, usualOnPage] = [100, 20]

const pageParameters = [
  { name: 'limit', description: `Entries of a page: up to ${mostOnPage}. Default: ${usualOnPage}.` },
  { name: 'after', description: 'The last id of the page before.' },
]

const all = { tag: 'OpenAI', path: '/fine_tuning/jobs' } as const
const one = { tag: 'OpenAI', path: '/fine_tuning/jobs/{job}', pattern: '/fine_tuning/jobs/:job' } as const
const below = (name: string) => ({ ...one, path: `${one.path}/${name}`, pattern: `${one.pattern}/${name}` })

/** OpenAI's fine-tuning: the jobs of an account by another door. Changing is for keys of the scope admin, as there. */
export const fineTuningEndpoints: readonly Endpoint[] = [
  {
    ...all,
    method: 'POST',
    scope: 'admin',
    summary: 'Train an adapter on a file. Jobs run one after the other',
    body: newJob,
    answer: job,
    handler: onDisk(async (request, services, { reply, options }): Promise<Job> => {
      const body = parseBody(newJob, request.body ?? {})
      describeIgnored(reply, unknownParameters(newJob, (request.body ?? {}) as object, options.strict))
      const file = async (id: string, param: string) =>
        findFile(request, id, services).catch((error: unknown) => {
          throw error instanceof OrielError ? error.at(param) : error
        })
      const training = await file(body.training_file, 'training_file')
      const validation = body.validation_file == null ? undefined : await file(body.validation_file, 'validation_file')
      if (validation !== undefined && validation.account !== training.account)
        throw new OrielError('not_found', 'The files are of two accounts.', { param: 'validation_file' })
      const isAdapter = (await services.deployments.adapters()).some(
        ({ id, aliases }) => id === body.model || aliases.includes(body.model),
      )
      const { n_epochs, batch_size, learning_rate_multiplier } =
        body.method?.supervised?.hyperparameters ?? body.hyperparameters ?? {}
      const created = services.tuning.jobs.create(training.account, {
        ...(isAdapter ? { warmStart: body.model } : { base: body.model }),
        dataset: training.id,
        evaluationDataset: validation?.id,
        output: body.suffix ?? undefined,
        learningRateMultiplier: chosen(learning_rate_multiplier),
        hyperparameters: {
          ...(chosen(n_epochs) !== undefined && { epochs: chosen(n_epochs) }),
          ...(chosen(batch_size) !== undefined && { batchExamples: chosen(batch_size) }),
          ...(body.seed != null && { seed: body.seed }),
        },
        metadata: body.metadata ?? {},
      })
      return shown(await created.catch(inOpenAisWords), await fileIds(services))
    }),
  },
  {
    ...all,
    method: 'GET',
    summary: 'List fine-tuning jobs, the newest first',
    query: [...pageParameters, { name: 'metadata[key]', description: 'Only jobs whose metadata has this value.' }],
    answer: jobList,
    handler:
      ({ services }) =>
      async (request): Promise<z.output<typeof jobList>> => {
        const { limit, after, ...rest } = parseBody(listQuery, request.query)
        const wanted = Object.entries(rest).flatMap(([name, value]) => {
          const [, key] = /^metadata\[(.{1,64})\]$/.exec(name) ?? []
          return key === undefined ? [] : [{ key, value }]
        })
        const found = (await services.tuning.jobs.list())
          .filter(({ account }) => mayReach(request.identity, account))
          .filter(({ metadata }) => wanted.every(({ key, value }) => metadata[key] === value))
          .reverse()
        const files = await fileIds(services)
        return pageOf(
          found.map((one) => shown(one, files)),
          { limit, after },
        )
      },
  },
  {
    ...one,
    method: 'GET',
    summary: 'Get a fine-tuning job',
    answer: job,
    handler:
      ({ services }) =>
      async (request): Promise<Job> =>
        shown(await jobIn(request, services), await fileIds(services)),
  },
  ...(['cancel', 'pause', 'resume'] as const).map(
    (word): Endpoint => ({
      ...below(word),
      method: 'POST',
      scope: 'admin',
      summary: `${word.charAt(0).toUpperCase()}${word.slice(1)} a fine-tuning job`,
      answer: job,
      handler: onDisk(async (request, services): Promise<Job> => {
        const found = await jobIn(request, services)
        return shown(await services.tuning.jobs[word](found), await fileIds(services))
      }),
    }),
  ),
  {
    ...below('events'),
    method: 'GET',
    summary: 'List what happened in a fine-tuning job, the last first',
    query: pageParameters,
    answer: eventList,
    handler:
      ({ services }) =>
      async (request): Promise<z.output<typeof eventList>> => {
        const { limit, after } = parseStrictly(pageQuery, request.query)
        const found = await jobIn(request, services)
        const size = sizeOf(limit)
        const before = after === undefined ? Number.POSITIVE_INFINITY : Number(/-(\d+)$/.exec(after)?.[1] ?? 0)
        // The last ones before it are kept while the history goes by: it may be long.
        const last: z.output<typeof jobEvent>[] = []
        let at = 0
        for await (const one of await services.tuning.jobs.history(found)) {
          const event = eventOf(one, found.id, at++)
          if (at > before) break
          if (event !== undefined) last.push(event)
          if (last.length > size + 1) last.shift()
        }
        const has_more = last.length > size
        return { object: 'list', data: last.slice(has_more ? 1 : 0).reverse(), has_more }
      },
  },
  {
    ...below('checkpoints'),
    method: 'GET',
    summary: 'List the checkpoints of a fine-tuning job that requests may use: the best one, when it is done',
    query: pageParameters,
    answer: checkpointList,
    handler:
      ({ services }) =>
      async (request): Promise<z.output<typeof checkpointList>> => {
        parseStrictly(pageQuery, request.query)
        const found = await jobIn(request, services)
        const { step, bestStep, loss, evaluationLoss } = found.progress
        const id = `ftckpt-${found.id}`
        if (!isDone(found)) return { object: 'list', data: [], first_id: null, last_id: null, has_more: false }
        const entry = {
          ...{ id, object: 'fine_tuning.job.checkpoint' as const, created_at: secondsOf(found.finished ?? 0) },
          ...{ fine_tuning_job_id: found.id, fine_tuned_model_checkpoint: found.output },
          step_number: bestStep ?? step,
          metrics: {
            step: bestStep ?? step,
            ...(loss !== null && { train_loss: loss }),
            ...(evaluationLoss !== null && { full_valid_loss: evaluationLoss }),
          },
        }
        return { object: 'list', data: [entry], first_id: id, last_id: id, has_more: false }
      },
  },
]

/** undefined: whatever is usual. */
const chosen = (value: number | 'auto' | null | undefined): number | undefined =>
  typeof value === 'number' ? value : undefined

const words: Readonly<Record<string, string>> = {
  ...{ baseModel: 'model', warmStartFrom: 'model', outputModel: 'suffix', modelId: 'suffix', dataset: 'training_file' },
}

/** The parameter at fault has another name here. */
function inOpenAisWords(error: unknown): never {
  if (!(error instanceof OrielError) || error.param === undefined) throw error
  throw error.at(words[error.param] ?? error.param)
}

/** @throws OrielError `not_found`, also for a job of others */
async function jobIn(request: FastifyRequest, { tuning }: AnswerServices): Promise<TuningJob> {
  const id = paramOf(request, 'job')
  const found = (await tuning.jobs.list()).find((one) => one.id === id && mayReach(request.identity, one.account))
  if (found !== undefined) return found
  throw new OrielError('not_found', `There is no job ${JSON.stringify(id.slice(0, 100))}.`, {
    param: 'fine_tuning_job_id',
    code: 'tuning_job_not_found',
  })
}

const sizeOf = (limit: string | undefined): number => Math.min(Math.max(1, Number(limit ?? usualOnPage)), mostOnPage)

function pageOf(found: readonly Job[], { limit, after }: z.output<typeof pageQuery>): z.output<typeof jobList> {
  const from = after === undefined ? 0 : found.findIndex(({ id }) => id === after) + 1
  if (after !== undefined && from === 0)
    throw new OrielError('not_found', 'after is not the id of a job of this list.', {
      param: 'after',
      code: 'tuning_job_not_found',
    })
  const size = sizeOf(limit)
  return { object: 'list', data: found.slice(from, from + size), has_more: from + size < found.length }
}

const secondsOf = (ms: number): number => Math.floor(ms / 1000)
const isDone = ({ state }: TuningJob): boolean => state === 'completed' || state === 'early_stopped'

/** The ids of files by account and dataset. */
async function fileIds({ tuning }: AnswerServices): Promise<(account: string, dataset: string) => string> {
  const uids = new Map((await tuning.datasets.list()).map(({ account, id, uid }) => [`${account}/${id}`, uid]))
  return (account, dataset) => {
    const id = uids.get(`${account}/${dataset}`) ?? dataset
    // A dataset that was sent as a file has that file's id, which is known when it is deleted, too.
    return id.startsWith('file-') ? id : `file-${id}`
  }
}

const statuses: Readonly<Record<JobState, Job['status']>> = {
  pending: 'queued',
  validating: 'validating_files',
  running: 'running',
  writing: 'running',
  pausing: 'running',
  paused: 'paused',
  cancelling: 'running',
  cancelled: 'cancelled',
  failed: 'failed',
  completed: 'succeeded',
  early_stopped: 'succeeded',
}

function shown(found: TuningJob, fileOf: (account: string, dataset: string) => string): Job {
  const { account, id, error, hyperparameters: how, progress, finished, evaluationDataset } = found
  const left = secondsLeft(found)
  const hyperparameters = {
    n_epochs: how.epochs,
    batch_size: how.batchExamples,
    learning_rate_multiplier: how.learningRate / usualHyperparameters.learningRate,
  }
  return {
    ...{ id, object: 'fine_tuning.job', created_at: secondsOf(found.created) },
    finished_at: finished === null ? null : secondsOf(finished),
    estimated_finish: left === null ? null : Math.ceil(Date.now() / 1000 + left),
    model: found.warmStart ?? found.base,
    fine_tuned_model: isDone(found) ? found.output : null,
    status: statuses[found.state],
    error: error === null ? null : { ...error, param: null },
    training_file: fileOf(account, found.dataset),
    validation_file: evaluationDataset === null ? null : fileOf(account, evaluationDataset),
    trained_tokens: isDone(found) ? progress.trainedTokens : null,
    result_files: found.started === null ? [] : [metricsFileOf(found)],
    hyperparameters,
    method: { type: 'supervised', supervised: { hyperparameters } },
    seed: how.seed,
    organization_id: account,
    integrations: [],
    metadata: found.metadata,
  }
}

/** What a client reads of something that happened; undefined: nothing. */
function eventOf(one: Happening, job: string, at: number): z.output<typeof jobEvent> | undefined {
  const common = { id: `ftevent-${job}-${at}`, object: 'fine_tuning.job.event', created_at: secondsOf(one.at) } as const
  switch (one.type) {
    case 'message':
      return { ...common, level: one.level, message: one.message, type: 'message', data: null }
    case 'examples': {
      const message = `${one.examples} examples with ${one.tokens} tokens, ${one.imageTokens} of them of ${one.images} images; ${one.truncated} are cut, ${one.dropped} dropped. ${one.steps} steps.`
      return {
        ...common,
        level: one.truncated + one.dropped > 0 ? 'warn' : 'info',
        message,
        type: 'message',
        data: null,
      }
    }
    case 'step': {
      const data = { step: one.step, train_loss: one.loss, learning_rate: one.learningRate }
      return {
        ...common,
        level: 'info',
        message: `Step ${one.step}: loss ${one.loss.toFixed(4)}`,
        type: 'metrics',
        data,
      }
    }
    case 'evaluation': {
      const data = { step: one.step, valid_loss: one.loss }
      const message = `Step ${one.step}: evaluation loss ${one.loss.toFixed(4)}`
      return { ...common, level: 'info', message, type: 'metrics', data }
    }
    case 'phase':
    case 'done':
    case 'failed':
      return undefined
  }
}
