import { OrielError } from '../../errors.ts'
import type { Hyperparameters } from '../contract.ts'
import type { Preset } from './presets.ts'

/** What may be wanted of a job. */
export interface WantedTraining {
  readonly hyperparameters?:
    | { readonly [Name in keyof Hyperparameters]?: Hyperparameters[Name] | undefined }
    | undefined
  readonly warmStart?: string | null | undefined
}

/** Why a preset cannot do what is wanted; undefined: it can. Otherwise the job would be trained in another way, and nobody told. */
export function refusalOf(preset: Preset, { hyperparameters: how = {}, warmStart }: WantedTraining) {
  if (how.trainProjector && !preset.trainsProjector)
    return new OrielError('precondition_failed', 'The external trainer of this server trains no projectors.', {
      param: 'trainProjector',
      code: 'projector_not_trained',
    })
  const wanted = {
    warmStartFrom: (warmStart ?? null) !== null && !preset.startsFromAdapter,
    earlyStop: how.earlyStop === true,
    jinjaTemplate: (how.chatTemplate ?? null) !== null,
    batchSize: (how.batchTokens ?? null) !== null,
  }
  const [param] = Object.entries(wanted).flatMap(([name, isWanted]) => (isWanted ? [name] : []))
  if (param === undefined) return undefined
  return new OrielError(
    'precondition_failed',
    `The external trainer of this server, ${preset.form}, cannot do what ${param} asks for. Leave it out, or take the built-in trainer.`,
    { param, code: 'trainer_unable' },
  )
}
