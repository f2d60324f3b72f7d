import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { parseJson } from '../../json.ts'

/** How far training has come. With the arrays of the adapter it goes on as if it had not stopped. */
const progressSchema = z.strictObject({
  /** Names what is trained: a checkpoint of something else is not used. */
  fingerprint: z.string(),
  /** Numbers of each array. */
  numbers: z.int().positive(),
  step: z.int().nonnegative(),
  /** The step after which the last evaluation was. */
  evaluatedStep: z.int().nonnegative(),
  tokens: z.int().nonnegative(),
  seconds: z.number().nonnegative(),
  /** Of the lowest evaluation loss; null before the first evaluation. */
  best: z.strictObject({ step: z.int(), loss: z.number() }).nullable(),
  /** Evaluations since then. */
  worse: z.int().nonnegative(),
})
export type Progress = z.output<typeof progressSchema>

export interface Checkpoint {
  readonly progress: Progress
  /** Parameters and both moments, and the parameters of the best evaluation if there is one. */
  readonly arrays: readonly Float32Array[]
}

const fileName = 'trainer.checkpoint'

/** A line of JSON, and behind it the arrays. Nobody sees an incomplete file. @param folder made if it is not there */
export function writeCheckpoint(folder: string, { progress, arrays }: Checkpoint): void {
  mkdirSync(folder, { recursive: true })
  const file = path.join(folder, fileName)
  const descriptor = openSync(`${file}.new`, 'w')
  try {
    writeFileSync(descriptor, `${JSON.stringify(progress)}\n`)
    for (const array of arrays) writeFileSync(descriptor, array)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(`${file}.new`, file)
}

/** @returns null if there is none, or one of something else */
export function readCheckpoint(folder: string, fingerprint: string): Checkpoint | null {
  let bytes: Buffer
  try {
    bytes = readFileSync(path.join(folder, fileName))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  const end = bytes.indexOf('\n')
  const { data: progress } = progressSchema.safeParse(parseJson(bytes.toString('utf8', 0, Math.max(0, end))))
  if (progress?.fingerprint !== fingerprint) return null
  const count = progress.best === null ? 3 : 4
  if (bytes.length !== end + 1 + count * progress.numbers * 4) return null
  const arrays = Array.from({ length: count }, (_, index) => {
    const from = end + 1 + index * progress.numbers * 4
    // The numbers of a file do not begin at a multiple of their size.
    return new Float32Array(new Uint8Array(bytes.subarray(from, from + progress.numbers * 4)).buffer)
  })
  return { progress, arrays }
}
