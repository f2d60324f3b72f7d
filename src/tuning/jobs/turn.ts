import { onAbort } from '../../abort.ts'
import type { Deployments, Reserved } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import type { ModelCard } from '../../models/index.ts'
import { bytesText } from '../../sizes.ts'
import { type ProgressLine, progressLine, type TrainingConfig } from '../contract.ts'
import type { ExternalRun, ExternalTrainer } from '../external/external.ts'
import type { JobFolder } from './folder.ts'
import { outputOf } from './output.ts'
import { type Ended, endOld, startTrainer } from './process.ts'
import { ProgressFile } from './progress-file.ts'
import type { JobProgress, TuningJob } from './record.ts'

/** How a turn of a job ended. `stopped`: somebody asked for it, and it can go on from its checkpoint. */
export type Outcome = { readonly type: 'trained'; readonly stoppedEarly: boolean } | { readonly type: 'stopped' }

export interface TurnAround {
  readonly folder: JobFolder
  readonly memory: Deployments['memory']
  readonly card: ModelCard
  /** Bytes that it takes at most. */
  readonly memoryBytes: number
  readonly threads: number
  readonly reading: TrainingConfig['reading']
  /** null: ours. */
  readonly external: ExternalTrainer | null
  /** The folder of the adapter that it goes on from. */
  readonly warmStart: string | null
  /** Writes the examples into the folder. */
  writeExamples(signal: AbortSignal): Promise<void>
  onState(state: 'validating' | 'running' | 'writing'): void
  onProgress(change: Partial<JobProgress>): void
}

/** Memory of the process beside what the trainer reckons, in bytes. */
const besideTraining = 300e6

/**
 * Trains until the job is done, or until the signal aborts.
 * @throws OrielError why it failed, in words for whoever made the job
 */
export async function takeTurn(job: TuningJob, around: TurnAround, signal: AbortSignal): Promise<Outcome> {
  const { folder, memory, memoryBytes } = around
  await folder.make()
  const old = await folder.readProcess()
  if (old !== undefined) await endOld(old, folder.path)
  around.onState('validating')
  let reserved: Reserved | undefined
  try {
    if (!(await folder.hasExamples())) await around.writeExamples(signal)
    reserved = await memory.reserve(memoryBytes, signal)
    const config = configOf(job, around)
    await folder.writeConfig(config)
    const run = around.external === null ? null : await around.external.prepare(config, folder.path)
    return await train(around, { reserved, run }, signal)
  } catch (error) {
    if (signal.aborted) return { type: 'stopped' }
    throw error
  } finally {
    reserved?.release()
  }
}

async function train(
  around: TurnAround,
  { reserved, run }: { reserved: Reserved; run: ExternalRun | null },
  signal: AbortSignal,
): Promise<Outcome> {
  const { folder } = around
  let done: Extract<ProgressLine, { type: 'done' }> | undefined
  // Lines are taken in their order, though to keep them takes time.
  let last: Promise<void> = Promise.resolve()
  let broken: unknown
  const inTurn = (work: () => Promise<void>): void => {
    last = last.then(work).catch((error: unknown) => {
      broken ??= error
      running.kill()
    })
  }
  let lastStep = await lastStepOf(folder)
  const take = async (line: ProgressLine): Promise<void> => {
    if (line.type === 'step' && line.step <= lastStep) await folder.forgetSteps(line.step)
    if (line.type === 'step') lastStep = line.step
    if (line.type === 'done') done = line
    if (line.type === 'examples' && line.memoryBytes !== undefined) reserved.shrink(line.memoryBytes + besideTraining)
    if (line.type === 'phase') around.onState(stateOf[line.phase])
    around.onProgress(progressOf(line))
    if (line.type === 'done' && line.bestStep !== null) around.onProgress(await lossesOf(folder, line.bestStep))
    if (line.type !== 'phase') await folder.note(line)
  }
  const progress = new ProgressFile(folder.path)
  for (const line of await leftIn(progress)) await take(line)
  await progress.noteRead(0)
  const running = startTrainer(run, folder.path, {
    line: (line) => inTurn(() => take(line)),
    read: (bytes) => inTurn(() => progress.noteRead(bytes)),
    log: (line) => inTurn(() => folder.log(line)),
  })
  const removeListener = onAbort(signal, () => running.stop())
  try {
    await folder.noteProcess(running.pid)
    const ended = await running.ended
    await last
    if (broken !== undefined) throw broken
    if (signal.aborted && done === undefined) return { type: 'stopped' }
    const isDone = done !== undefined || (run !== null && ended.code === 0 && ended.failure === undefined)
    if (!isDone) throw whyFailed(ended)
    if ((await outputOf(folder)) === undefined) throw noAdapter()
    return { type: 'trained', stoppedEarly: done?.earlyStopped ?? false }
  } finally {
    removeListener()
    running.kill()
    await running.ended
  }
}

