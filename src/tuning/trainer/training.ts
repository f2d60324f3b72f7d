import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import path from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import { headerOf, metadataOf } from '../../gguf/index.ts'
import { decoderOf } from '../../models/index.ts'
import { type ExampleCounts, files, hyperparameters, type ProgressLine, type TrainingConfig } from '../contract.ts'
import type { Sequences } from '../sequence.ts'
import { type Checkpoint, type Progress, readCheckpoint, writeCheckpoint } from './checkpoint.ts'
import { writePeftFolder } from './peft-folder.ts'
import { joinedRun } from './runs.ts'
import { learningRateOf } from './schedule.ts'
import type { Session } from './session.ts'
import { startFrom } from './warm-start.ts'

export interface TrainOptions {
  /** Path of the base model's decoder. */
  readonly decoder: string
  readonly sequences: Sequences
  readonly evaluation: Sequences | null
  readonly counts: ExampleCounts
  readonly config: TrainingConfig
  /** Of the job: `checkpoint/` and `output/` are in it. */
  readonly folder: string
  readonly onLine: (line: ProgressLine) => void
  /** Aborted: training keeps a checkpoint and ends. */
  readonly signal: AbortSignal
}

/** Indices of sequences that are computed together. */
type Joined = readonly number[]

/** A step of the optimizer: its gradients are the sum of those of its runs. */
interface StepRuns {
  readonly runs: readonly Joined[]
  /** Epochs that are done after it. */
  readonly epoch: number
}

/** Between two checkpoints, in ms. */
const checkpointEvery = 30_000
/** Evaluations of an epoch, and how many without a lower loss end training. */
const evaluations = { ofEpoch: 2, patience: 2 }

/** Training from step to step, and what of it is kept in the folder. */
export class Training {
  readonly #options: TrainOptions
  readonly #session: Session
  readonly #steps: readonly StepRuns[]
  readonly #evaluated: readonly Joined[]
  #progress: Progress
  /** The parameters of the lowest evaluation loss. */
  #best: Float32Array | null = null
  /** When it began, less what it had taken before, in ms. */
  #startedAt = 0

