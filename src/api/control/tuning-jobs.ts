import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { withoutAccount } from '../../deployments/index.ts'
import {
  bounds,
  type JobState,
  percentOf,
  secondsLeft,
  type TuningJob,
  trainers,
  usualHyperparameters,
} from '../../tuning/index.ts'
import { onDisk } from '../administration/on-disk.ts'
import type { AnswerServices } from '../answering/answer.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { isoOf } from '../request/moment.ts'
import { optional, parseBody } from '../request/validation.ts'
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
import { signedUrl } from './transfers.ts'

const time = z.iso.datetime()
const count = z.int().min(0)

const jobProgress = z.strictObject({
  percent: count,
  epoch: count.describe('Those that are complete.'),
  totalInputRequests: count.describe('Examples to train on.'),
  totalProcessedRequests: count.describe('Of them, those that have been prepared.'),
  successfullyProcessedRequests: count,
  failedRequests: count,
  outputRows: count,
  inputTokens: count.describe('Tokens that were trained on so far.'),
  outputTokens: count,
  cachedInputTokenCount: count,
  step: count,
  steps: count.optional(),
  loss: z.number().optional().describe('Of the last step. When it is done: of bestStep.'),
  evaluationLoss: z.number().optional().describe('The last one. When it is done: that of bestStep.'),
  bestStep: count.optional().describe('The step with the lowest evaluation loss, which the adapter is of.'),
  truncatedExamples: count.describe('Examples that were longer than maxContextLength.'),
  imageTokens: count,
  secondsLeft: count.optional(),
})

/** A job that trains an adapter, as Fireworks' control plane describes it. */
export const fineTuningJob = z.strictObject({
  name: z.string().describe('`accounts/{account}/supervisedFineTuningJobs/{id}`.'),
  displayName: z.string(),
  createTime: time,
  updateTime: time,
  completedTime: time.optional(),
  createdBy: z.string(),
  state: z.enum([
    ...(['JOB_STATE_PENDING', 'JOB_STATE_VALIDATING', 'JOB_STATE_RUNNING', 'JOB_STATE_WRITING_RESULTS'] as const),
    ...(['JOB_STATE_PAUSED', 'JOB_STATE_CANCELLING', 'JOB_STATE_CANCELLED', 'JOB_STATE_FAILED'] as const),
    ...(['JOB_STATE_COMPLETED', 'JOB_STATE_EARLY_STOPPED'] as const),
  ]),
  status: z.strictObject({ code: z.enum(['OK', 'INTERNAL']), message: z.string() }),
  dataset: z.string(),
  evaluationDataset: z.string().optional(),
  evalAutoCarveout: z.boolean(),
  outputModel: z.string().describe('The adapter, which requests may use as their model when the job is completed.'),
  baseModel: z.string(),
  warmStartFrom: z.string().optional(),
  jinjaTemplate: z.string().optional(),
  epochs: z.number(),
  learningRate: z.number(),
  learningRateWarmupSteps: count,
  loraRank: count,
  maxContextLength: count,
  batchSize: count.optional(),
  batchSizeSamples: count,
  gradientAccumulationSteps: count,
  earlyStop: z.boolean(),
  trainProjector: z.boolean(),
  trainer: z.enum(trainers).describe('What trains it: Oriel itself, or the program of `ORIEL_TRAINER`.'),
  jobProgress,
  metricsFileSignedUrl: z
    .string()
    .optional()
    .describe('What happened so far, as lines of JSON: each step with its loss, evaluations, messages.'),
})

export const fineTuningJobList = listOf('supervisedFineTuningJobs', fineTuningJob)

const name = z.string().min(1).max(300)
const whole = (least: number, most: number) => z.int().min(least).max(most)

const newJob = z.object({
  dataset: name.describe('A dataset of the account.'),
  baseModel: optional(name, 'A name of a model of this server. This, or warmStartFrom.'),
  warmStartFrom: optional(name, 'An adapter to go on from.'),
  outputModel: optional(name, 'The name that the adapter will have. Default: that of the job.'),
  displayName: optional(z.string().max(63), 'For people.'),
  evaluationDataset: optional(name, 'A dataset whose loss is told from time to time.'),
  evalAutoCarveout: optional(z.boolean(), 'Keep some examples for evaluation, without such a dataset. Default: true.'),
  epochs: optional(
    z.number().min(bounds.epochs.least).max(bounds.epochs.most),
    'How often each example is trained on.',
  ),
  learningRate: optional(z.number().gt(0).max(bounds.learningRate.most), 'The highest, after the warm-up.'),
  learningRateWarmupSteps: optional(whole(0, 1_000_000), 'Steps in which it rises. Then it falls to 0 as a cosine.'),
  loraRank: optional(whole(bounds.rank.least, bounds.rank.most), 'Of the matrices of the adapter.'),
  maxContextLength: optional(whole(bounds.maxTokens.least, 10_000_000), 'Tokens of an example. Longer ones are cut.'),
  batchSize: optional(
    whole(bounds.batchTokens.least, bounds.batchTokens.most),
    'Tokens of a step, at most. Default: batchSizeSamples decides. Of both, the one that is reached first ends a step.',
  ),
  batchSizeSamples: optional(whole(1, bounds.batchExamples.most), 'Examples of a step, at most.'),
  gradientAccumulationSteps: optional(whole(1, 1024), 'Batches of a step. Default: 1.'),
  earlyStop: optional(z.boolean(), 'End when the evaluation loss falls no more.'),
  trainProjector: optional(
    z.boolean(),
    'Train the last matrix of the projector, too, which makes embeddings of what the encoder sees. Default: false.',
  ),
  jinjaTemplate: optional(z.string().min(1).max(200_000), "In place of the model's own chat template."),
  trainer: optional(z.enum(trainers), 'Default: `built-in`, for models that it can train.'),
})

