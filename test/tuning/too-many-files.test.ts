import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it, vi } from 'vitest'
import { createLogger } from '../../src/log.ts'
import { Datasets } from '../../src/tuning/datasets/datasets.ts'
import { startTrainer } from '../../src/tuning/jobs/process.ts'
import { ProgressFile } from '../../src/tuning/jobs/progress-file.ts'
import { jsonl, textExample } from '../support/examples.ts'
import { memoryResources } from '../support/memory-resources.ts'

/** What Node makes of a process when too many files are open: it has no streams, no channel and no pid, and says so later. */
vi.mock('../../src/children/index.ts', async (original) => ({
  ...(await original<object>()),
  startProcess: () => {
    const child = Object.assign(new EventEmitter(), { kill: () => false })
    process.nextTick(() => child.emit('error', Object.assign(new Error('spawn EMFILE'), { code: 'EMFILE' })))
    return child
  },
}))

const folders: string[] = []
const newFolder = (): string => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-too-many-'))
  folders.push(folder)
  return folder
}
afterEach(() => {
  vi.restoreAllMocks()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

// A promise that is rejected and that nobody waits for would end the server, and ends this test.

it('too many open files: the check of a dataset fails, and can be repeated', async () => {
  const datasets = await Datasets.open({
    ...{ folder: newFolder(), store: memoryResources(), quota: { datasets: 3, bytes: 1e6 } },
    ...{ limits: { lineBytes: 1e6, images: 30, pixels: 1e6, totalPixels: 1e7 }, log: createLogger('silent') },
  })
  const text = Buffer.from(jsonl([1, 2, 3].map((at) => textExample(`${at}`))))
  const made = await datasets.create('me', { id: 'a' })
  const sent = await datasets.receive(made, { name: 'a.jsonl', bytes: text.length }, (write) => write(text))
  await expect(datasets.finish(sent)).rejects.toMatchObject({ code: 'dataset_process_failed' })
  expect(await datasets.find('me', 'a')).toMatchObject({ state: 'uploaded' })
  datasets.close()
})

const listeners = { line: () => {}, read: () => {}, log: () => {} }

it('too many open files: a trainer ends that was not started', async () => {
  const { ended } = startTrainer(null, newFolder(), listeners)
  await sleep(10)
  expect(await ended).toEqual({ code: null, signal: null, failure: undefined })
})

it('too many open files: what a trainer says cannot be read, and its job alone is told', async () => {
  vi.spyOn(ProgressFile.prototype, 'follow').mockRejectedValue(new Error('open EMFILE'))
  const { ended } = startTrainer(null, newFolder(), listeners)
  await sleep(10)
  await expect(ended).rejects.toThrow('EMFILE')
})
