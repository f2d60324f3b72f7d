import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Logger } from '../../log.ts'
import type { KeptFile } from './freshness.ts'

/** Only files with such names are ever read or removed: the folder may hold others'. */
const ownName = /^[0-9a-f]{64}\.oriel$/
/** What a server left that ended while it wrote. */
const unfinishedName = /^[0-9a-f]{64}\.oriel\.part$/

/** What each file begins with, on a line of its own; the bytes follow. */
const label = z.object({
  url: z.string(),
  length: z.number(),
  freshUntil: z.number(),
  etag: z.string().optional(),
  lastModified: z.string().optional(),
})

/**
 * Fetched files in a folder, where they outlive the server: only there when somebody has configured it. A folder that
 * cannot be used makes no request fail; the log says so.
 */
export class DiskCache {
  readonly #folder: string
  readonly #most: number
  readonly #log: Logger | undefined
  /** Bytes of each file, in the order of their last use. */
  readonly #files = new Map<string, number>()
  /** One thing after the other: what is cleared stays so, whatever was being written. */
  #last: Promise<unknown>

  constructor(folder: string, mostBytes: number, log: Logger | undefined) {
    this.#folder = folder
    this.#most = mostBytes
    this.#log = log
    this.#last = this.#tryTo(() => this.#find())
  }

  async get(url: string): Promise<KeptFile | undefined> {
    return await this.#inTurn(async () => {
      const name = nameOf(url)
      if (!this.#files.has(name)) return undefined
      const found = await this.#tryTo(() => this.#read(name, url))
      if (found === undefined) await this.#remove(name)
      return found
    })
  }

  async set(url: string, file: KeptFile): Promise<void> {
    await this.#inTurn(() => this.#write(nameOf(url), url, file))
  }

  async delete(url: string): Promise<void> {
    await this.#inTurn(() => this.#remove(nameOf(url)))
  }

  async clear(): Promise<void> {
    await this.#inTurn(async () => {
      for (const name of [...this.#files.keys()]) await this.#remove(name)
    })
  }

  async #inTurn<T>(act: () => Promise<T>): Promise<T | undefined> {
    const turn = this.#last.then(() => this.#tryTo(act))
    this.#last = turn
    return await turn
  }

  async #tryTo<T>(act: () => Promise<T>): Promise<T | undefined> {
    try {
      return await act()
    } catch (error) {
      this.#log?.warn({ error }, 'the cache folder cannot be used as it should')
      return undefined
    }
  }

  /** What an earlier server has left, oldest first. */
  async #find(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const names = await readdir(this.#folder)
    for (const name of names.filter((name) => unfinishedName.test(name))) await rm(this.#path(name), { force: true })
    const own = names.filter((name) => ownName.test(name))
    const found = await Promise.all(
      // One may be removed meanwhile by another server.
      own.map(async (name) => ({ name, stats: await stat(this.#path(name)).catch(() => undefined) })),
    )
    const there = found.flatMap(({ name, stats }) => (stats === undefined ? [] : [{ name, stats }]))
    for (const { name, stats } of there.toSorted((a, b) => a.stats.mtimeMs - b.stats.mtimeMs))
      this.#files.set(name, stats.size)
  }

  async #read(name: string, url: string): Promise<KeptFile> {
    const file = await readFile(this.#path(name))
    const end = file.indexOf('\n')
    const { length, url: of, ...freshness } = label.parse(JSON.parse(file.toString('utf8', 0, end)))
    const bytes = file.subarray(end + 1)
    if (of !== url || bytes.length !== length) throw new Error('a file is not what its name says')
    this.#touch(name, file.length)
    await utimes(this.#path(name), new Date(), new Date())
    return { bytes, etag: undefined, lastModified: undefined, ...freshness }
  }

  async #write(name: string, url: string, { bytes, ...freshness }: KeptFile): Promise<void> {
    const head = Buffer.from(`${JSON.stringify({ url, length: bytes.length, ...freshness })}\n`)
    const unfinished = this.#path(`${name}.part`)
    try {
      await writeFile(unfinished, Buffer.concat([head, bytes]), { mode: 0o600 })
      await rename(unfinished, this.#path(name))
    } catch (error) {
      await rm(unfinished, { force: true })
      throw error
    }
    this.#touch(name, head.length + bytes.length)
    let sum = [...this.#files.values()].reduce((total, size) => total + size, 0)
    for (const [oldest, size] of [...this.#files]) {
      if (sum <= this.#most) return
      sum -= size
      await this.#remove(oldest)
    }
  }

  async #remove(name: string): Promise<void> {
    this.#files.delete(name)
    await rm(this.#path(name), { force: true })
  }

  #touch(name: string, bytes: number): void {
    this.#files.delete(name)
    this.#files.set(name, bytes)
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }
}

const nameOf = (url: string): string => `${createHash('sha256').update(url).digest('hex')}.oriel`