const nothing = z.strictObject({})

const where = '/accounts/{account}/supervisedFineTuningJobs'
const pattern = '/accounts/:account/supervisedFineTuningJobs'
const all = { ...place, path: where, pattern } as const
const one = { ...place, path: `${where}/{job}`, pattern: `${pattern}/:job` } as const
const verb = (word: string) => ({
  ...place,
  path: `${one.path}:${word}`,
  pattern: `${pattern}/:job(^[^:/]+)::${word}`,
})

const createQuery = z.object({ supervisedFineTuningJobId: z.string().optional() })

/** The jobs of accounts: reading is for the keys of an account, and changing for those of the scope admin. */
export const tuningJobEndpoints: readonly Endpoint[] = [
  {
    ...all,
    method: 'GET',
    summary: 'List the fine-tuning jobs of an account, the newest first; of all with `-`',
    query: listParameters,
    answer: fineTuningJobList,
    handler:
      ({ services: { tuning } }) =>
      async (request): Promise<z.output<typeof fineTuningJobList>> => {
        const isListed = listed(request)
        const found = (await tuning.jobs.list()).filter(({ account }) => isListed(account)).reverse()
        const { entries, ...page } = pageOf(
          request,
          found.map((job) => shown(job, request)),
        )
        return { supervisedFineTuningJobs: entries, ...page }
      },
  },
  {
    ...all,
    method: 'POST',
    scope: 'admin',
    summary: 'Train an adapter on a dataset. Jobs run one after the other',
    query: [{ name: 'supervisedFineTuningJobId', description: 'Default: a random one.' }],
    body: newJob,
    answer: fineTuningJob,
    handler: onDisk(async (request, { tuning }, { reply, options }): Promise<z.output<typeof fineTuningJob>> => {
      const { supervisedFineTuningJobId: id } = parseBody(createQuery, request.query)
      const body = readWanted(newJob, request, reply, options)
      return shown(await tuning.jobs.create(accountIn(request), { id, ...wantedOf(body) }), request)
    }),
  },
  {
    ...one,
    method: 'GET',
    summary: 'Get a fine-tuning job',
    query: readMaskParameter,
    answer: fineTuningJob,
    handler:
      ({ services: { tuning } }) =>
      async (request) =>
        masked(shown(await tuning.jobs.find(nameIn(request)), request), readMaskOf(request)),
  },
  {
    ...one,
    method: 'DELETE',
    scope: 'admin',
    summary: 'Delete a fine-tuning job that does not run. Its adapter stays',
    answer: nothing,
    handler: onDisk(async (request, { tuning }): Promise<z.output<typeof nothing>> => {
      await tuning.jobs.remove(nameIn(request))
      return {}
    }),
  },
  ...(
    [
      ['cancel', 'Stop a fine-tuning job', ({ tuning }, name) => tuning.jobs.cancel(name)],
      ['pause', 'Stop a fine-tuning job, to be resumed', ({ tuning }, name) => tuning.jobs.pause(name)],
      [
        'resume',
        'Let a job go on that was paused or cancelled, or that failed, from its last checkpoint',
        ({ tuning }, name) => tuning.jobs.resume(name),
      ],
    ] satisfies [string, string, (services: AnswerServices, name: ReturnType<typeof nameIn>) => Promise<TuningJob>][]
  ).map(
    ([word, summary, act]): Endpoint => ({
      ...verb(word),
      method: 'POST',
      scope: 'admin',
      summary,
      body: z.object({}),
      answer: fineTuningJob,
      handler: onDisk(
        async (request, services): Promise<z.output<typeof fineTuningJob>> =>
          shown(await act(services, nameIn(request)), request),
      ),
    }),
  ),
]

const nameIn = (request: FastifyRequest) => ({ account: accountIn(request), id: paramOf(request, 'job') })

