import { z } from 'zod'
import { bytesText } from '../../sizes.ts'

/** What a dataset may have, whatever the settings are. */
export const examplesAllowed = { least: 3, most: 3_000_000 } as const

const count = z.int().nonnegative()

/** What the lines of a dataset have, as far as they can be used. */
export const datasetReport = z.strictObject({
  examples: count,
  /** Messages of the user and of the assistant. */
  turns: count,
  /** Answers that are learned. */
  answers: count,
  images: count,
  /** Different ones among them, by their bytes. */
  distinctImages: count,
  /** Of the pictures as files. */
  imageBytes: count,
  /** Of the whole file. */
  bytes: count,
  /** Examples whose line is equal to an earlier one. */
  duplicates: count,
  /** The longest line. */
  longestBytes: count,
})
export type DatasetReport = Readonly<z.output<typeof datasetReport>>

/** What is wrong with one line. */
export const problem = z.strictObject({
  /** From 1; null: the file as a whole. */
  line: count.nullable(),
  /** Names the part, what was found, and what is allowed. */
  message: z.string(),
})
export type Problem = Readonly<z.output<typeof problem>>

/** What is kept of problems: the first ones. */
export const mostProblems = 20

/** What came of looking at all lines of a file. */
export const checked = z.strictObject({
  report: datasetReport,
  problems: z.array(problem),
  /** Lines that cannot be used, with those whose problems are left out. */
  invalid: count,
})
export type Checked = Readonly<z.output<typeof checked>>

export const problemText = ({ line, message }: Problem): string =>
  line === null ? message : `line ${line}: ${message}`

/** All problems in one sentence for an error. */
export function problemsText({ problems, invalid }: Pick<Checked, 'problems' | 'invalid'>): string {
  const shown = problems.slice(0, 5).map(problemText)
  const more = Math.max(invalid, problems.length) - shown.length
  return `${shown.join(' ')}${more > 0 ? ` And ${more} more lines.` : ''}`
}

/** For a person: `120 examples, 120 answers, 120 pictures (118 different), 2 duplicates, 4.1 MB`. */
export function reportText({ examples, answers, images, distinctImages, duplicates, bytes }: DatasetReport): string {
  return [
    counted(examples, 'example'),
    counted(answers, 'answer'),
    `${counted(images, 'picture')}${images === distinctImages ? '' : ` (${distinctImages} different)`}`,
    ...(duplicates > 0 ? [counted(duplicates, 'duplicate')] : []),
    bytesText(bytes),
  ].join(', ')
}

const counted = (count: number, noun: string): string =>
  `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`
