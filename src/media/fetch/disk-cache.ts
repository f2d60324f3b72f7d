import { createHash } from 'node:crypto'
import { readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import type { Logger } from '../../log.ts'
import { makeFolder } from '../../make-folder.ts'
import type { CachedFile } from './freshness.ts'

/** The cache reads and removes only files with such names: the folder may contain other files. */
const ownName = /^[0-9a-f]{64}\.oriel$/
/** Left behind by a server that stopped during a write. */
const unfinishedName = /^[0-9a-f]{64}\.oriel\.part$/

/** The first line of each file, as JSON. The fetched bytes follow. */
const headerSchema = z.object({
  url: z.string(),
  length: z.number(),
  freshUntil: z.number(),
  etag: z.string().optional(),
  lastModified: z.string().optional(),
})

/**
 * Keeps fetched files in a folder across restarts. The least recently used are evicted first. A folder that cannot be used
 * fails no request; it is logged.
 */
export class DiskCache {
  readonly #folder: string
  readonly #log: Logger | undefined
  /** Bytes of each file by its name. */
  readonly #sizes: LRUCache<string, number>
  /** Files that were evicted from `#sizes` and are still in the folder. */
  readonly #evicted: string[] = []
  /** Operations run one after the other, so that a clear also removes what was being written. */
  #last: Promise<unknown>

  /** @param maxBytes above 0 */
  constructor(folder: string, maxBytes: number, log: Logger | undefined) {
    this.#folder = folder
    this.#log = log
    this.#sizes = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (size) => size,
      dispose: (_, name, reason) => {
        if (reason === 'evict') this.#evicted.push(name)
      },
    })
    this.#last = this.#logFailure(() => this.#findFiles())
  }

  async get(url: string): Promise<CachedFile | undefined> {
    return await this.#inTurn(async () => {
      const name = nameOf(url)
      if (!this.#sizes.has(name)) return undefined
      const found = await this.#logFailure(() => this.#read(name, url))
      if (found === undefined) await this.#remove(name)
      return found
    })
  }

  async set(url: string, file: CachedFile): Promise<void> {
    await this.#inTurn(() => this.#write(nameOf(url), url, file))
  }

  async delete(url: string): Promise<void> {
    await this.#inTurn(() => this.#remove(nameOf(url)))
  }

  async clear(): Promise<void> {
    await this.#inTurn(async () => {
      for (const name of [...this.#sizes.keys()]) await this.#remove(name)
    })
  }

  async #inTurn<T>(act: () => Promise<T>): Promise<T | undefined> {
    const turn = this.#last.then(() => this.#logFailure(act))
    this.#last = turn
    return await turn
  }

  async #logFailure<T>(act: () => Promise<T>): Promise<T | undefined> {
    try {
      return await act()
    } catch (error) {
      this.#log?.warn({ error }, 'cannot use the cache folder')
      return undefined
    }
  }

  /** Takes over the files of an earlier server, oldest first. */
  async #findFiles(): Promise<void> {
    await makeFolder(this.#folder, 0o700)
    const names = await readdir(this.#folder)
    for (const name of names.filter((name) => unfinishedName.test(name))) await rm(this.#path(name), { force: true })
    const found = await Promise.all(
      names
        .filter((name) => ownName.test(name))
        // Another server that uses the folder may remove a file meanwhile.
        .map(async (name) => ({ name, stats: await stat(this.#path(name)).catch(() => undefined) })),
    )
    const present = found.flatMap(({ name, stats }) => (stats === undefined ? [] : [{ name, stats }]))
    for (const { name, stats } of present.toSorted((a, b) => a.stats.mtimeMs - b.stats.mtimeMs)) {
      if (stats.size > this.#sizes.maxSize) this.#evicted.push(name)
      else this.#sizes.set(name, Math.max(1, stats.size))
    }
    await this.#removeEvicted()
  }

  async #read(name: string, url: string): Promise<CachedFile> {
    const file = await readFile(this.#path(name))
    const end = file.indexOf('\n')
    const { length, url: cachedUrl, ...freshness } = headerSchema.parse(JSON.parse(file.toString('utf8', 0, end)))
    const bytes = file.subarray(end + 1)
    if (cachedUrl !== url || bytes.length !== length) throw new Error('a cached file does not match its header')
    this.#sizes.set(name, file.length)
    await utimes(this.#path(name), new Date(), new Date())
    return { bytes, etag: undefined, lastModified: undefined, ...freshness }
  }

  async #write(name: string, url: string, { bytes, ...freshness }: CachedFile): Promise<void> {
    const header = Buffer.from(`${JSON.stringify({ url, length: bytes.length, ...freshness })}\n`)
    const size = header.length + bytes.length
    if (size > this.#sizes.maxSize) return await this.#remove(name)
    const unfinished = this.#path(`${name}.part`)
    try {
      await writeFile(unfinished, [header, bytes], { mode: 0o600 })
      await rename(unfinished, this.#path(name))
    } catch (error) {
      await rm(unfinished, { force: true })
      throw error
    }
    this.#sizes.set(name, size)
    await this.#removeEvicted()
  }

  async #remove(name: string): Promise<void> {
    this.#sizes.delete(name)
    await rm(this.#path(name), { force: true })
  }

  async #removeEvicted(): Promise<void> {
    for (const name of this.#evicted.splice(0)) await rm(this.#path(name), { force: true })
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }
}

const nameOf = (url: string): string => `${createHash('sha256').update(url).digest('hex')}.oriel`
