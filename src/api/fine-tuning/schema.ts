import { z } from 'zod'
import { bounds } from '../../tuning/index.ts'
import { ownMetadata } from '../request/metadata.ts'
import { optional, refusal } from '../request/validation.ts'

/** Jobs that train adapters, as OpenAI's API describes them. */

const count = z.int().min(0)
const seconds = z.int().describe('Seconds since 1970.')

const shownHyperparameters = z.strictObject({
  n_epochs: z.number(),
  batch_size: count,
  learning_rate_multiplier: z.number().describe('Of the usual learning rate.'),
})

export const job = z.strictObject({
  id: z.string(),
  object: z.literal('fine_tuning.job'),
  created_at: seconds,
  finished_at: seconds.nullable(),
  estimated_finish: seconds.nullable(),
  model: z.string(),
  fine_tuned_model: z.string().nullable().describe('The adapter, which requests may use as their model.'),
  status: z.enum(['validating_files', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled']),
  error: z.strictObject({ code: z.string(), message: z.string(), param: z.null() }).nullable(),
  training_file: z.string(),
  validation_file: z.string().nullable(),
  trained_tokens: count.nullable(),
  result_files: z.array(z.string()),
  hyperparameters: shownHyperparameters,
  method: z.strictObject({
    type: z.literal('supervised'),
    supervised: z.strictObject({ hyperparameters: shownHyperparameters }),
  }),
  seed: count,
  organization_id: z.string(),
  integrations: z.array(z.never()),
  metadata: z.record(z.string(), z.string()).nullable(),
})

export const jobEvent = z.strictObject({
  id: z.string(),
  object: z.literal('fine_tuning.job.event'),
  created_at: seconds,
  level: z.enum(['info', 'warn', 'error']),
  message: z.string(),
  type: z.enum(['message', 'metrics']),
  data: z
    .strictObject({
      step: count,
      train_loss: z.number().optional(),
      valid_loss: z.number().optional(),
      learning_rate: z.number().optional(),
    })
    .nullable(),
})

const checkpoint = z.strictObject({
  id: z.string(),
  object: z.literal('fine_tuning.job.checkpoint'),
  created_at: seconds,
  fine_tuning_job_id: z.string(),
  fine_tuned_model_checkpoint: z.string(),
  step_number: count,
  metrics: z.strictObject({
    step: count,
    train_loss: z.number().optional(),
    full_valid_loss: z.number().optional(),
  }),
})

const page = { object: z.literal('list'), has_more: z.boolean() }
export const jobList = z.strictObject({ ...page, data: z.array(job) })
export const eventList = z.strictObject({ ...page, data: z.array(jobEvent) })
export const checkpointList = z.strictObject({
  ...page,
  data: z.array(checkpoint),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
})

const auto = z.literal('auto')

const hyperparameters = z.object({
  n_epochs: optional(auto.or(z.number().min(bounds.epochs.least).max(bounds.epochs.most)), 'Default: `auto`.'),
  batch_size: optional(auto.or(z.int().min(1).max(bounds.batchExamples.most)), 'Examples of a step. Default: `auto`.'),
  learning_rate_multiplier: optional(auto.or(z.number().gt(0).max(1000)), 'Default: `auto`.'),
})

export const newJob = z.object({
  model: z.string().min(1).max(300).describe('A model of this server, or an adapter to go on from.'),
  training_file: z.string().min(1).max(200),
  validation_file: optional(z.string().min(1).max(200), 'Default: some examples are kept for evaluation.'),
  suffix: optional(
    z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, {
      error: 'must have 1 to 63 small letters, digits, ".", "_" and "-", and begin with a letter or digit',
    }),
    'The name of the adapter. Default: that of the job.',
  ),
  seed: optional(
    z
      .int()
      .min(0)
      .max(2 ** 31 - 1),
    'The same seed has the same result. Default: a random one.',
  ),
  method: optional(
    z.object({
      type: z.literal('supervised'),
      supervised: optional(
        z.object({ hyperparameters: optional(hyperparameters, 'How it is trained.') }),
        'See there.',
      ),
    }),
    'Only `supervised`.',
  ),
  hyperparameters: optional(hyperparameters, 'As in `method.supervised`.'),
  integrations: z
    .array(z.unknown())
    .max(0, { error: 'is not supported: metrics are in the events of the job' })
    .nullish()
    .meta(refusal),
  metadata: optional(ownMetadata, 'For yourself.'),
})
