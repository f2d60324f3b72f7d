import { createHash } from 'node:crypto'
import { open, rename } from 'node:fs/promises'
import path from 'node:path'
import { jsonLine } from '../../json.ts'
import { makeFolder } from '../../make-folder.ts'
import { randomNumbers } from '../../random.ts'
import { type ExampleLine, files } from '../contract.ts'
import { examplesIn, type NumberedExample, type Pack } from './check.ts'
import type { ExampleLimits, ExamplePart } from './example.ts'

/** What becomes of datasets in the folder of a job. */
export interface FolderTask {
  /** The JSONL of the dataset, and how many examples it has. */
  readonly file: string
  readonly examples: number
  /** Another dataset for the evaluation. */
  readonly evaluation: string | null
  /** Otherwise, examples of the dataset that are kept from the training for it. */
  readonly carveOut: { readonly examples: number; readonly seed: number } | null
  readonly folder: string
  readonly limits: ExampleLimits
}

export interface WrittenFolder {
  /** Examples of `train.jsonl` and of `eval.jsonl`. */
  readonly train: number
  readonly evaluation: number
}

interface WriteOptions {
  /** Is told how many examples were written. */
  onProgress?: (examples: number) => void
  /** Of the lines of the dataset. */
  pack?: Pack | undefined
}

/**
 * Writes `train.jsonl`, maybe `eval.jsonl`, and `images/` from datasets, one example at a time. Equal pictures become one
 * file. `train.jsonl` appears last, and when it is whole: a folder with it is complete.
 * @throws OrielError `invalid` for a line that cannot be used
 */
export async function writeJobFolder(
  { file, examples, evaluation, carveOut, folder, limits }: FolderTask,
  { onProgress = () => {}, pack }: WriteOptions = {},
): Promise<WrittenFolder> {
  await makeFolder(path.join(folder, files.images))
  const [train, evaluated] = await Promise.all([
    LineFile.open(path.join(folder, files.train)),
    evaluation !== null || carveOut !== null ? LineFile.open(path.join(folder, files.evaluation)) : undefined,
  ])
  try {
    const isKept = carving(examples, evaluation === null ? carveOut : null)
    let written = 0
    for await (const numbered of examplesIn(file, limits, pack)) {
      const target = isKept() && evaluated !== undefined ? evaluated : train
      await target.write(await lineOf(numbered, folder))
      onProgress(++written)
    }
    if (evaluation !== null)
      for await (const numbered of examplesIn(evaluation, limits)) {
        await evaluated?.write(await lineOf(numbered, folder))
        onProgress(++written)
      }
    await evaluated?.end()
    await train.end()
  } finally {
    await Promise.all([train.close(), evaluated?.close()])
  }
  return { train: train.lines, evaluation: evaluated?.lines ?? 0 }
}

/** Selects exactly so many of a known number, each with the same chance: algorithm S of Knuth, volume 2, 3.4.2. */
function carving(examples: number, carveOut: FolderTask['carveOut']): () => boolean {
  if (carveOut === null) return () => false
  const random = randomNumbers(carveOut.seed)
  let [needed, left] = [Math.min(carveOut.examples, examples - 1), examples]
  return () => {
    const isTaken = random() * left-- < needed
    if (isTaken) needed--
    return isTaken
  }
}

async function lineOf({ line, example }: NumberedExample, folder: string): Promise<ExampleLine> {
  const { messages, tools } = example
  const lines = []
  for (const { content, tool_calls, ...message } of messages) {
    const parts = []
    for (const part of content) parts.push(await partOf(part, folder))
    lines.push({ ...message, content: parts, ...(tool_calls !== undefined && { tool_calls: [...tool_calls] }) })
  }
  return { line, messages: lines, ...(tools !== undefined && { tools: [...tools] }) }
}

type LinePart = ExampleLine['messages'][number]['content'][number]

async function partOf(part: ExamplePart, folder: string): Promise<LinePart> {
  if (part.type === 'text') return part
  const { format, bytes } = part.image
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 32)
  const image = `${files.images}/${hash}.${format === 'png' ? 'png' : 'jpg'}`
  await writeOnce(path.join(folder, image), bytes)
  return { type: 'image', image }
}

/** An equal picture may have been written before. One that was written in part only is written anew. */
async function writeOnce(file: string, bytes: Buffer): Promise<void> {
  const target = await open(file, 'a')
  try {
    const { size } = await target.stat()
    if (size === bytes.length) return
    await target.truncate(0)
    await target.writeFile(bytes)
  } finally {
    await target.close()
  }
}

/** Bytes that are written at once. */
const chunkBytes = 1 << 18

/** A file of lines that appears when it is whole. */
class LineFile {
  readonly #file: string
  readonly #target: Awaited<ReturnType<typeof open>>
  #waiting: string[] = []
  #characters = 0
  lines = 0

  static async open(file: string): Promise<LineFile> {
    return new LineFile(file, await open(partial(file), 'w'))
  }

  private constructor(file: string, target: Awaited<ReturnType<typeof open>>) {
    this.#file = file
    this.#target = target
  }

  async write(value: object): Promise<void> {
    const line = jsonLine(value)
    this.lines++
    this.#waiting.push(line, '\n')
    this.#characters += line.length
    if (this.#characters >= chunkBytes) await this.#flush()
  }

  async end(): Promise<void> {
    await this.#flush()
    await this.#target.sync()
    await rename(partial(this.#file), this.#file)
  }

  close(): Promise<void> {
    return this.#target.close()
  }

  async #flush(): Promise<void> {
    const text = this.#waiting.join('')
    this.#waiting = []
    this.#characters = 0
    await this.#target.writeFile(text)
  }
}

const partial = (file: string): string => `${file}.part`
