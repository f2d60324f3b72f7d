import { mkdtempSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Checkpoint, readCheckpoint, writeCheckpoint } from '../../../src/tuning/trainer/checkpoint.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'checkpoint-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const kept: Checkpoint = {
  progress: {
    ...{ fingerprint: 'mine', numbers: 5, step: 4, evaluatedStep: 3, tokens: 100, seconds: 1.5 },
    ...{ best: { step: 3, loss: 0.5 }, worse: 0 },
  },
  arrays: [1, 2, 3, 4].map((first) => Float32Array.from({ length: 5 }, (_, at) => first + at / 8)),
}

it('a checkpoint comes back as it was kept, for the same training alone', () => {
  expect(readCheckpoint(folder, 'mine')).toBeNull()
  writeCheckpoint(folder, kept)
  expect(readCheckpoint(folder, 'mine')).toEqual(kept)
  expect(readCheckpoint(folder, 'another')).toBeNull()
})

it('one that is larger than what Node reads at once is read, too', () => {
  writeCheckpoint(folder, kept)
  // Here nobody needs what is behind it: the file has holes, and its arrays are not as long as it says.
  truncateSync(path.join(folder, 'trainer.checkpoint'), 2 ** 31 + 4096)
  expect(readCheckpoint(folder, 'mine')).toBeNull()
})
