import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Config } from '../config.ts'
import { adapterCalled, type Deployments, isCalled, withoutAccount } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import { headerOf } from '../gguf/index.ts'
import { folderOfDatabase } from '../home.ts'
import type { Logger } from '../log.ts'
import { makeFolder } from '../make-folder.ts'
import { type Library, type ModelCard, peftNames } from '../models/index.ts'
import { availableProcessors } from '../processors.ts'
import { type Datasets, readyExamples } from './datasets/datasets.ts'
import { ExternalTrainer } from './external/external.ts'
import type { JobsAround } from './jobs/around.ts'
import { checkMemory } from './jobs/turn.ts'
import { readingOf } from './prepare/index.ts'
import { architectureOf } from './trainer/architecture.ts'
import { projectorOf } from './trainer/projector.ts'

export interface JobsOptions {
  readonly config: Config
  readonly library: Library
  /** Models that are named by their files, in addition to those that are found by name. */
  readonly cards: readonly ModelCard[]
  readonly deployments: Pick<Deployments, 'memory' | 'list'>
  readonly datasets: Datasets
  /** Whether jobs of other processes that have ended are gone on with, or only those that are made here. */
  readonly runsAll: boolean
  readonly log: Logger
}

/** What jobs get of the library, of the datasets and of the memory of models. */
export async function aroundJobs(options: JobsOptions): Promise<JobsAround> {
  const { config, library, cards, deployments, datasets, runsAll, log } = options
  const folder = folderOfDatabase(config.accounts, 'tuning-jobs')
  const external = new ExternalTrainer(config.tuning)
  const { threads, memoryBytes } = config.tuning
  return {
    ...{ folder, external, runsAll, log, memory: deployments.memory },
    place: await placeIn(folder),
    reading: readingOf(config),
    threads: threads || config.engine.threads || availableProcessors(),
    model: async (name) =>
      cards.find((card) => isCalled(card, name)) ??
      (await library.lookUp(name)) ??
      library.lookUp(withoutAccount(name)),
    adapter: (name) => adapterCalled(name, library),

    async checkOutput(account, name) {
      await library.uploads.begin({ model: name, account, kind: 'adapter', base: null }, { dryRun: true })
      const [models, { adapters }, uploads] = await Promise.all([
        deployments.list(),
        library.adapters(),
        library.uploads.list(),
      ])
      if ([...models, ...adapters].some((one) => isCalled(one, name)) || uploads.some(({ model }) => model === name))
        throw new OrielError('conflict', `There is a model with the name ${name}.`, {
          param: 'outputModel',
          code: 'model_exists',
        })
    },

    publish: ({ account, output, base }, from) => library.adopt(from, { account, model: output, base }),

    async copyAdapter(name, target) {
      const files = await library.files(name)
      const names: readonly string[] = Object.values(peftNames)
      const wanted = files.filter((file) => names.includes(file.name))
      if (wanted.length !== names.length)
        throw new OrielError(
          'precondition_failed',
          `The adapter ${name} is here in GGUF only. To go on from it, its files in the format of PEFT are needed.`,
          { param: 'warmStartFrom', code: 'adapter_unusable' },
        )
      await makeFolder(target)
      for (const file of wanted) await pipeline(file.open(), createWriteStream(path.join(target, file.name)))
    },

    async checkDataset(account, id) {
      return readyExamples(await datasets.find(account, id))
    },

    async writeExamples(job, target, onProgress, signal) {
      const { account, carveOut, hyperparameters } = job
      const dataset = await datasets.find(account, job.dataset)
      const evaluation =
        job.evaluationDataset === null ? undefined : await datasets.find(account, job.evaluationDataset)
      const all = (dataset.report?.examples ?? 1) + (evaluation?.report?.examples ?? 0)
      await datasets.writeJobFolder(dataset, {
        ...{ folder: target, evaluation, carveOut, seed: hyperparameters.seed, signal },
        onProgress: (examples) => onProgress(Math.min(1, examples / all)),
      })
    },

    memoryFor(card) {
      const { budget } = deployments.memory
      if (memoryBytes > 0) checkMemory(memoryBytes, budget)
      return memoryBytes || Math.floor(Math.min(budget / 2, reckonedBytes(card)))
    },

    async trainerFor({ decoder, projector }, { trainer, hyperparameters, warmStart }) {
      const byExternal = (): 'external' => {
        const refusal = external.refusalOf({ hyperparameters, warmStart })
        if (refusal !== undefined) throw refusal
        return 'external'
      }
      if (trainer === 'external' && !external.isSet) throw noExternal()
      if (trainer === 'external') return byExternal()
      let part = 'baseModel'
      try {
        architectureOf(await headerOf(decoder), decoder)
        part = 'trainProjector'
        if (hyperparameters?.trainProjector) await projectorOf(projector)
        return 'built-in'
      } catch (error) {
        if (!(error instanceof OrielError)) throw error
        if (trainer === undefined && external.isSet) return byExternal()
        throw error.at(part)
      }
    },
  }
}

/** A bound, before it is known better: the weights in 32 bits, forwards and backwards, and what is computed with them. */
const reckonedBytes = ({ size: { decoderBytes, visionBytes } }: ModelCard): number =>
  1e9 + 12 * decoderBytes + 2 * visionBytes

/** Tells apart the data folders of servers that have one database. */
async function placeIn(folder: string): Promise<string> {
  const file = path.join(folder, 'place')
  await makeFolder(folder, 0o700)
  // Another process may make it at the same time: the first one counts.
  await writeFile(file, randomUUID(), { flag: 'wx' }).catch(() => {})
  return readFile(file, 'utf8')
}

const noExternal = (): OrielError =>
  new OrielError('precondition_failed', 'This server has no external trainer. The setting ORIEL_TRAINER names one.', {
    param: 'trainer',
    code: 'no_trainer',
  })
