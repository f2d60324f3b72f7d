import { OrielError } from '../../errors.ts'
import type { ModelCard } from '../../models/index.ts'
import type { Hyperparameters } from '../contract.ts'
import { mostTokens, usual, usualAlpha, usualEpochs } from './defaults.ts'
import type { trainers } from './record.ts'

/** What somebody wants of a job. What is left out is decided here. */
export interface WantedJob {
  id?: string | undefined
  displayName?: string | undefined
  /** A dataset of the account. */
  dataset: string
  /** null: some examples of the dataset are kept for evaluation, if `carveOut` does not forbid it. */
  evaluationDataset?: string | undefined
  carveOut?: boolean | undefined
  /** A name of a model: this, or `warmStart`. */
  base?: string | undefined
  /** A name of an adapter to go on from. */
  warmStart?: string | undefined
  /** The name that the adapter will have. Default: that of the job. */
  output?: string | undefined
  trainer?: (typeof trainers)[number] | undefined
  hyperparameters?: { readonly [Name in keyof Hyperparameters]?: Hyperparameters[Name] | undefined } | undefined
  /** The learning rate as a multiple of the usual one. */
  learningRateMultiplier?: number | undefined
  metadata?: Readonly<Record<string, string>> | undefined
}

/** What may be wanted. Beyond it nothing is learned, or nothing ends. */
export const bounds = {
  rank: { least: 4, most: 64 },
  epochs: { least: 0.01, most: 1000 },
  learningRate: { most: 1 },
  batchExamples: { most: 4096 },
  batchTokens: { least: 64, most: 4_194_304 },
  maxTokens: { least: 32 },
} as const

/** What hyperparameters depend on. */
interface Trained {
  /** Of the dataset. */
  readonly examples: number
  readonly card: Pick<ModelCard, 'id' | 'contextTokens'>
  /** The rank and the alpha of the adapter that it goes on from, which it keeps. */
  readonly warm: { readonly rank: number; readonly alpha: number } | null
}

/**
 * The hyperparameters of a job.
 * @throws OrielError `invalid` that names the one that is not allowed
 */
export function hyperparametersFor(
  { hyperparameters: given = {}, learningRateMultiplier }: WantedJob,
  { examples, card: { id, contextTokens }, warm }: Trained,
): Hyperparameters {
  if (warm !== null && given.rank !== undefined && given.rank !== warm.rank)
    throw invalid('loraRank', `loraRank is ${given.rank}, and the adapter that it goes on from has ${warm.rank}.`)
  if (given.maxTokens !== undefined && given.maxTokens > contextTokens)
    throw invalid(
      'maxContextLength',
      `maxContextLength is ${given.maxTokens}; the context of ${id} has ${contextTokens} tokens.`,
    )
  const rank = warm?.rank ?? given.rank ?? usual.rank
  return {
    epochs: given.epochs ?? usualEpochs(examples),
    learningRate: given.learningRate ?? usual.learningRate * (learningRateMultiplier ?? 1),
    warmupSteps: given.warmupSteps ?? usual.warmupSteps,
    rank,
    alpha: warm?.alpha ?? given.alpha ?? usualAlpha(rank),
    // Tokens alone decide, if nobody says how many examples.
    batchExamples:
      given.batchExamples ?? (given.batchTokens === undefined ? usual.batchExamples : bounds.batchExamples.most),
    batchTokens: given.batchTokens ?? null,
    maxTokens: given.maxTokens ?? Math.min(contextTokens, mostTokens),
    earlyStop: given.earlyStop ?? usual.earlyStop,
    trainProjector: given.trainProjector ?? usual.trainProjector,
    seed: given.seed ?? Math.floor(Math.random() * 2 ** 31),
    chatTemplate: given.chatTemplate ?? null,
  }
}

const invalid = (param: string, message: string): OrielError =>
  new OrielError('invalid', message, { param, code: 'invalid_value' })
