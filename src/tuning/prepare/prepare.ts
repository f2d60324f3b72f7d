import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { LRUCache } from 'lru-cache'
import type { Reader } from '../../deployments/index.ts'
import { isFull, noSpace } from '../../disk.ts'
import { cancelled, OrielError } from '../../errors.ts'
import { type ExampleCounts, files, noCounts, type TrainingConfig } from '../contract.ts'
import type { Sequences } from '../sequence.ts'
import { type Read, type Reading, readExamples } from './read-examples.ts'
import { type KeptRows, openSequences, RowsWriter, SequencesWriter } from './sequence-files.ts'
import type { LearnedPrompt } from './turns.ts'

/** The examples of a job as the decoder takes them. */
export interface Prepared {
  readonly sequences: Sequences
  readonly evaluation: Sequences | null
  readonly counts: ExampleCounts
}

interface Preparing {
  /** Of the job. */
  readonly folder: string
  readonly config: Pick<TrainingConfig, 'base' | 'chatTemplate' | 'maxTokens'>
  /** Starts the model that reads the examples. */
  open(): Promise<Reader>
  /** Called with the share of all examples that were read, 0 to 1. */
  onShare(share: number): void
  readonly signal: AbortSignal
}

/** In the folder of the job. */
const preparedFolder = 'prepared'
/** In that folder, when all is written. */
const readyFile = 'ready.json'
/** Spans whose rows are known. Those of one that is forgotten are made and written once more. */
const mostKnown = 1_000_000

/**
 * Reads and encodes the examples of a job, or opens what was prepared before.
 * @throws OrielError that names the line of an example that cannot be read; `cancelled`
 */
export async function prepare(job: Preparing): Promise<Prepared> {
  const folder = path.join(job.folder, preparedFolder)
  const key = await keyOf(job)
  const counts = (await readyCounts(folder, key)) ?? (await prepareAnew(folder, key, job))
  const evaluation = counts.evaluation > 0 ? openSequences(folder, 'evaluation') : null
  return { sequences: openSequences(folder, 'train'), evaluation, counts }
}

/**
 * Counts the examples of a job, and checks that all can be read. Nothing is encoded.
 * @throws OrielError as `prepare` does
 */
export async function examine(job: Preparing): Promise<ExampleCounts> {
  return reading(job, async () => {})
}

/** What decides how examples are read. */
async function keyOf({ folder, config: { base, chatTemplate, maxTokens } }: Preparing): Promise<string> {
  const all = [base.decoder, base.projector, path.join(folder, files.train), path.join(folder, files.evaluation)]
  const found = await Promise.all(all.map((file) => (file === null ? null : stat(file).catch(() => null))))
  const versions = found.map((one) => one && [one.size, one.mtimeMs])
  return createHash('sha256')
    .update(JSON.stringify([versions, chatTemplate, maxTokens]))
    .digest('hex')
}

async function readyCounts(folder: string, key: string): Promise<ExampleCounts | undefined> {
  const text = await readFile(path.join(folder, readyFile), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const ready: { key: string; counts: ExampleCounts } = JSON.parse(text)
  return ready.key === key ? ready.counts : undefined
}

async function prepareAnew(folder: string, key: string, job: Preparing): Promise<ExampleCounts> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder)
  try {
    const counts = await written(folder, job)
    if (counts.learnedTokens === 0)
      throw new OrielError(
        'invalid',
        'The examples have nothing to learn: no answer of theirs fits the longest sequence.',
      )
    const fresh = path.join(folder, `${readyFile}.new`)
    await writeFile(fresh, JSON.stringify({ key, counts }), { flush: true })
    await rename(fresh, path.join(folder, readyFile))
    return counts
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw isFull(error) ? noSpace('What the encoder makes of the images fills it.') : error
  }
}

async function written(folder: string, job: Preparing): Promise<ExampleCounts> {
  const rows = await RowsWriter.create(folder)
  const writers = {
    train: await SequencesWriter.create(folder, 'train'),
    evaluation: await SequencesWriter.create(folder, 'evaluation'),
  }
  const known = new LRUCache<string, KeptRows>({ max: mostKnown })
  let isWhole = false
  try {
    const counts = await reading(job, async (read, name, reader) => {
      for (const sequence of read.sequences) {
        await encode(sequence, known, rows, reader, job.signal)
        await writers[name].append(recordOf(sequence, known))
      }
    })
    isWhole = true
    return counts
  } finally {
    for (const one of [rows, writers.train, writers.evaluation]) await one.close(isWhole)
  }
}

/** Reads all examples with a model that is closed afterwards. */
async function reading(
  job: Preparing,
  use: (read: Read, name: 'train' | 'evaluation', reader: Reader) => Promise<void>,
): Promise<ExampleCounts> {
  const { folder, config, signal, onShare } = job
  const hasEvaluation = existsSync(path.join(folder, files.evaluation))
  const sizes = await Promise.all(
    [files.train, ...(hasEvaluation ? [files.evaluation] : [])].map(
      async (file) => (await stat(path.join(folder, file))).size,
    ),
  )
  const [ofTrain = 0, ofOthers = 0] = sizes
  const all = Math.max(1, ofTrain + ofOthers)
  const reader = await job.open()
  const read = (name: 'train' | 'evaluation', before: number, size: number): Promise<ExampleCounts> => {
    const parts: Reading = {
      ...{ folder, reader, most: config.maxTokens, signal },
      onShare: (share) => onShare((before + share * size) / all),
    }
    return readExamples(name, parts, (one) => use(one, name, reader))
  }
  try {
    const counts = await read('train', 0, ofTrain)
    const { examples, dropped } = hasEvaluation ? await read('evaluation', ofTrain, ofOthers) : noCounts
    return { ...counts, evaluation: examples - dropped }
  } catch (error) {
    throw signal.aborted ? cancelled() : error
  } finally {
    await reader.close()
  }
}

/** Sees to it that the rows of all spans of a sequence are known. */
async function encode(
  { prompt, cells }: LearnedPrompt,
  known: LRUCache<string, KeptRows>,
  rows: RowsWriter,
  reader: Reader,
  signal: AbortSignal,
): Promise<void> {
  for (const { key, place, end } of prompt.spans) {
    if (end > cells || known.has(key)) continue
    for (const [other, made] of await reader.encode(prompt, place, signal))
      if (!known.has(other)) known.set(other, await rows.append(made))
  }
}

function recordOf({ prompt, cells, stretches }: LearnedPrompt, known: LRUCache<string, KeptRows>) {
  const { tokens, positions, spans } = prompt
  const all = tokens.length
  const axes = positions.length / all
  const learned = new Uint8Array(cells)
  for (const [start, end] of stretches) learned.fill(1, start, end)
  const used = new Int32Array(axes * cells)
  for (let axis = 0; axis < axes; axis++) used.set(positions.subarray(axis * all, axis * all + cells), axis * cells)
  return {
    tokens: tokens.subarray(0, cells),
    positions: used,
    learned,
    spans: spans.flatMap(({ key, start, end }) => {
      if (end > cells) return []
      const rows = known.get(key)
      if (rows === undefined) throw new Error('the rows of a span are missing')
      return [{ start, cells: end - start, rows }]
    }),
  }
}
