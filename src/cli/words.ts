import { isUtf8 } from 'node:buffer'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { convertPathToPattern, glob, isDynamicPattern } from 'tinyglobby'
import { OrielError } from '../errors.ts'
import { kindOfName } from '../file-names.ts'

/** An image, a document, a video or audio that a person named. */
export interface NamedFile {
  /** What the person called it. */
  name: string
  /** A path, a URL, or the bytes that stdin had. */
  content: string | Uint8Array
}

export interface Words {
  files: NamedFile[]
  question: string | undefined
}

/** Whether a folder or a pattern means a file. A file that is named may have any name. */
const hasEnding = (name: string): boolean => kindOfName(name) !== undefined

/**
 * Sorts the words of a command into files and the question, which may come in any order.
 * @param stdin read for the word `-`, and for a question that no word is if it is not a terminal
 * @throws OrielError if a file is missing, the question is empty, or several words could be the question
 */
export async function sortWords(
  words: readonly string[],
  stdin: NodeJS.ReadableStream & { isTTY?: boolean },
): Promise<Words> {
  const files: NamedFile[] = []
  const questions: string[] = []
  const takeStdin = async (): Promise<void> => {
    const bytes = await buffer(stdin)
    // Who wrote `-` meant something: without it the model would answer about a picture that it never got.
    if (bytes.length === 0 && words.includes('-'))
      throw new OrielError('unreadable_media', 'The word - means what stdin has, and stdin is empty.', {
        code: 'empty_file',
      })
    if (bytes.length === 0) return
    if (isText(bytes)) questions.push(bytes.toString('utf8').trim())
    else files.push({ name: 'stdin', content: bytes })
  }
  for (const word of words) {
    if (word === '-') await takeStdin()
    else {
      const found = await filesNamed(word)
      if (found === undefined) questions.push(word)
      // A folder may have more than can be the arguments of one call.
      else for (const file of found) files.push(file)
    }
  }
  if (questions.length === 0 && !stdin.isTTY && !words.includes('-')) await takeStdin()
  if (questions.some((question) => question.trim() === ''))
    throw new OrielError('invalid', 'The question is empty.', { code: 'empty_question' })
  if (questions.length > 1) throw severalQuestions(questions, files)
  return { files, question: questions[0] }
}

/** The files that a word means; undefined if it is none. @throws OrielError `not_found` for a name of a missing file */
export async function filesNamed(word: string): Promise<NamedFile[] | undefined> {
  if (/^(https?:\/\/|data:)\S+$/i.test(word)) return [{ name: word.slice(0, 200), content: word }]
  const file = /^file:\/\//i.test(word) ? pathOf(word) : word
  const found = await stat(file).catch(() => null)
  if (found?.isDirectory()) return within(word, `${convertPathToPattern(file.replace(/[\\/]+$/, ''))}/*`)
  // A pipe such as <(...) of a shell is no regular file.
  if (found !== null) return [{ name: word, content: file }]
  if (isDynamicPattern(word)) {
    // In a pattern of our own, `\` is before a character that means itself.
    const matches = await filesOf(process.platform === 'win32' ? word.replaceAll('\\', '/') : word)
    if (matches.length > 0) return matches
  }
  if (hasEnding(word) && !/\s/.test(word))
    throw new OrielError('not_found', `There is no file ${word}.`, { code: 'file_not_found' })
  return undefined
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (cause) {
    throw new OrielError('invalid', `${url} is not the URL of a file here: file:///home/me/photo.jpg.`, { cause })
  }
}

async function within(folder: string, pattern: string): Promise<NamedFile[]> {
  const files = await filesOf(pattern)
  if (files.length > 0) return files
  throw new OrielError('not_found', `The folder ${folder} has no images, videos or audio.`, { code: 'file_not_found' })
}

/** The files of a pattern, as a person sorts them: page2 before page10. */
async function filesOf(pattern: string): Promise<NamedFile[]> {
  const paths = await glob(pattern, {
    expandDirectories: false,
    absolute: path.isAbsolute(pattern),
    caseSensitiveMatch: process.platform === 'linux',
  })
  const order = new Intl.Collator(undefined, { numeric: true })
  return paths
    .filter(hasEnding)
    .toSorted(order.compare)
    .map((file) => ({ name: file, content: file }))
}

/** Bytes of files, as far as they are on this machine: of all together, or of the largest one. */
export async function bytesOfAll(files: readonly NamedFile[], which: 'sum' | 'largest'): Promise<number> {
  const sizes = await Promise.all(
    files.map(async ({ content }) => {
      if (typeof content !== 'string') return content.length
      return stat(content).then(
        ({ size }) => size,
        () => 0,
      )
    }),
  )
  return sizes.reduce((all, size) => (which === 'sum' ? all + size : Math.max(all, size)), 0)
}

/** Whether stdin has a question. PNM and SVG images are text, too. */
const isText = (bytes: Buffer): boolean =>
  isUtf8(bytes) && !bytes.includes(0) && !/^(P[1-7]\s|%PDF-|\s*<(\?xml|svg))/.test(bytes.toString('latin1', 0, 64))

function severalQuestions(questions: readonly string[], files: readonly NamedFile[]): OrielError {
  const names = files.map(({ name }) => name).join(' ') || 'photo.jpg'
  const message = questions.some((one) => /\s/.test(one))
    ? `There are ${questions.length} questions, and one is possible: ${questions.map((one) => JSON.stringify(one)).join(', ')}. What is no file or URL is the question.`
    : `The question has ${questions.length} words. Put it in quotes: oriel ask ${names} ${JSON.stringify(questions.join(' '))}`
  return new OrielError('invalid', message, { code: 'several_questions' })
}
