import { readFile } from 'node:fs/promises'
import { OrielError, withheld } from '../errors.ts'
import { parseJson } from '../json.ts'
import { configOf } from '../load-config.ts'
import { type AskFlags, chooseAnswerer, settingsOf } from './answerer.ts'
import { interruption } from './interruption.ts'
import { type Answered, type Answerer, choiceOf, named, type Part, partsOf, read, systemOf } from './question.ts'
import { bytesOfAll, type NamedFile, sortWords } from './words.ts'
import { nowhere, toTerminal, type Writer } from './writer.ts'

/** Files that `--each` asks about at the same time: while one is answered, the next ones are read and encoded. */
const asked = 4

/**
 * `oriel ask`: sorts the words into files and the question, and writes the answer as it comes. Documents with more pages
 * than one question may have are asked about in parts, and the model puts the answers together. Without a question it chats.
 * @throws OrielError with one sentence for the person
 */
export async function ask(words: readonly string[], flags: AskFlags): Promise<void> {
  const { files, question } = await sortWords(words, process.stdin)
  if (question === undefined) return chatAbout(files, words, flags)
  const schema = flags.schema === undefined ? undefined : await schemaIn(flags.schema)
  if (flags.each && files.length === 0)
    throw new OrielError('invalid', '--each asks about each file, and there is none.')
  const signal = interruption()
  const answerer = await chooseAnswerer(flags, await bytesOfAll(files, flags.each ? 'largest' : 'sum'))
  const asker = new Asker(answerer, flags, schema, signal)
  try {
    if (flags.each) await each(asker, files, question, flags)
    else if (flags.json) process.stdout.write(`${JSON.stringify(jsonOf(await asker.ask(files, question), schema))}\n`)
    else await asker.ask(files, question, toTerminal())
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    await answerer.close()
  }
}

async function chatAbout(files: NamedFile[], words: readonly string[], flags: AskFlags): Promise<void> {
  const is = (flag: boolean | string | undefined): boolean => flag !== undefined
  if (!process.stdin.isTTY || !process.stdout.isTTY || [flags.each, flags.json, flags.schema].some(is)) {
    const names = words.filter((word) => word !== '-')
    throw new OrielError(
      'invalid',
      `The question is missing: oriel ask ${[...names, '"What is in this image?"'].join(' ')}`,
    )
  }
  await (await import('./chat.ts')).chat(files, flags)
}

interface InParts extends Answered {
  /** The answers about parts of a document that is too long for one question. */
  parts?: { about: string; text: string }[]
}

/** Asks one question about files. */
class Asker {
  readonly #answerer: Answerer
  readonly #flags: AskFlags
  readonly #schema: unknown
  readonly signal: AbortSignal

  constructor(answerer: Answerer, flags: AskFlags, schema: unknown, signal: AbortSignal) {
    this.#answerer = answerer
    this.#flags = flags
    this.#schema = schema
    this.signal = signal
  }

