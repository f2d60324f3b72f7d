import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Message } from '../app.ts'
import { OrielError } from '../errors.ts'
import { home } from '../home.ts'
import { makeFolder } from '../make-folder.ts'
import { type AskFlags, chooseAnswerer } from './answerer.ts'
import { failureText } from './failure.ts'
import { type Answerer, choiceOf, named, partsOf, systemOf } from './question.ts'
import { bytesOfAll, filesNamed, type NamedFile } from './words.ts'
import { toTerminal } from './writer.ts'

const help = `Type a question. Images, videos and audio come by their path, or dragged into the terminal, with a question or before it.
  /file FILE   add images, videos or audio: files, folders, patterns, URLs
  /clear       forget the conversation
  /exit        leave (also Ctrl-D)
Ctrl-C stops an answer.
`
const commands = ['/help', '/file', '/clear', '/exit']

/** Questions that are kept for the next chats. */
const mostHistory = 500

/** A conversation at the terminal. @param files of the first question */
export async function chat(files: NamedFile[], flags: AskFlags): Promise<void> {
  const answerer = await chooseAnswerer(flags, await bytesOfAll(files, 'sum'))
  const history = await readHistory()
  const terminal = createInterface({
    input: process.stdin,
    output: process.stdout,
    history,
    historySize: mostHistory,
    removeHistoryDuplicates: true,
    prompt: '> ',
    completer: (line: string) => [commands.filter((command) => line !== '' && command.startsWith(line)), line],
  })
  process.stdout.write(`${answerer.model} answers. /help lists what you can type; Ctrl-D leaves.\n`)
  if (files.length > 0) process.stdout.write(addedText(files))
  try {
    await new Conversation(answerer, terminal, flags, files).run()
  } finally {
    terminal.close()
    await Promise.all([answerer.close(), saveHistory(history)])
  }
}

class Conversation {
  readonly #answerer: Answerer
  readonly #terminal: Interface
  readonly #flags: AskFlags
  readonly #writer = toTerminal()
  #messages: Message[]
  /** Images of the next question. */
  #files: NamedFile[]
  /** Ends the answer that is being written. */
  #running: AbortController | undefined

  constructor(answerer: Answerer, terminal: Interface, flags: AskFlags, files: NamedFile[]) {
    this.#answerer = answerer
    this.#terminal = terminal
    this.#flags = flags
    this.#messages = systemOf(flags.system)
    this.#files = [...files]
  }