/** The last step of which is known: the record of a job is kept less often. */
async function lastStepOf(folder: JobFolder): Promise<number> {
  let last = 0
  for await (const one of folder.happened()) if (one.type === 'step') last = one.step
  return last
}

/** Those of the step that the adapter is of. */
async function lossesOf(folder: JobFolder, step: number): Promise<Partial<JobProgress>> {
  const losses: { loss?: number; evaluationLoss?: number } = {}
  for await (const one of folder.happened()) {
    if (one.type === 'step' && one.step === step) losses.loss = one.loss
    if (one.type === 'evaluation' && one.step === step) losses.evaluationLoss = one.loss
  }
  return losses
}

/** What the last process has said of its steps while its server was killed. */
const leftIn = async (progress: ProgressFile): Promise<ProgressLine[]> =>
  (await progress.left()).flatMap((line) => {
    const { data } = progressLine.safeParse(parseJson(line))
    return data?.type === 'step' || data?.type === 'evaluation' ? [data] : []
  })

const stateOf = { preparing: 'validating', training: 'running', writing: 'writing' } as const

function progressOf(line: ProgressLine): Partial<JobProgress> {
  switch (line.type) {
    case 'phase':
      return line.phase === 'preparing' ? { prepared: line.share } : { prepared: 1 }
    case 'examples': {
      const { type: _, memoryBytes = null, ...counts } = line
      return { ...counts, memoryBytes }
    }
    case 'step':
      return { step: line.step, epoch: line.epoch, loss: line.loss, trainedTokens: line.tokens, seconds: line.seconds }
    case 'evaluation':
      return { evaluationLoss: line.loss }
    case 'done':
      return { bestStep: line.bestStep }
    case 'failed':
      return {}
  }
}

function configOf({ hyperparameters, base }: TuningJob, around: TurnAround): TrainingConfig {
  const { card, memoryBytes, threads, reading, warmStart } = around
  return {
    base: { id: base, decoder: card.decoder, projector: card.projector },
    ...{ warmStart, ...hyperparameters, memoryBytes, threads, reading },
  }
}

function whyFailed({ failure, code, signal }: Ended): OrielError {
  if (code === null && signal === null)
    return new OrielError('engine_failed', 'The process of the trainer could not be started.', {
      code: 'trainer_crashed',
    })
  const how =
    signal === 'SIGKILL'
      ? 'It was killed: perhaps the machine has too little memory.'
      : signal !== null
        ? `It crashed (${signal}).`
        : `It ended with the code ${code}.`
  return new OrielError('engine_failed', failure ?? `The process of the trainer has ended before it was done. ${how}`, {
    code: failure === undefined ? 'trainer_crashed' : 'training_failed',
  })
}

const noAdapter = (): OrielError =>
  new OrielError('engine_failed', 'The trainer has ended without an adapter in the format of PEFT.', {
    code: 'no_adapter',
  })

/** @throws OrielError `precondition_failed` if there can never be as much */
export function checkMemory(bytes: number, budget: number): void {
  if (bytes <= budget) return
  throw new OrielError(
    'precondition_failed',
    `Training may take ${bytesText(bytes)} of memory by ORIEL_TUNING_MEMORY; models and training together may take ${bytesText(budget)}.`,
    { code: 'no_memory' },
  )
}
