import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, it, vi } from 'vitest'

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

const { prepareEncoder, startEncoder } = await import('../../src/engine/encoder.ts')
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
  await expect(startEncoder(start, 1, cores)).rejects.toThrow(cause)
})
