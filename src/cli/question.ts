import { readFile } from 'node:fs/promises'
import type { AudioPart, ImagePart, Message, VideoPart } from '../app.ts'
import { type AttachmentKind, kindOfFile } from '../attachments.ts'
import { OrielError } from '../errors.ts'
import type { NamedFile } from './words.ts'

/** One question: what was said so far, and how to answer. */
export interface Question {
  messages: readonly Message[]
  /** A JSON Schema for the answer. */
  schema?: unknown
  /** Default: what the model's makers recommend. */
  temperature?: number | undefined
  /** Tokens of the answer at most. Default: up to the end of the context. */
  maxTokens?: number | undefined
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
  usage: { prompt: number; cached: number; images: number[]; videos: number; audio: number; completion: number }
  /** In ms, from the question on. */
  timings: { firstText: number; total: number }
}

/** What answers: a model in this process, or a server. */
export interface Answerer {
  readonly model: string
  /** @throws OrielError whose `param` is of the form `messages[1].content[0]…` for a file at fault */
  answer(question: Question): Promise<Answered>
  close(): Promise<void>
}

/** A file in a question, or some pages of a document. */
export interface Part {
  file: NamedFile
  pages: string | number | undefined
}

/** The resolution at which images and frames are read. */
export type Detail = ImagePart['detail']

/** As questions have them: URLs, with the bytes of files in them. @throws OrielError `not_found` */
export const partsOf = (parts: readonly Part[], detail: Detail): Promise<(ImagePart | VideoPart | AudioPart)[]> =>
  Promise.all(
    parts.map(async ({ file, pages }) => {
      const { url, kind } = await read(file)
      if (kind === 'video') return { type: kind, video: url, detail }
      return kind === 'audio' ? { type: kind, audio: url } : { type: kind, image: url, detail, pages }
    }),
  )

/** `"8"` is a number of pages, as a number is in the API. */
export const choiceOf = (pages: string): string | number => (/^\d+$/.test(pages) ? Number(pages) : pages)

/**
 * A file as questions have it: a URL, its bytes as one if it is a file here, and what it is, by its name or else its bytes.
 * @throws OrielError `not_found`, or that it is empty
 */
export async function read({ name, content }: NamedFile): Promise<{ url: string; kind: AttachmentKind }> {
  if (typeof content === 'string' && /^(https?|data):/i.test(content))
    return { url: content, kind: kindOfFile(content) }
  const bytes = typeof content === 'string' ? await bytesIn(content, name) : Buffer.from(content)
  if (bytes.length === 0) throw new OrielError('unreadable_media', `The file ${name} is empty.`, { code: 'empty_file' })
  const url = `data:;base64,${bytes.toString('base64')}`
  return { url, kind: kindOfFile(url, { name }) }
}

const bytesIn = (file: string, name: string): Promise<Buffer> =>
  readFile(file).catch((cause: unknown) => {
    const code = cause instanceof Error && 'code' in cause ? ` (${cause.code})` : ''
    throw new OrielError('not_found', `The file ${name} cannot be read${code}.`, { code: 'file_not_found', cause })
  })

/** An error about a file, by the name that the person gave it. */
export function named(error: OrielError, files: readonly NamedFile[]): OrielError {
  const index = /^messages\[\d+\]\.content\[(\d+)\]/.exec(error.param ?? '')?.[1]
  const file = index === undefined ? undefined : files[Number(index)]
  return file === undefined ? error : new OrielError(error.kind, `${file.name}: ${error.message}`, { code: error.code })
}

/** A conversation begins with it. */
export const systemOf = (system: string | undefined): Message[] =>
  system === undefined ? [] : [{ role: 'system', content: system }]