  async ask(files: readonly NamedFile[], question: string, writer = nowhere): Promise<InParts> {
    const { pages, batch } = this.#flags
    if (batch !== undefined && pages === undefined) {
      const parts = await inParts(files, this.#flags, this.signal)
      if (parts.length > 1) return this.#askInParts(parts, question, writer)
    }
    try {
      const parts = files.map((file) => ({ file, pages: pages === undefined ? undefined : choiceOf(pages) }))
      return await this.#answer(parts, question, writer, this.#schema)
    } catch (error) {
      if (!(error instanceof OrielError) || error.code !== 'too_many_images' || pages !== undefined) throw error
      return this.#askInParts(await inParts(files, this.#flags, this.signal), question, writer)
    }
  }

  async #askInParts(all: readonly Part[][], question: string, writer: Writer): Promise<InParts> {
    const parts: { about: string; text: string }[] = []
    for (const some of all) {
      const about = some.map(nameOf).join('; ')
      writer.heading(about)
      parts.push({ about, text: (await this.#answer(some, question, writer)).text })
    }
    writer.heading('In all')
    const answers = parts.map(({ about, text }) => `${about}:\n${text}`).join('\n\n')
    const summary = `${answers}\n\nThese are answers about parts of the same. As one answer: ${question}`
    return { ...(await this.#answer([], summary, writer, this.#schema)), parts }
  }

  async #answer(parts: readonly Part[], question: string, writer: Writer, schema?: unknown): Promise<Answered> {
    try {
      const answered = await this.#answerer.answer({
        messages: [
          ...systemOf(this.#flags.system),
          { role: 'user', content: [...(await partsOf(parts, this.#flags.detail)), { type: 'text', text: question }] },
        ],
        schema,
        temperature: this.#flags.temperature,
        signal: this.signal,
        onText: writer.text,
      })
      // JSON says it in `finish_reason`.
      if (answered.reason === 'content_filter' && !this.#flags.json) throw withheld()
      writer.end()
      return answered
    } catch (error) {
      writer.breakOff()
      throw error instanceof OrielError
        ? named(
            error,
            parts.map(({ file }) => file),
          )
        : error
    }
  }
}

/** One answer for each file, in their order. One that fails does not stop the others. */
async function each(asker: Asker, files: readonly NamedFile[], question: string, { json, schema }: AskFlags) {
  type Result = { answered: InParts } | { error: unknown }
  const begin = (file: NamedFile): Promise<Result> =>
    asker.ask([file], question).then(
      (answered) => ({ answered }),
      (error: unknown) => ({ error }),
    )
  const running: Promise<Result>[] = files.slice(0, asked).map(begin)
  let failed = 0
  for (const [index, { name }] of files.entries()) {
    const result = await running.shift()
    const next = files[index + asked]
    if (next !== undefined && !asker.signal.aborted) running.push(begin(next))
    if (result === undefined || asker.signal.aborted) throw asker.signal.reason
    if ('answered' in result) {
      const line = json
        ? JSON.stringify({ file: name, ...jsonOf(result.answered, schema) })
        : `${name}: ${result.answered.text.trim()}`
      process.stdout.write(`${line}\n`)
      continue
    }
    if (!(result.error instanceof OrielError)) throw result.error
    failed++
    const { message, code } = result.error
    if (json) process.stdout.write(`${JSON.stringify({ file: name, error: { message, code } })}\n`)
    else process.stderr.write(`${message}\n`)
  }
  if (failed > 0)
    throw new OrielError('invalid', `${failed} of ${files.length} files could not be asked about.`, {
      code: 'some_failed',
    })
}

/** An answer for programs. Times are in ms. */
function jsonOf({ model, text, reasoning, reason, usage, timings, parts }: InParts, schema: unknown) {
  return {
    model,
    text,
    value: schema === undefined ? undefined : (parseJson(text) ?? null),
    reasoning: reasoning === '' ? undefined : reasoning,
    finish_reason: reason,
    parts,
    usage: {
      prompt_tokens: usage.prompt,
      cached_tokens: usage.cached,
      image_tokens: usage.images,
      video_tokens: usage.videos,
      audio_tokens: usage.audio,
      completion_tokens: usage.completion,
    },
    timings: { first_text_ms: Math.round(timings.firstText), total_ms: Math.round(timings.total) },
  }
}

const nameOf = ({ file, pages }: Part): string =>
  pages === undefined ? file.name : `${file.name}, ${String(pages).includes('-') ? 'pages' : 'page'} ${pages}`

/** All pages of all files in order, in parts of at most as many images as one question may have. */
async function inParts(files: readonly NamedFile[], flags: AskFlags, signal: AbortSignal): Promise<Part[][]> {
  const settings = settingsOf(flags)
  const most = configOf(settings).media.maxImages
  const { createOriel } = await import('../app.ts')
  // Decoders only: no model is loaded.
  const oriel = await createOriel(settings)
  const parts: Part[][] = []
  let free = 0
  try {
    for (const file of files) {
      const { url, kind } = await read(file)
      const { format, pages } = kind === 'image' ? await oriel.inspect(url, { signal }) : { format: kind, pages: 1 }
      const count = format === 'pdf' ? pages : 1
      for (let page = 1; page <= count; ) {
        if (free === 0) {
          parts.push([])
          free = most
        }
        const taken = Math.min(free, count - page + 1)
        parts.at(-1)?.push({
          file,
          pages: count === 1 ? undefined : taken === 1 ? String(page) : `${page}-${page + taken - 1}`,
        })
        page += taken
        free -= taken
      }
    }
  } finally {
    await oriel.close()
  }
  return parts
}

async function schemaIn(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined) throw new OrielError('not_found', `The schema ${file} cannot be read.`)
  const schema = parseJson(text)
  if (typeof schema !== 'object' || schema === null)
    throw new OrielError('invalid', `The schema ${file} is not a JSON object.`)
  return schema
}
