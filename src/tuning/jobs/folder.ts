import { randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { appendFile, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import type { Name } from '../../deployments/index.ts'
import { jsonLine, parseJson } from '../../json.ts'
import { makeFolder } from '../../make-folder.ts'
import { files, progressLine } from '../contract.ts'

/** What happened in a job, for people. */
const message = z.strictObject({
  type: z.literal('message'),
  level: z.enum(['info', 'warn', 'error']),
  message: z.string(),
})

/** A line of what a job went through: something that its trainer said, or that happened to it. */
export const happening = z.intersection(
  z.discriminatedUnion('type', [...progressLine.options, message]),
  /** When, in ms since 1970. */
  z.object({ at: z.number() }),
)
export type Happening = z.output<typeof happening>
export type What = z.output<typeof progressLine> | z.output<typeof message>

const [historyName, logName, processName] = ['history.jsonl', 'log.txt', 'process']

/** Bytes of the log of a trainer that are kept: its beginning. */
const mostLog = 1_000_000

/** The folder of a job: that of its trainer, and what is known of it. */
export class JobFolder {
  readonly path: string
  #logged: number | undefined

  /** @param all the folder of all jobs */
  constructor(all: string, { account, id }: Name) {
    this.path = path.join(all, encodeURIComponent(account), id)
  }

  /** Where its adapter is, when it has been trained. */
  get output(): string {
    return path.join(this.path, files.output)
  }

  make(): Promise<void> {
    return makeFolder(this.path)
  }

  /** Removes all of it. */
  async remove(): Promise<void> {
    // Renamed first: what is half removed must not be taken for a job.
    const gone = `${this.path}.gone-${randomUUID()}`
    await rename(this.path, gone).catch(() => {})
    await rm(gone, { recursive: true, force: true })
  }

  /** Removes all but what is known of it: its adapter is in the library. */
  async clear(): Promise<void> {
    for (const name of await readdir(this.path).catch((): string[] => []))
      if (![historyName, logName].includes(name)) await rm(path.join(this.path, name), { recursive: true, force: true })
  }

  /** Whether the examples are all there: their file appears when it is whole. */
  async hasExamples(): Promise<boolean> {
    return (await stat(path.join(this.path, files.train)).catch(() => null)) !== null
  }

  async writeConfig(config: object): Promise<void> {
    const file = path.join(this.path, files.config)
    await writeFile(`${file}.new`, JSON.stringify(config, null, 2))
    await rename(`${file}.new`, file)
  }

  /** What happened, as lines of JSON: those that are there now. */
  async historyFile(): Promise<{ bytes: number; open(): Readable }> {
    const { size: bytes } = await stat(this.#history).catch(() => ({ size: 0 }))
    const open = () => (bytes === 0 ? Readable.from([]) : createReadStream(this.#history, { end: bytes - 1 }))
    return { bytes, open }
  }

  async note(what: What): Promise<void> {
    await appendFile(this.#history, `${jsonLine({ ...what, at: Date.now() })}\n`)
  }

  /** Forgets steps that are taken once more, from this one on. */
  async forgetSteps(from: number): Promise<void> {
    const fresh = `${this.#history}.new`
    const kept = async function* (happened: AsyncIterable<Happening>): AsyncGenerator<string> {
      for await (const one of happened)
        if (!('step' in one && one.type !== 'done' && one.step >= from)) yield `${jsonLine(one)}\n`
    }
    await pipeline(kept(this.happened()), createWriteStream(fresh))
    await rename(fresh, this.#history)
  }

  /** What happened, the first first. */
  async *happened(): AsyncGenerator<Happening> {
    const lines = createInterface({ input: (await this.historyFile()).open(), crlfDelay: Number.POSITIVE_INFINITY })
    for await (const line of lines) {
      const { data } = happening.safeParse(parseJson(line))
      if (data !== undefined) yield data
    }
  }

  /** Keeps a line of the trainer's log, for whoever runs the server. */
  async log(line: string): Promise<void> {
    const file = path.join(this.path, logName)
    this.#logged ??= (await stat(file).catch(() => ({ size: 0 }))).size
    if (this.#logged > mostLog) return
    this.#logged += Buffer.byteLength(line) + 1
    await appendFile(file, `${line}\n`)
  }

  /** The process that trained last, to be ended before another one starts. */
  async readProcess(): Promise<number | undefined> {
    const text = await readFile(path.join(this.path, processName), 'utf8').catch(() => '')
    return /^\d+$/.test(text) ? Number(text) : undefined
  }

  get #history(): string {
    return path.join(this.path, historyName)
  }

  async noteProcess(pid: number): Promise<void> {
    await writeFile(path.join(this.path, processName), String(pid))
  }
}
