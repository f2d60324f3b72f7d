import { z } from 'zod'
import { exampleCounts, hyperparameters, noCounts } from '../contract.ts'

/** A job that trains an adapter, as it is kept. Times are in ms since 1970. */

const count = z.int().nonnegative()

/**
 * `pending`: it waits for its turn. `validating`: its examples are prepared. `pausing` and `cancelling`: its process keeps a
 * checkpoint and ends.
 */
export const states = [
  ...(['pending', 'validating', 'running', 'writing'] as const),
  ...(['pausing', 'paused', 'cancelling', 'cancelled', 'failed', 'completed', 'early_stopped'] as const),
] as const
export type JobState = (typeof states)[number]

/** What is known of a job's training. */
const progress = z.strictObject({
  /** Of preparing the examples, 0 to 1. */
  prepared: z.number(),
  ...exampleCounts.shape,
  step: count,
  /** null: not known yet. */
  steps: count.nullable(),
  epoch: z.number(),
  trainedTokens: count,
  /** Of training, stops left out. */
  seconds: z.number(),
  /** Of the last step, and of the last evaluation. When the training is done, of the best step. */
  loss: z.number().nullable(),
  evaluationLoss: z.number().nullable(),
  /** The step that the adapter is of; null: the last one, or not known yet. */
  bestStep: count.nullable(),
  /** Of memory that it takes; null: not known yet. */
  memoryBytes: count.nullable(),
})
export type JobProgress = Readonly<z.output<typeof progress>>

export const noProgress: JobProgress = {
  ...noCounts,
  prepared: 0,
  ...{ step: 0, steps: null, epoch: 0, trainedTokens: 0, seconds: 0, loss: null, evaluationLoss: null },
  ...{ bestStep: null, memoryBytes: null },
}

export const trainers = ['built-in', 'external'] as const

export const tuningJob = z.strictObject({
  account: z.string(),
  id: z.string(),
  created: z.number(),
  updated: z.number(),
  /** The data folder that has its files: the server with that folder runs it. */
  place: z.string(),
  displayName: z.string(),
  state: z.enum(states),
  /** Why it failed. */
  error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
  /** Its datasets, which have the same account. */
  dataset: z.string(),
  evaluationDataset: z.string().nullable(),
  /** Whether some of the examples are kept for evaluation, if there is no dataset for it. */
  carveOut: z.boolean(),
  /** The id of the base model. */
  base: z.string(),
  /** The id of an adapter that it goes on from. */
  warmStart: z.string().nullable(),
  /** The id of the adapter that comes of it. */
  output: z.string(),
  trainer: z.enum(trainers),
  /** What nobody wanted otherwise was decided when the job was made. */
  hyperparameters,
  /** What a client says of it for itself. */
  metadata: z.record(z.string(), z.string()),
  progress,
  /** Whether the adapter has been trained, and only has to be taken into the library. */
  isTrained: z.boolean(),
  stoppedEarly: z.boolean(),
  started: z.number().nullable(),
  finished: z.number().nullable(),
})
export type TuningJob = Readonly<z.output<typeof tuningJob>>

/** Whether it has a turn, or waits for one. */
export const isActive = ({ state }: Pick<TuningJob, 'state'>): boolean =>
  ['pending', 'validating', 'running', 'writing', 'pausing', 'cancelling'].includes(state)

/** Whether its process may run. */
export const hasTurn = ({ state }: Pick<TuningJob, 'state'>): boolean => isActive({ state }) && state !== 'pending'

/** Whether it has a turn, or waits for one, and nobody has stopped it. */
export const isWanted = ({ state }: Pick<TuningJob, 'state'>): boolean =>
  isActive({ state }) && state !== 'pausing' && state !== 'cancelling'

/** Seconds until it has been trained, by the pace so far; null: not known. */
export function secondsLeft({
  state,
  progress: { step, steps, seconds },
}: Pick<TuningJob, 'state' | 'progress'>): number | null {
  if (state !== 'running' || steps === null || step === 0) return null
  return (Math.max(0, steps - step) * seconds) / step
}

/** Of all its work, in percent. */
export function percentOf({ state, progress: { step, steps } }: Pick<TuningJob, 'state' | 'progress'>): number {
  if (state === 'completed' || state === 'early_stopped') return 100
  return steps === null || steps === 0 ? 0 : Math.min(99, Math.floor((step / steps) * 100))
}
