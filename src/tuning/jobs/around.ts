import { type Deployments, noAdapter } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { AdapterCard, ModelCard } from '../../models/index.ts'
import type { TrainingConfig } from '../contract.ts'
import type { ExternalTrainer } from '../external/external.ts'
import type { TuningJob } from './record.ts'
import type { WantedJob } from './wanted.ts'

/** What jobs need of the rest. */
export interface JobsAround {
  /** The folder of all jobs. */
  readonly folder: string
  /** Names the data folder among those of servers with the same database. */
  readonly place: string
  /** Whether jobs of other processes that have ended are gone on with, or only those that are made here. */
  readonly runsAll: boolean
  readonly memory: Deployments['memory']
  readonly threads: number
  /** How the server reads images. */
  readonly reading: TrainingConfig['reading']
  /** The model of a name; undefined: there is none. @throws OrielError why it cannot be used */
  model(name: string): Promise<ModelCard | undefined>
  adapter(name: string): Promise<AdapterCard | undefined>
  /** @throws OrielError `conflict` if there is something of this name; `invalid` for the name; `precondition_failed` at a limit */
  checkOutput(account: string, name: string): Promise<void>
  /** Makes an adapter of the library of the one in a folder, once. */
  publish(job: TuningJob, folder: string): Promise<void>
  /** Copies an adapter in the format of PEFT. @throws OrielError `precondition_failed` if it is in another */
  copyAdapter(name: string, folder: string): Promise<void>
  /** @returns how many examples it has @throws OrielError `not_found`, or `precondition_failed` if it is not ready */
  checkDataset(account: string, id: string): Promise<number>
  /** Writes the examples of a job into its folder. */
  writeExamples(job: TuningJob, folder: string, onProgress: (share: number) => void, signal: AbortSignal): Promise<void>
  /** Bytes that training takes at most. @throws OrielError `precondition_failed` if there can never be as much */
  memoryFor(card: ModelCard): number
  /** Chooses the trainer. @throws OrielError `precondition_failed` or `invalid` if there is none for the model, or what is wanted */
  trainerFor(
    card: ModelCard,
    wanted: Pick<WantedJob, 'trainer' | 'hyperparameters' | 'warmStart'>,
  ): Promise<TuningJob['trainer']>
  readonly external: ExternalTrainer
  readonly log: Logger
}

/** An adapter to go on from. @throws OrielError `not_found` */
export async function neededAdapter(name: string, around: JobsAround): Promise<AdapterCard> {
  const found = await around.adapter(name)
  if (found !== undefined) return found
  throw noAdapter(name).at('warmStartFrom')
}

/** The model to train. @throws OrielError `not_found`; `invalid` if it cannot be trained, or is not named once */
export async function neededModel(
  { base }: Pick<WantedJob, 'base'>,
  warm: AdapterCard | null,
  around: JobsAround,
): Promise<ModelCard> {
  if ((base === undefined) === (warm === null))
    throw new OrielError('invalid', 'A job needs either baseModel or warmStartFrom.', {
      param: 'baseModel',
      code: 'invalid_value',
    })
  const name = base ?? warm?.base ?? warm?.fits[0] ?? ''
  const card = await around.model(name)
  if (card === undefined)
    throw new OrielError('not_found', `The model ${JSON.stringify(name.slice(0, 200))} is not on this server.`, {
      param: 'baseModel',
      code: 'model_not_found',
    })
  if (card.embedding !== null)
    throw new OrielError('invalid', `${card.id} embeds texts. Models that answer can be trained.`, {
      param: 'baseModel',
      code: 'invalid_value',
    })
  return card
}
