import { expect, it } from 'vitest'
import { Cores } from '../../src/engine/cores.ts'
import type { EmbeddedText } from '../../src/engine/embedding.ts'
import { Embeddings } from '../../src/engine/embeddings.ts'
import { OrielError } from '../../src/errors.ts'
import type { Embedder } from '../../src/language/index.ts'
import { Batch } from '../../src/native/index.ts'

const settings = { chunkTokens: 8, maxQueue: 1 }
/** Rows of the largest batch, and cells. */
const [rows, cells] = [20, 32]

/** A model whose tokens are characters, between 1 and 2, and whose embeddings are the lengths of texts. */
function start({ whole = true, fails = false } = {}) {
  /** Rows of each sequence in each batch. */
  const steps: Map<number, number>[] = []
  const lengths = new Map<number, number>()
  const embedder: Embedder = {
    vocabulary: {
      size: 100,
      longest: 4,
      around: { before: [1], after: [2] },
      tokenizing: (text: string) => [Int32Array.from(text, () => 7)],
    } as Partial<Embedder['vocabulary']> as Embedder['vocabulary'],
    ...{ whole, longest: rows, cells, sequences: 4, width: 1, memory: { weightsBytes: 0, kvBytes: 0 }, gpuLayers: 0 },
    newBatch() {
      const batch = new Batch(rows, 0)
      const { addToken, clear } = batch
      batch.clear = () => {
        steps.push(new Map())
        clear.call(batch)
      }
      batch.addToken = (token, time, sequence, wanted) => {
        const step = steps.at(-1)
        step?.set(sequence, (step.get(sequence) ?? 0) + 1)
        lengths.set(sequence, time + 1)
        return addToken.call(batch, token, time, sequence, wanted)
      }
      return batch
    },
    setThreads() {},
    async run() {
      await new Promise((resolve) => setImmediate(resolve))
      if (fails) throw new Error('no')
    },
    embedding: (sequence) => Float32Array.of(lengths.get(sequence) ?? 0),
    forget: (sequence) => void lengths.delete(sequence),
    close() {},
  }
  const answers = new Map<number, EmbeddedText>()
  const failures = new Map<number, unknown>()
  const port = {
    answer: (id: number, answer: EmbeddedText) => void answers.set(id, answer),
    fail: (id: number, error: unknown) => void failures.set(id, error),
  }
  const embeddings = new Embeddings({ embedder, cores: new Cores(1), settings, port })
  const submit = (id: number, text: string | number[], client = 'a', overflow: 'error' | 'truncate' = 'error') =>
    embeddings.submit(id, { text, client, overflow })
  /** Waits until nothing is left to do. */
  const idle = async () => {
    do await new Promise((resolve) => setTimeout(resolve, 1))
    while (embeddings.state.running + embeddings.state.waiting > 0)
  }
  return { embeddings, submit, idle, answers, failures, steps, sizes: () => steps.map((step) => [...step.values()]) }
}

it('computes texts that come together in one step, up to its rows', async () => {
  const { submit, idle, answers, sizes } = start()
  for (const id of [1, 2, 3]) submit(id, 'ab')
  await idle()
  expect(sizes()).toEqual([[4, 4], [4]])
  expect(answers.get(3)).toEqual({ tokens: 4, embedding: Float32Array.of(4) })
})

it('computes a text that must be in one step alone if it is longer than a step', async () => {
  const { submit, idle, sizes } = start()
  submit(1, 'a')
  submit(2, 'a'.repeat(10))
  submit(3, 'a')
  await idle()
  expect(sizes()).toEqual([[3], [12], [3]])
})

it('computes a text step by step if the model can', async () => {
  const { submit, idle, answers, sizes } = start({ whole: false })
  submit(1, 'a'.repeat(10))
  submit(2, 'ab')
  await idle()
  expect(sizes()).toEqual([[8], [4, 4]])
  expect(answers.get(1)?.embedding).toEqual(Float32Array.of(12))
})

it('lets clients take turns: many texts of one do not delay one of another', async () => {
  const { submit, idle, answers } = start()
  for (let id = 1; id <= 20; id++) submit(id, 'abcdef', 'many')
  submit(100, 'abcdef', 'one')
  await idle()
  expect([...answers.keys()].indexOf(100)).toBeLessThan(3)
  expect(answers.size).toBe(21)
})

it('never promises more cells than there are', async () => {
  const { submit, idle, answers } = start({ whole: false })
  for (let id = 1; id <= 10; id++) submit(id, 'a'.repeat(16), String(id))
  await idle()
  expect(answers.size).toBe(10)
})

it('reads long texts a few at a time, so that others are heard meanwhile', async () => {
  const { embeddings, submit, idle, failures } = start()
  for (let id = 1; id <= 10; id++) submit(id, Array(20_000).fill(7))
  // A round of the event loop reads two of them, which are refused.
  await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setImmediate(resolve))
  expect(failures.size).toBeLessThan(10)
  embeddings.cancel(10)
  await idle()
  expect(failures.get(9)).toMatchObject({ code: 'context_length_exceeded' })
  expect(failures.get(10)).toMatchObject({ kind: 'cancelled' })
})

it('refuses what it cannot embed, and embeds the rest', async () => {
  const { submit, idle, answers, failures } = start()
  submit(1, 'a'.repeat(19))
  submit(2, 'a'.repeat(1000))
  submit(3, [5, 100])
  submit(4, [])
  submit(5, 'a')
  await idle()
  expect([...answers.keys()]).toEqual([5])
  expect([...failures].map(([id, error]) => [id, error instanceof OrielError && error.code])).toEqual([
    [1, 'context_length_exceeded'],
    [2, 'context_length_exceeded'],
    [3, 'invalid_value'],
    [4, 'invalid_value'],
  ])
})

it('cuts what is too long if it may, and keeps the last token', async () => {
  const { submit, idle, answers } = start()
  submit(1, 'a'.repeat(1000), 'a', 'truncate')
  submit(
    2,
    Array.from({ length: 50 }, () => 5),
    'a',
    'truncate',
  )
  await idle()
  expect([...answers.values()].map(({ tokens }) => tokens)).toEqual([rows, rows])
})

it('drops what is cancelled, whether it waits or runs', async () => {
  const { embeddings, submit, idle, answers, failures } = start({ whole: false })
  submit(1, 'a'.repeat(18))
  submit(2, 'a')
  embeddings.cancel(2)
  expect(failures.has(2)).toBe(true)
  await new Promise((resolve) => setImmediate(resolve))
  embeddings.cancel(1)
  embeddings.cancel(77)
  await idle()
  expect([...failures.keys()]).toEqual([2, 1])
  expect(answers.size).toBe(0)
  submit(3, 'a'.repeat(18))
  await idle()
  expect([...answers.keys()]).toEqual([3])
})

it('refuses the newest text of the client that has most when its queue is full', async () => {
  const { submit, idle, answers, failures } = start()
  for (let id = 1; id <= 64; id++) submit(id, 'a', 'many')
  submit(100, 'a', 'one')
  expect([...failures.keys()]).toEqual([64])
  submit(65, 'a', 'many')
  expect([...failures.keys()]).toEqual([64, 65])
  await idle()
  expect(answers.size).toBe(64)
})

it('fails the texts of a step that fails', async () => {
  const { submit, idle, failures, embeddings } = start({ fails: true })
  submit(1, 'a')
  submit(2, 'a')
  await idle()
  expect([...failures.keys()]).toEqual([1, 2])
  expect(embeddings.state).toEqual({ running: 0, waiting: 0 })
})
