import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { OrielError } from '../../errors.ts'
import { type Example, type ExampleLimits, isLearned, parseLine, readExample } from './example.ts'
import { fail } from './fields.ts'
import { type Line, readLines } from './lines.ts'
import { type Checked, examplesAllowed, mostProblems, type Problem } from './report.ts'
import { SeenHashes } from './seen-hashes.ts'

/** Pictures whose hashes are kept. Beyond that, equal ones count as different. */
const mostPictures = 1 << 24

/** What a line is before it is read: with its pictures, for one. */
export type Pack = (json: unknown) => Promise<unknown>
const asItIs: Pack = async (json) => json

/** An example and its line, counted from 1. */
export interface NumberedExample {
  readonly line: number
  readonly example: Example
}

/**
 * The examples of a file, one after the other. A line takes as long as it is large, so a server asks this in a process of
 * its own (`work.ts`).
 * @throws OrielError `invalid` at the first line that cannot be used
 */
export async function* examplesIn(file: string, limits: ExampleLimits, pack = asItIs): AsyncGenerator<NumberedExample> {
  for await (const one of eachLineIn(file, limits, pack)) {
    if (!('error' in one)) yield one
    else throw new OrielError('invalid', `line ${one.line}: ${one.error.message}`, { code: one.error.code })
  }
}

/** As `examplesIn`, with the error of each line that cannot be used. */
export async function* eachLineIn(
  file: string,
  limits: ExampleLimits,
  pack = asItIs,
): AsyncGenerator<NumberedExample | { line: number; error: OrielError }> {
  for await (const { line, ...read } of linesRead(file, limits, pack)) yield { ...read, line: line.line }
}

type Read = { line: Line; example: Example } | { line: Line; error: OrielError }

async function* linesRead(file: string, limits: ExampleLimits, pack: Pack): AsyncGenerator<Read> {
  for await (const line of readLines(file, limits.lineBytes)) {
    let read: Read
    try {
      read = { line, example: readExample(await pack(jsonOf(line, limits)), limits) }
    } catch (error) {
      if (!(error instanceof OrielError)) throw error
      read = { line, error }
    }
    yield read
  }
}

/** @throws OrielError `invalid` */
function jsonOf({ text, bytes }: Line, limits: ExampleLimits): unknown {
  if (bytes > limits.lineBytes)
    throw fail('the line', `has ${bytes} bytes; ${limits.lineBytes} are allowed for an example.`)
  if (text === undefined) throw fail('the line', 'is no UTF-8.')
  return parseLine(text)
}

export interface CheckOptions {
  /** Is told how many bytes were read. */
  onProgress?: (bytes: number) => void
  pack?: Pack
}

/** Looks at all lines of a file, of which one at a time is in memory. */
export async function checkFile(
  file: string,
  limits: ExampleLimits,
  { onProgress = () => {}, pack = asItIs }: CheckOptions = {},
): Promise<Checked> {
  const report = {
    ...{ examples: 0, turns: 0, answers: 0, images: 0, distinctImages: 0, imageBytes: 0 },
    ...{ bytes: (await stat(file)).size, duplicates: 0, longestBytes: 0 },
  }
  const problems: Problem[] = []
  let invalid = 0
  const [lines, pictures] = [new SeenHashes(examplesAllowed.most), new SeenHashes(mostPictures)]
  for await (const { line, ...read } of linesRead(file, limits, pack)) {
    report.longestBytes = Math.max(report.longestBytes, line.bytes)
    onProgress(line.at)
    if ('error' in read) {
      invalid++
      if (problems.length < mostProblems) problems.push({ line: line.line, message: read.error.message })
    } else {
      report.examples++
      if (!lines.add(hashOf(line.text ?? ''))) report.duplicates++
      for (const message of read.example.messages) {
        if (message.role === 'user' || message.role === 'assistant') report.turns++
        if (isLearned(message)) report.answers++
        for (const part of message.content) {
          if (part.type !== 'image') continue
          report.images++
          if (!pictures.add(hashOf(part.image.bytes))) continue
          report.distinctImages++
          report.imageBytes += part.image.bytes.length
        }
      }
    }
    if (report.examples + invalid > examplesAllowed.most) break
  }
  return { report, problems: [...wrongNumber(report.examples, invalid), ...problems].slice(0, mostProblems), invalid }
}

/** A dataset that is too small is told so when its lines are right. */
function wrongNumber(examples: number, invalid: number): Problem[] {
  const { least, most } = examplesAllowed
  if (examples + invalid > most)
    return [{ line: null, message: `The dataset has more than ${most} examples, which is the most that is allowed.` }]
  if (examples >= least || invalid > 0) return []
  return [{ line: null, message: `The dataset has ${examples} examples; ${least} to ${most} are allowed.` }]
}

const hashOf = (data: string | Buffer): Buffer => createHash('sha256').update(data).digest()
