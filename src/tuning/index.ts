import type { Config } from '../config.ts'
import type { ResourceStore } from '../deployments/index.ts'
import { folderOfDatabase } from '../home.ts'
import { aroundJobs, type JobsOptions } from './around-jobs.ts'
import { Datasets } from './datasets/datasets.ts'
import type { ExampleLimits } from './datasets/example.ts'
import { Jobs } from './jobs/jobs.ts'

export { checkFile, eachLineIn } from './datasets/check.ts'
export type { Datasets } from './datasets/datasets.ts'
export { Packer } from './datasets/packer.ts'
export type { Dataset } from './datasets/record.ts'
export { datasetReport, problem, problemsText, problemText, reportText } from './datasets/report.ts'
export { type AskedModel, type Evaluated, evaluate, type ModelAnswer } from './evaluation/evaluate.ts'
export { type Score, scoreOf } from './evaluation/scores.ts'
export { examineFile } from './examine-file.ts'
export { mostTokens, usual as usualHyperparameters } from './jobs/defaults.ts'
export type { Happening } from './jobs/folder.ts'
export type { Jobs } from './jobs/jobs.ts'
export { type JobState, percentOf, secondsLeft, type TuningJob, trainers } from './jobs/record.ts'
export { bounds, type WantedJob } from './jobs/wanted.ts'
export type { MergedType } from './merge/layout.ts'
export { merge } from './merge/merge.ts'
export { readingOf } from './prepare/index.ts'

/** What trains adapters: datasets of examples, and jobs that learn from them. */
export interface Tuning {
  readonly datasets: Datasets
  readonly jobs: Jobs
  /** Ends what runs. Jobs keep a checkpoint, and go on with the next server. */
  close(): Promise<void>
}

export interface TuningOptions extends Omit<JobsOptions, 'datasets'> {
  /** Where records are kept. */
  readonly resources: ResourceStore
}

/** @throws OrielError as the store does */
export async function createTuning({ resources, ...options }: TuningOptions): Promise<Tuning> {
  const { config, log } = options
  const { maxDatasets, maxDatasetBytes } = config.tuning
  const datasets = await Datasets.open({
    folder: folderOfDatabase(config.accounts, 'datasets'),
    store: resources,
    quota: { datasets: maxDatasets, bytes: maxDatasetBytes },
    limits: exampleLimits(config),
    log,
  })
  const jobs = new Jobs(resources, await aroundJobs({ ...options, datasets }))
  await jobs.open()
  return {
    datasets,
    jobs,
    async close() {
      datasets.close()
      await jobs.close()
    },
  }
}

/** What an example may have: what a request may. */
export const exampleLimits = ({ media, server }: Config): ExampleLimits => ({
  lineBytes: server.maxBodyBytes,
  images: media.maxImages,
  pixels: media.maxPixels,
  totalPixels: media.maxTotalPixels,
})