  /** Ends when the person leaves. */
  async run(): Promise<void> {
    const terminal = this.#terminal
    terminal.on('SIGINT', () => {
      if (this.#running !== undefined) return this.#running.abort()
      const isEmpty = terminal.line === ''
      // As a shell does: a line that is given up is left where it is.
      terminal.write(null, { ctrl: true, name: 'e' })
      terminal.write(null, { ctrl: true, name: 'u' })
      process.stdout.write(isEmpty ? '\nCtrl-D or /exit leaves.\n' : '\n')
      terminal.prompt()
    })
    let hasLeft = false
    // Ctrl-D during an answer: the loop learns of it when it takes the next line, and a closed terminal has no prompt.
    terminal.once('close', () => {
      hasLeft = true
      this.#running?.abort()
    })
    terminal.prompt()
    for await (const line of terminal) {
      if (line.trim() === '/exit' || line.trim() === '/bye' || line.trim() === '/quit') return
      // Keys that are typed during an answer wait for its end.
      await this.#take(line.trim()).catch(async (error: unknown) => {
        process.stdout.write(`${await failureText(error)}\n`)
      })
      if (hasLeft) break
      terminal.prompt()
    }
    process.stdout.write('\n')
  }

  async #take(line: string): Promise<void> {
    if (line === '') return
    const [command = '', ...rest] = line.startsWith('/') ? line.split(/\s+/) : []
    if (command === '/help' || command === '/?') return void process.stdout.write(help)
    if (command === '/clear') return this.#clear()
    if (command === '/file' && rest.length === 0)
      throw new OrielError('invalid', 'Name a file after it: /file photo.jpg')
    const { files, question } =
      command === '/file' ? await read(line.slice('/file'.length).trim(), () => true) : await read(line, isPath)
    // A path begins with a slash, too.
    if (command !== '' && command !== '/file' && files.length === 0)
      throw new OrielError('invalid', `There is no ${command}. /help lists what you can type.`)
    if (command === '/file' && question !== '') throw new OrielError('not_found', `There is no file ${question}.`)
    this.#files.push(...files)
    if (question === '') return void process.stdout.write(addedText(files))
    await this.#ask(question)
  }

  #clear(): void {
    this.#messages = systemOf(this.#flags.system)
    this.#files = []
    process.stdout.write('The conversation is forgotten.\n')
  }

  async #ask(question: string): Promise<void> {
    const files = this.#files
    const running = new AbortController()
    this.#running = running
    const { pages, detail, temperature } = this.#flags
    let message: Message | undefined
    let written = ''
    try {
      const parts = files.map((file) => ({ file, pages: pages === undefined ? undefined : choiceOf(pages) }))
      message = { role: 'user', content: [...(await partsOf(parts, detail)), { type: 'text', text: question }] }
      await this.#answerer.answer({
        messages: [...this.#messages, message],
        temperature,
        signal: running.signal,
        onText: (text, kind) => {
          if (kind === 'text') written += text
          this.#writer.text(text, kind)
        },
      })
      this.#keep(message, written)
    } catch (error) {
      if (running.signal.aborted) {
        // What was said so far belongs to the conversation.
        if (written !== '' && message !== undefined) this.#keep(message, written)
        return
      }
      throw error instanceof OrielError ? this.#advised(named(error, files)) : error
    } finally {
      this.#running = undefined
      this.#writer.end()
    }
  }

  #keep(message: Message, answer: string): void {
    this.#messages.push(message, { role: 'assistant', content: answer })
    this.#files = []
  }

  #advised(error: OrielError): OrielError {
    if (error.code !== 'context_length_exceeded') return error
    return new OrielError(error.kind, `${error.message} /clear forgets the conversation.`, { code: error.code })
  }
}

const addedText = (files: readonly NamedFile[]): string =>
  `${files.map(({ name }) => name).join(', ')}: ask about ${files.length === 1 ? 'it' : 'them'}.\n`

/**
 * Without a path or an ending, a word of a question is not taken for a file of that name; nor is what stands between words,
 * as in red / green, taken for a folder.
 */
const isPath = (word: string): boolean => /[\\/.]/.test(word) && !/^[\\/.]+$/.test(word)

/** The images and the question of a line. The words between the images are the question. @param mayBeFile whether a word may be one */
async function read(
  line: string,
  mayBeFile: (word: string) => boolean,
): Promise<{ files: NamedFile[]; question: string }> {
  const files: NamedFile[] = []
  let question = ''
  for (const { text, raw, space } of wordsIn(line)) {
    const found = mayBeFile(text) ? await filesNamed(text) : undefined
    if (found === undefined) question += space + raw
    else files.push(...found)
  }
  return { files, question: question.trim() }
}

/** Words as a shell reads them: terminals quote and escape what is dragged into them. On Windows `\` separates folders. */
function wordsIn(line: string): { text: string; raw: string; space: string }[] {
  const escaped = process.platform === 'win32' ? /(?!)/ : /\\(.)/
  const word = new RegExp(`(\\s*)((?:"[^"]*"|'[^']*'(?!\\w)|${escaped.source}|[^\\s])+)`, 'g')
  return [...line.matchAll(word)].map(([, space = '', raw = '']) => ({
    space,
    raw,
    text: raw.replace(/"([^"]*)"|'([^']*)'(?!\w)/g, '$1$2').replaceAll(new RegExp(escaped.source, 'g'), '$1'),
  }))
}

const historyFile = path.join(home(), '.oriel', 'history')

/** The latest question first, as readline has them. */
const readHistory = async (): Promise<string[]> =>
  (await readFile(historyFile, 'utf8').catch(() => ''))
    .split('\n')
    .filter((line) => line !== '')
    .reverse()

async function saveHistory(lines: readonly string[]): Promise<void> {
  const text = lines.slice(0, mostHistory).toReversed().join('\n')
  // A home that cannot be written only costs the history.
  await makeFolder(path.dirname(historyFile)).catch(() => {})
  await writeFile(historyFile, `${text}\n`, { mode: 0o600 }).catch(() => {})
}
