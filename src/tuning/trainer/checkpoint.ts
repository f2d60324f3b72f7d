import { closeSync, fstatSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { systemCode } from '../../disk.ts'
import { parseJson } from '../../json.ts'
import { readAt } from '../../read-at.ts'

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

/** Bytes in which the line of JSON ends. */
const longestLine = 4096

/**
 * A line of JSON, and behind it the arrays. Nobody sees an incomplete file, and nothing is left of one that has no space.
 * @param folder made if it is not there
 */
export function writeCheckpoint(folder: string, { progress, arrays }: Checkpoint): void {
  mkdirSync(folder, { recursive: true })
  const file = path.join(folder, fileName)
  const fresh = `${file}.new`
  try {
    const descriptor = openSync(fresh, 'w')
    try {
      writeFileSync(descriptor, `${JSON.stringify(progress)}\n`)
      for (const array of arrays) writeFileSync(descriptor, array)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(fresh, file)
  } catch (error) {
    rmSync(fresh, { force: true })
    throw error
  }
}

/** @returns null if there is none, or one of something else */
export function readCheckpoint(folder: string, fingerprint: string): Checkpoint | null {
  let descriptor: number
  try {
    descriptor = openSync(path.join(folder, fileName), 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null
    throw error
  }
  try {
    return checkpointIn(descriptor, fingerprint)
  } finally {
    closeSync(descriptor)
  }
}

/** Reads one array after the other: the file may be larger than what Node reads at once. */
function checkpointIn(descriptor: number, fingerprint: string): Checkpoint | null {
  const { size } = fstatSync(descriptor)
  const short = () => new Error('the checkpoint ends too early')
  const head = readAt(descriptor, Buffer.alloc(Math.min(size, longestLine)), 0, short)
  const end = head.indexOf('\n')
  const { data: progress } = progressSchema.safeParse(parseJson(head.toString('utf8', 0, Math.max(0, end))))
  if (progress?.fingerprint !== fingerprint) return null
  const count = progress.best === null ? 3 : 4
  if (size !== end + 1 + count * progress.numbers * 4) return null
  const arrays = Array.from({ length: count }, (_, index) => {
    const array = new Float32Array(progress.numbers)
    readAt(descriptor, new Uint8Array(array.buffer), end + 1 + index * array.byteLength, short)
    return array
  })
  return { progress, arrays }
}
