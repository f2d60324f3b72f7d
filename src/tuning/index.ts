import type { Config } from '../config.ts'
import type { ResourceStore } from '../deployments/index.ts'
import { folderOfDatabase } from '../home.ts'
import type { Logger } from '../log.ts'
import { Datasets } from './datasets/datasets.ts'
import type { ExampleLimits } from './datasets/example.ts'

export { checkFile, eachLineIn } from './datasets/check.ts'
export type { Datasets } from './datasets/datasets.ts'
export { Packer } from './datasets/packer.ts'
export type { Dataset } from './datasets/record.ts'
export { datasetReport, problem, problemsText, problemText, reportText } from './datasets/report.ts'
export type { Source } from './datasets/storage.ts'
export { type AskedModel, type Evaluated, evaluate, type ModelAnswer } from './evaluation/evaluate.ts'
export { type Score, scoreOf } from './evaluation/scores.ts'
export type { MergedType } from './merge/layout.ts'
export { merge } from './merge/merge.ts'

/** What trains adapters: datasets of examples, and jobs that learn from them. */
export interface Tuning {
  readonly datasets: Datasets
  /** Ends what runs. */
  close(): void
}

export interface TuningOptions {
  readonly config: Config
  /** Where records are kept. */
  readonly resources: ResourceStore
  readonly log: Logger
}

/** @throws OrielError as the store does */
export async function createTuning({ config, resources, log }: TuningOptions): Promise<Tuning> {
  const { maxDatasets, maxDatasetBytes } = config.tuning
  const datasets = await Datasets.open({
    folder: folderOfDatabase(config.accounts, 'datasets'),
    store: resources,
    quota: { datasets: maxDatasets, bytes: maxDatasetBytes },
    limits: exampleLimits(config),
    log,
  })
  return { datasets, close: () => datasets.close() }
}

/** What an example may have: what a request may. */
export const exampleLimits = ({ media, server }: Config): ExampleLimits => ({
  lineBytes: server.maxBodyBytes,
  images: media.maxImages,
  pixels: media.maxPixels,
  totalPixels: media.maxTotalPixels,
})
