import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, it, vi } from 'vitest'
import type { EncodedPart } from '../../src/engine/encoder-thread.ts'
import type { AttachmentSpan } from '../../src/engine/prompt-cells.ts'

const threads: Worker[] = []
let code = ''
vi.mock('../../src/children/index.ts', async (original) => ({
  ...(await original<object>()),
  startThread: () => {
    const thread = new Worker(code, { eval: true })
    threads.push(thread)
    return thread
  },
}))

const { embeddingCache, prepareEncoder, startEncoder } = await import('../../src/engine/encoder.ts')
const start = { file: 'mmproj.gguf', settings: {}, progress: new Float32Array(1) } as Parameters<typeof startEncoder>[0]
const cores = { shared: null, next: () => 1, took: () => {} }

it.each([
  ["throw new Error('no memory for the library')", 'no memory for the library'],
  ['process.exit(7)', 'ended with code 7'],
])('a thread that dies of %s before its model comes says so when it comes', async (dies, cause) => {
  code = dies
  prepareEncoder()
  const [thread] = threads.splice(0)
  if (thread !== undefined) await once(thread, 'exit').catch(() => {})
  await expect(startEncoder(start, embeddingCache(1), cores)).rejects.toThrow(cause)
})

/** A thread that answers the parts it is given one after the other. */
const answering = (parts: readonly Omit<EncodedPart, 'embeddings'>[], embedsFrom: number) => `
  const { parentPort } = require('node:worker_threads')
  const parts = ${JSON.stringify(parts)}
  let at = 0
  parentPort.on('message', (message) => {
    if (message.file) parentPort.postMessage({ ready: { runtimes: {}, uncalibrated: [], threads: [] } })
    else if (message.kind) parentPort.postMessage({ ...parts[at], embeddings: at++ < ${embedsFrom} ? null : new Float32Array(1) })
  })`
const chunk = (hash: string) =>
  ({
    kind: 'audio',
    key: hash,
    attachment: { hash },
    plan: { name: '' },
    chunk: {},
    start: 0,
    end: 25,
  }) as AttachmentSpan
const tile = (hash: string) =>
  ({ kind: 'image', key: hash, attachment: { hash }, plan: { name: '' }, tile: {}, start: 0, end: 1 }) as AttachmentSpan

it('the choice of threads learns from the time of encoding, without that of hearing a sound', async () => {
  code = answering(
    [
      { ms: 0, preparingMs: 900 },
      { ms: 70, preparingMs: 300 },
    ],
    1,
  )
  const took = vi.fn<(...args: unknown[]) => void>()
  const encoder = await startEncoder(start, embeddingCache(100), { ...cores, took })
  expect(await encoder.encode(chunk('sound'), new Uint8Array(8))).toMatchObject({ embeddings: null })
  expect(encoder.cached('sound')).toBeUndefined()
  expect(await encoder.encode(chunk('sound'), null)).toMatchObject({ ms: 70, preparingMs: 300 })
  expect(took.mock.calls).toEqual([['audio', 1, 25, 70]])
  expect(encoder.cached('sound')).toHaveLength(1)
  await threads.at(-1)?.terminate()
})

it('images do not push out a sound', async () => {
  code = answering(
    Array.from({ length: 4 }, () => ({ ms: 1, preparingMs: 1 })),
    1,
  )
  const encoder = await startEncoder(start, embeddingCache(100), cores)
  for (const span of [chunk('sound'), tile('1'), tile('2'), tile('3')]) await encoder.encode(span, new Uint8Array(8))
  expect([chunk('sound'), tile('1'), tile('3')].map(encoder.has)).toEqual([true, false, true])
  await threads.at(-1)?.terminate()
})