const withoutDataset = (name: string): string => name.replace(/^accounts\/[^/]+\/datasets\//, '')

function wantedOf(body: z.output<typeof newJob>) {
  const batches = body.gradientAccumulationSteps ?? 1
  // With a number of tokens, that of examples is only a bound.
  const samples = body.batchSizeSamples ?? (body.batchSize == null ? usualHyperparameters.batchExamples : undefined)
  return {
    dataset: withoutDataset(body.dataset),
    ...given({
      displayName: body.displayName,
      evaluationDataset: body.evaluationDataset && withoutDataset(body.evaluationDataset),
      carveOut: body.evalAutoCarveout,
      base: body.baseModel,
      warmStart: body.warmStartFrom,
      output: body.outputModel && withoutAccount(body.outputModel),
      trainer: body.trainer,
    }),
    hyperparameters: given({
      epochs: body.epochs,
      learningRate: body.learningRate,
      warmupSteps: body.learningRateWarmupSteps,
      rank: body.loraRank,
      maxTokens: body.maxContextLength,
      batchTokens: body.batchSize == null ? undefined : body.batchSize * batches,
      batchExamples: samples === undefined ? undefined : samples * batches,
      earlyStop: body.earlyStop,
      trainProjector: body.trainProjector,
      chatTemplate: body.jinjaTemplate,
    }),
  }
}

const states: Readonly<Record<JobState, z.output<typeof fineTuningJob>['state']>> = {
  pending: 'JOB_STATE_PENDING',
  validating: 'JOB_STATE_VALIDATING',
  running: 'JOB_STATE_RUNNING',
  writing: 'JOB_STATE_WRITING_RESULTS',
  pausing: 'JOB_STATE_RUNNING',
  paused: 'JOB_STATE_PAUSED',
  cancelling: 'JOB_STATE_CANCELLING',
  cancelled: 'JOB_STATE_CANCELLED',
  failed: 'JOB_STATE_FAILED',
  completed: 'JOB_STATE_COMPLETED',
  early_stopped: 'JOB_STATE_EARLY_STOPPED',
}

function shown(job: TuningJob, request: FastifyRequest): z.output<typeof fineTuningJob> {
  const { account, id, error, hyperparameters: how, progress, finished, evaluationDataset, warmStart } = job
  const left = secondsLeft(job)
  return {
    name: `accounts/${account}/supervisedFineTuningJobs/${id}`,
    displayName: job.displayName,
    createTime: isoOf(job.created),
    updateTime: isoOf(job.updated),
    ...(finished !== null && { completedTime: isoOf(finished) }),
    createdBy: account,
    state: states[job.state],
    status: error === null ? { code: 'OK', message: '' } : { code: 'INTERNAL', message: error.message },
    dataset: `accounts/${account}/datasets/${job.dataset}`,
    ...(evaluationDataset !== null && { evaluationDataset: `accounts/${account}/datasets/${evaluationDataset}` }),
    evalAutoCarveout: job.carveOut,
    outputModel: `accounts/${account}/models/${job.output}`,
    baseModel: `accounts/${account}/models/${job.base}`,
    ...(warmStart !== null && { warmStartFrom: `accounts/${account}/models/${warmStart}` }),
    ...(how.chatTemplate !== null && { jinjaTemplate: how.chatTemplate }),
    epochs: how.epochs,
    learningRate: how.learningRate,
    learningRateWarmupSteps: how.warmupSteps,
    loraRank: how.rank,
    maxContextLength: how.maxTokens,
    ...(how.batchTokens !== null && { batchSize: how.batchTokens }),
    batchSizeSamples: how.batchExamples,
    gradientAccumulationSteps: 1,
    earlyStop: how.earlyStop,
    trainProjector: how.trainProjector,
    trainer: job.trainer,
    jobProgress: {
      percent: percentOf(job),
      epoch: Math.floor(progress.epoch),
      totalInputRequests: progress.examples,
      totalProcessedRequests: Math.round(progress.examples * progress.prepared),
      successfullyProcessedRequests: Math.round(progress.examples * progress.prepared),
      ...{ failedRequests: 0, outputRows: 0, outputTokens: 0, cachedInputTokenCount: 0 },
      inputTokens: progress.trainedTokens,
      step: progress.step,
      ...(progress.steps !== null && { steps: progress.steps }),
      ...(progress.loss !== null && { loss: progress.loss }),
      ...(progress.evaluationLoss !== null && { evaluationLoss: progress.evaluationLoss }),
      ...(progress.bestStep !== null && { bestStep: progress.bestStep }),
      truncatedExamples: progress.truncated,
      imageTokens: progress.imageTokens,
      ...(left !== null && { secondsLeft: Math.ceil(left) }),
    },
    ...(job.started !== null && {
      metricsFileSignedUrl: signedUrl(request, { does: 'fetch_metrics', account, job: id, file: 'metrics.jsonl' }),
    }),
  }
}
