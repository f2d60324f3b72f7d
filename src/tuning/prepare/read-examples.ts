import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Reader } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { type ExampleCounts, files, noCounts } from '../contract.ts'
import { authorsLine, type Example, loadImages, readExample } from './example.ts'
import { type LearnedPrompt, learnedOf } from './turns.ts'

/** What an example becomes. */
export interface Read {
  readonly sequences: readonly LearnedPrompt[]
  readonly truncated: boolean
  readonly images: number
  /** Frees the pixels of its images. */
  letGo(): void
}

export interface Reading {
  /** Of the job. */
  readonly folder: string
  readonly reader: Reader
  /** Cells of a sequence. */
  readonly most: number
  readonly signal: AbortSignal
  /** Called with the share of a file that was read, 0 to 1. */
  onShare(share: number): void
}

/**
 * Reads the examples of a file one after the other. The images of the next one are loaded while `use` has one.
 * @param use is called with each in its order, and its result is awaited. What it throws is about that example
 * @returns their counts
 * @throws OrielError that names the line; `cancelled`
 */
export async function readExamples(
  name: 'train' | 'evaluation',
  reading: Reading,
  use: (read: Read) => Promise<void>,
): Promise<ExampleCounts> {
  const { folder, signal, onShare } = reading
  const file = path.join(folder, files[name])
  const { size } = await stat(file)
  const counts = { ...noCounts }
  let waiting: (() => Promise<void>) | undefined
  let [number, bytes] = [0, 0]
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
    number++
    bytes += Buffer.byteLength(line) + 1
    if (line.trim() === '') continue
    signal.throwIfAborted()
    const inLine = named(name, authorsLine(line) ?? number)
    const coming = read(line, reading).catch(inLine)
    // It is awaited when the one before has been used.
    coming.catch(() => {})
    await waiting?.()
    const share = bytes / size
    waiting = async () => {
      // While another one's pixels were in memory there was no space.
      const one = await coming.catch((error: unknown) => {
        if (error instanceof OrielError && error.kind === 'overloaded') return read(line, reading).catch(inLine)
        throw error
      })
      await use(one).catch(inLine).finally(one.letGo)
      count(counts, one)
      onShare(Math.min(1, share))
    }
  }
  await waiting?.()
  return counts
}

async function read(line: string, { folder, reader, most, signal }: Reading): Promise<Read> {
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  try {
    const example: Example = readExample(line)
    const images = await loadImages(example, folder, reader, either)
    const { sequences, truncated } = await learnedOf(example, images, reader, most)
    return { sequences, truncated, images: example.images.length, letGo: () => over.abort() }
  } catch (error) {
    over.abort()
    throw error
  }
}

function count(counts: ExampleCounts, { sequences, truncated, images }: Read): void {
  counts.examples++
  counts.images += images
  if (truncated) counts.truncated++
  if (sequences.length === 0) counts.dropped++
  for (const { prompt, cells, stretches } of sequences) {
    counts.tokens += cells
    for (const [start, end] of stretches) counts.learnedTokens += end - start
    // With the marks around an image, as requests count it.
    const whole = new Set(prompt.spans.flatMap(({ place, end }) => (end <= cells ? place : [])))
    for (const place of whole) counts.imageTokens += prompt.attachmentTokens[place] ?? 0
  }
}

/** Throws an error with the line that it is about. */
const named =
  (name: 'train' | 'evaluation', number: number) =>
  (error: unknown): never => {
    if (!(error instanceof OrielError) || error.kind === 'cancelled') throw error
    const { kind, message, param, code } = error
    const of = name === 'train' ? '' : ' of the evaluation examples'
    const place = param === undefined || param === '' || param === 'prompt' ? '' : `, ${param}`
    throw new OrielError(kind, `Line ${number}${of}${place}: ${message}`, { code, cause: error })
  }
