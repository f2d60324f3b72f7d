import { workerData } from 'node:worker_threads'
import { bringToDisk } from './weight-seal.ts'

/** A file of weights, and its bytes before the seal. */
export interface ToDisk {
  file: string
  bytes: number
}

// A thread of its own: it takes as long as the disk, and the pool for files of an engine's process computes the decoder.
const { file, bytes }: ToDisk = workerData
bringToDisk(file, bytes)
