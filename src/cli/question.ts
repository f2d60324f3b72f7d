import { readFile } from 'node:fs/promises'
import type { ImagePart, Message } from '../app.ts'
import { OrielError } from '../errors.ts'
import type { Picture } from './words.ts'

/** One question: what was said so far, and how to answer. */
export interface Question {
  messages: readonly Message[]
  /** A JSON Schema for the answer. */
  schema?: unknown
  /** Default: what the model's makers recommend. */
  temperature?: number | undefined
  signal: AbortSignal
  /** Receives the text as it comes. A thought is what a model writes before its answer. */
  onText?(text: string, kind: 'text' | 'thought'): void
}

export interface Answered {
  model: string
  text: string
  reasoning: string
  /** `length`: it was cut at the end of the context. */
  reason: string
  usage: { prompt: number; cached: number; images: number[]; completion: number }
  /** In ms, from the question on. */
  timings: { firstText: number; total: number }
}

/** What answers: a model in this process, or a server. */
export interface Answerer {
  readonly model: string
  /** @throws OrielError whose `param` is of the form `messages[1].content[0]…` for an image at fault */
  answer(question: Question): Promise<Answered>
  close(): Promise<void>
}

/** An image in a question, or some pages of a document. */
export interface Part {
  picture: Picture
  pages: string | number | undefined
}

/** The resolution at which images are read. */
export type Detail = ImagePart['detail']

/** As questions have them: URLs, with the bytes of files in them. @throws OrielError `not_found` */
export const imagesOf = (parts: readonly Part[], detail: Detail): Promise<ImagePart[]> =>
  Promise.all(parts.map(async ({ picture, pages }) => ({ type: 'image', image: await urlOf(picture), detail, pages })))

/** `"8"` is a number of pages, as a number is in the API. */
export const choiceOf = (pages: string): string | number => (/^\d+$/.test(pages) ? Number(pages) : pages)

/** An image as questions have it: a URL, its bytes as one if it is a file. @throws OrielError `not_found`, or that it is empty */
export async function urlOf({ name, image }: Picture): Promise<string> {
  if (typeof image === 'string' && /^(https?|data):/i.test(image)) return image
  const bytes = typeof image === 'string' ? await bytesIn(image, name) : Buffer.from(image)
  if (bytes.length === 0) throw new OrielError('unreadable_media', `The file ${name} is empty.`, { code: 'empty_file' })
  return `data:;base64,${bytes.toString('base64')}`
}

const bytesIn = (file: string, name: string): Promise<Buffer> =>
  readFile(file).catch((cause: unknown) => {
    const code = cause instanceof Error && 'code' in cause ? ` (${cause.code})` : ''
    throw new OrielError('not_found', `The file ${name} cannot be read${code}.`, { code: 'file_not_found', cause })
  })

/** An error about an image, by the name that the person gave it. */
export function named(error: OrielError, pictures: readonly Picture[]): OrielError {
  const index = /^messages\[\d+\]\.content\[(\d+)\]/.exec(error.param ?? '')?.[1]
  const picture = index === undefined ? undefined : pictures[Number(index)]
  return picture === undefined
    ? error
    : new OrielError(error.kind, `${picture.name}: ${error.message}`, { code: error.code })
}

/** A conversation begins with it. */
export const systemOf = (system: string | undefined): Message[] =>
  system === undefined ? [] : [{ role: 'system', content: system }]
