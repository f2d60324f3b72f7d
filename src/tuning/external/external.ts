import { createReadStream } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import { headerOf } from '../../gguf/index.ts'
import { files, type ProgressLine, type TrainingConfig } from '../contract.ts'
import { forms, type Split } from './forms.ts'
import { LogReader } from './log-reader.ts'
import { type Preset, presets } from './presets.ts'
import { refusalOf, type WantedTraining } from './refusal.ts'

/** A run of another trainer, ready to be started. */
export interface ExternalRun {
  readonly words: readonly string[]
  /** Makes lines of progress of a line of its log. */
  read(line: string): readonly ProgressLine[]
}

/** The trainer that the settings name: a command line, or a preset and words that are added to its own. */
export class ExternalTrainer {
  readonly #words: readonly string[]
  readonly #models: Readonly<Record<string, string>>

  constructor({ trainer, trainerModels }: Pick<Config['tuning'], 'trainer' | 'trainerModels'>) {
    this.#words = trainer
    this.#models = trainerModels
  }

  /** Whether the settings name one. */
  get isSet(): boolean {
    return this.#words.length > 0
  }

  /** Why it cannot do what is wanted of a job; undefined: it can. What is no preset decides for itself. */
  refusalOf(wanted: WantedTraining): OrielError | undefined {
    return this.#preset && refusalOf(this.#preset, wanted)
  }

  get #preset(): Preset | undefined {
    const [name = ''] = this.#words
    return Object.hasOwn(presets, name) ? presets[name] : undefined
  }

  /**
   * Writes what it reads into a job's folder, and makes its command.
   * @throws OrielError `precondition_failed` if it is not known by which name it has the base model, or if it cannot do what
   * is wanted; `invalid` for an example that it would learn otherwise
   */
  async prepare(config: TrainingConfig, folder: string): Promise<ExternalRun> {
    const [, ...added] = this.#words
    const preset = this.#preset
    // It may be another one than when the job was made.
    const refusal = this.refusalOf({ hyperparameters: config, warmStart: config.warmStart })
    if (refusal !== undefined) throw refusal
    if (preset !== undefined) return this.#presetRun(preset, added, config, folder)
    const counts = { examples: await linesOf(folder, 'train'), evaluation: await linesOf(folder, 'eval') }
    const { decoder, projector } = config.base
    const values: Readonly<Record<string, string>> = {
      ...{ folder, output: path.join(folder, files.output), decoder, projector: projector ?? '' },
      ...(this.#words.some((word) => word.includes('{model}')) && { model: await this.#modelOf(config) }),
    }
    const words = this.#words.map((word) => word.replace(/\{(\w+)\}/g, (whole, key: string) => values[key] ?? whole))
    return { words, read: reading(config, counts) }
  }

  async #presetRun(
    { form, command, settings }: Preset,
    added: readonly string[],
    config: TrainingConfig,
    folder: string,
  ): Promise<ExternalRun> {
    const model = await this.#modelOf(config)
    const [train, evaluation] = [await forms[form](folder, 'train'), await forms[form](folder, 'eval')]
    const given = {
      ...{ folder, model, output: path.join(folder, files.output) },
      ...{ train: train?.file ?? '', evaluation: evaluation?.file ?? null },
    }
    for (const { name, content } of settings?.(given, config) ?? [])
      await writeFile(path.join(folder, name), JSON.stringify(content, null, 2))
    const counts = { examples: train?.examples ?? 0, evaluation: evaluation?.examples ?? 0 }
    return { words: [...command(given, config), ...added], read: reading(config, counts) }
  }

  /** What other programs know a model by: the settings say it, or its file. */
  async #modelOf({ base: { id, decoder } }: TrainingConfig): Promise<string> {
    const own = Object.hasOwn(this.#models, id) ? this.#models[id] : undefined
    if (own !== undefined) return own
    const { metadata } = await headerOf(decoder)
    const url = ['general.base_model.0.repo_url', 'general.source.repo_url', 'general.repo_url']
      .map((key) => metadata.get(key))
      .find((value) => typeof value === 'string')
    const [, repo] = /^https:\/\/huggingface\.co\/([\w.-]+\/[\w.-]+)/.exec(typeof url === 'string' ? url : '') ?? []
    if (repo !== undefined) return repo
    throw new OrielError(
      'precondition_failed',
      `The file of ${id} does not say of which model it was made. The setting tuning.trainerModels says what the trainer knows it by: {"${id}": "owner/name"}.`,
      { code: 'trainer_model_unknown' },
    )
  }
}

function reading(config: TrainingConfig, counts: { examples: number; evaluation: number }): ExternalRun['read'] {
  const reader = new LogReader(config, counts)
  return (line) => reader.read(line)
}

/** Examples of a split. */
async function linesOf(folder: string, split: Split): Promise<number> {
  const file = path.join(folder, `${split}.jsonl`)
  if ((await stat(file).catch(() => null)) === null) return 0
  let lines = 0
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>)
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++
  return lines
}