  constructor(options: TrainOptions, session: Session, steps: readonly StepRuns[], evaluated: readonly Joined[]) {
    this.#options = options
    this.#session = session
    this.#steps = steps
    this.#evaluated = evaluated
    this.#progress = {
      fingerprint: fingerprintOf(options),
      numbers: session.adapter.numbers,
      ...{ step: 0, evaluatedStep: 0, tokens: 0, seconds: 0, best: null, worse: 0 },
    }
  }

  /** From the checkpoint, from another adapter, or from random numbers. @throws OrielError `invalid` for another adapter */
  async begin(): Promise<void> {
    const { folder, config, decoder } = this.#options
    const found = readCheckpoint(path.join(folder, files.checkpoint), this.#progress.fingerprint)
    if (found !== null) this.#restore(found)
    else {
      this.#session.adapter.begin(config.seed)
      if (config.warmStart !== null)
        await startFrom(config.warmStart, this.#session, { decoder, projector: config.base.projector })
    }
    this.#startedAt = performance.now() - this.#progress.seconds * 1000
  }

  /**
   * @returns whether it came to its end; otherwise the signal stopped it, and a checkpoint is kept
   * @throws OrielError `invalid` if it diverges
   */
  async run(): Promise<boolean> {
    let savedAt = performance.now()
    for (;;) {
      if (this.#isEvaluationDue() && !(await this.#evaluate())) break
      if (this.#isEarlyStopped || this.#progress.step === this.#steps.length) return true
      if (performance.now() - savedAt > checkpointEvery) {
        this.#save()
        savedAt = performance.now()
      }
      if (!(await this.#learn())) break
    }
    this.#save()
    return false
  }

  /** Writes the best adapter to the folder. */
  async write(): Promise<void> {
    const { adapter, modules } = this.#session
    const { folder, config } = this.#options
    const { rank, alpha, base } = config
    const vision = base.projector === null ? null : metadataOf(await headerOf(base.projector), 'the vision file')
    writePeftFolder(path.join(folder, files.output), modules, adapter, this.#best ?? adapter.read(adapter.parameters), {
      base: base.id,
      rank,
      alpha,
      decoder: vision === null ? null : decoderOf(vision),
    })
  }

  end(): ProgressLine {
    const { step, best } = this.#progress
    return { type: 'done', step, earlyStopped: step < this.#steps.length, bestStep: best?.step ?? null }
  }

  get #isEarlyStopped(): boolean {
    return this.#options.config.earlyStop && this.#progress.worse >= evaluations.patience
  }

  /** @returns false if the signal stopped it before the step was made */
  async #learn(): Promise<boolean> {
    const { config, sequences, onLine } = this.#options
    const { adapter } = this.#session
    const planned = this.#steps[this.#progress.step]
    if (planned === undefined) throw new Error('all steps are made')
    const sum = await this.#sum(planned.runs, sequences, (run) => this.#session.learn(run))
    if (sum === null) return false
    const step = this.#progress.step + 1
    const learningRate = learningRateOf(step, { ...config, steps: this.#steps.length })
    const gradientNorm = adapter.gradientNorm() / sum.learned
    const loss = sum.loss / sum.learned
    if (!Number.isFinite(gradientNorm) || !Number.isFinite(loss))
      throw new OrielError(
        'invalid',
        `Training diverged at step ${step}: its gradients are not finite numbers. A lower learning rate than ${config.learningRate} may help.`,
        { code: 'diverged' },
      )
    // As `clip_grad_norm_` of PyTorch does it.
    adapter.descend(step, learningRate, Math.min(1, 1 / (gradientNorm + 1e-6)) / sum.learned)
    const tokens = this.#progress.tokens + sum.tokens
    const seconds = (performance.now() - this.#startedAt) / 1000
    this.#progress = { ...this.#progress, step, tokens, seconds }
    onLine({ type: 'step', step, epoch: planned.epoch, loss, learningRate, gradientNorm, tokens, seconds })
    onLine({ type: 'phase', phase: 'training', share: step / this.#steps.length })
    return true
  }

  /** Whether half an epoch has ended, or all training, since the last evaluation. */
  #isEvaluationDue(): boolean {
    const { step, evaluatedStep } = this.#progress
    if (this.#evaluated.length === 0 || step === evaluatedStep) return false
    const halves = (of: number): number => Math.floor((this.#steps[of - 1]?.epoch ?? 0) * evaluations.ofEpoch + 1e-9)
    return halves(step) > halves(step - 1) || step === this.#steps.length
  }

  /** @returns false if the signal stopped it */
  async #evaluate(): Promise<boolean> {
    const { evaluation, onLine } = this.#options
    const { adapter } = this.#session
    if (evaluation === null) throw new Error('there is nothing to evaluate')
    const sum = await this.#sum(this.#evaluated, evaluation, (run) => this.#session.evaluate(run))
    if (sum === null) return false
    const { step, best, worse } = this.#progress
    const loss = sum.loss / sum.learned
    const isBest = best === null || loss < best.loss
    if (isBest) this.#best = adapter.read(adapter.parameters)
    this.#progress = {
      ...this.#progress,
      evaluatedStep: step,
      best: isBest ? { step, loss } : best,
      worse: isBest ? 0 : worse + 1,
    }
    onLine({ type: 'evaluation', step, loss })
    return true
  }

  /** Over some runs. @returns null if the signal stopped it between two */
  async #sum(
    runs: readonly Joined[],
    from: Sequences,
    compute: (run: ReturnType<typeof joinedRun>) => number,
  ): Promise<{ loss: number; learned: number; tokens: number } | null> {
    const { architecture, embeddings, projector } = this.#session
    const sum = { loss: 0, learned: 0, tokens: 0 }
    for (const indices of runs) {
      // Signals come between two turns.
      await nextTurn()
      if (this.#options.signal.aborted) return null
      const sequences = indices.map((index) => from.read(index))
      const run = joinedRun(sequences, architecture, embeddings, projector)
      if (run.rows.length > 0) sum.loss += compute(run)
      sum.learned += run.rows.length
      sum.tokens += sequences.reduce((cells, { tokens }) => cells + tokens.length, 0)
    }
    return { ...sum, learned: Math.max(1, sum.learned) }
  }

  #save(): void {
    const { adapter } = this.#session
    const { parameters, moments } = adapter
    const arrays = [parameters, ...moments].map((tensor) => adapter.read(tensor))
    writeCheckpoint(path.join(this.#options.folder, files.checkpoint), {
      progress: this.#progress,
      arrays: this.#best === null ? arrays : [...arrays, this.#best],
    })
  }

  #restore({ progress, arrays }: Checkpoint): void {
    const { adapter } = this.#session
    for (const [index, tensor] of [adapter.parameters, ...adapter.moments].entries())
      adapter.write(tensor, arrays[index] ?? new Float32Array(0))
    this.#progress = progress
    this.#best = arrays[3] ?? null
  }
}

/** Of everything that decides the curve: not of where its files are, nor of the settings of the server. */
function fingerprintOf({ decoder, config, sequences, evaluation }: TrainOptions): string {
  const how = z.object(hyperparameters.shape).parse(config)
  const base = [config.base.id, statSync(decoder).size, config.warmStart !== null]
  const hash = createHash('sha256').update(JSON.stringify([how, base]))
  for (const some of [sequences, evaluation]) if (some !== null) hash.update(some.lengths).update(some.learned)
  return hash.digest('hex')
}
