import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { onAbort } from '../../../src/abort.ts'
import { type Deferred, deferred } from '../../../src/deferred.ts'
import { cancelled } from '../../../src/errors.ts'
import { createLogger } from '../../../src/log.ts'
import { Datasets } from '../../../src/tuning/datasets/datasets.ts'
import type { Checked } from '../../../src/tuning/datasets/report.ts'
import { jsonl, textExample } from '../../support/examples.ts'
import { memoryResources } from '../../support/memory-resources.ts'

/** The checks that have begun, in place of processes that make them. */
const begun: Deferred<Checked>[] = []
vi.mock('../../../src/tuning/datasets/work.ts', () => ({
  work: (_: object, { signal }: { signal: AbortSignal }) => {
    const check = deferred<Checked>()
    onAbort(signal, () => check.reject(cancelled()))
    begun.push(check)
    return check.promise
  },
}))

function end(check: number): void {
  const report = { examples: 3, turns: 6, answers: 3, images: 0, distinctImages: 0, duplicates: 0 }
  begun[check]?.resolve({
    ...{ report: { ...report, bytes: 9, longestBytes: 3, imageBytes: 0 }, problems: [], invalid: 0 },
  })
}

let folder: string
let datasets: Datasets
beforeEach(async () => {
  begun.length = 0
  folder = mkdtempSync(path.join(tmpdir(), 'oriel-readers-'))
  datasets = await Datasets.open({
    ...{ folder, store: memoryResources(), quota: { datasets: 3, bytes: 1e6 }, log: createLogger('silent') },
    limits: { lineBytes: 1e6, images: 30, pixels: 1e6, totalPixels: 1e7 },
  })
})
afterEach(() => {
  datasets.close()
  rmSync(folder, { recursive: true, force: true })
})

const text = jsonl([textExample('a')])
async function add(account: string, id: string): Promise<void> {
  const bytes = Buffer.byteLength(text)
  await datasets.add(account, { id }, { name: 'a.jsonl', bytes }, (write) => write(Buffer.from(text)))
}

it('an account whose datasets are read leaves a reader for others', async () => {
  const ready: string[] = []
  const added = (account: string, id: string) => add(account, id).then(() => ready.push(id))
  const first = added('me', 'first')
  await vi.waitFor(() => expect(begun).toHaveLength(1))
  const second = added('me', 'second')
  await vi.waitFor(async () => expect(await datasets.find('me', 'second')).toMatchObject({ state: 'checking' }))
  const other = added('you', 'other')
  await vi.waitFor(() => expect(begun).toHaveLength(2))
  end(1)
  await other
  expect(ready).toEqual(['other'])
  end(0)
  await first
  await vi.waitFor(() => expect(begun).toHaveLength(3))
  end(2)
  await second
})

it('a dataset that is deleted is read no further, also if it waits for that, and leaves the reader to the next', async () => {
  const gone = (adding: Promise<void>) => expect(adding).rejects.toMatchObject({ code: 'dataset_not_found' })
  const first = gone(add('me', 'first'))
  await vi.waitFor(() => expect(begun).toHaveLength(1))
  const second = gone(add('me', 'second'))
  const third = add('me', 'third')
  for (const id of ['second', 'third'])
    await vi.waitFor(async () => expect(await datasets.find('me', id)).toMatchObject({ state: 'checking' }))
  await datasets.remove(await datasets.find('me', 'second'))
  await second
  expect(begun).toHaveLength(1)
  await datasets.remove(await datasets.find('me', 'first'))
  await first
  await vi.waitFor(() => expect(begun).toHaveLength(2))
  end(1)
  await third
  expect((await datasets.list()).map(({ id, state }) => [id, state])).toEqual([['third', 'ready']])
})
