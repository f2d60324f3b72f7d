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
/** Bytes of files that wait to be written. On a slow disk further ones are not kept: they can be fetched again. */
const mostWaiting = 100_000_000
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
  /** Bytes by the names of the files that are in the folder when all changes have been made. */
  readonly #sizes: LRUCache<string, number>
  /** Files that were evicted from `#sizes` and are still in the folder. */
  readonly #evicted: string[] = []
  /** Files that wait to be written, by their names: no look-up waits for the disk on their account. */
  readonly #waiting = new Map<string, CachedFile>()
  #waitingBytes = 0
  readonly #reads = new Set<Promise<unknown>>()
  /** Resolves when the files of an earlier server are known. */
  readonly #found: Promise<unknown>
  /** Changes are made one after the other, so that a clear also removes what was being written. */
  #last: Promise<unknown>

  /** @param maxBytes above 0 */
  constructor(folder: string, maxBytes: number, log: Logger | undefined) {
    this.#folder = folder
    this.#log = log
    this.#sizes = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (size) => size,
      dispose: (_, name, reason) => {
        if (reason !== 'evict') return
        this.#evicted.push(name)
        this.#waiting.delete(name)
      },
    })
    this.#found = this.#logFailure(() => this.#findFiles())
    this.#last = this.#found
  }

  async get(url: string): Promise<CachedFile | undefined> {
    await this.#found
    const name = nameOf(url)
    const waiting = this.#waiting.get(name)
    if (waiting !== undefined || !this.#sizes.has(name)) return waiting
    const read = this.#logFailure(() => this.#read(name, url))
    this.#reads.add(read)
    const file = await read
    this.#reads.delete(read)
    if (file === undefined && !this.#waiting.has(name)) void this.delete(url)
    return file
  }

  /** Resolves when the file is written. It is not if too many wait already. */
  async set(url: string, file: CachedFile): Promise<void> {
    const { bytes, ...freshness } = file
    const header = Buffer.from(`${JSON.stringify({ url, length: bytes.length, ...freshness })}\n`)
    const size = header.length + bytes.length
    if (size > this.#sizes.maxSize) return await this.delete(url)
    if (this.#waitingBytes + size > mostWaiting) return
    const name = nameOf(url)
    this.#waitingBytes += size
    this.#waiting.set(name, file)
    this.#sizes.set(name, size)
    // It may have been removed meanwhile, or replaced.
    const isWanted = (): boolean => this.#waiting.get(name) === file
    await this.#inTurn(async () => {
      try {
        if (isWanted()) await this.#write(name, [header, bytes])
      } catch (error) {
        if (isWanted()) this.#sizes.delete(name)
        throw error
      } finally {
        if (isWanted()) this.#waiting.delete(name)
        this.#waitingBytes -= size
      }
      await this.#removeEvicted()
    })
  }

  async delete(url: string): Promise<void> {
    await this.#remove([nameOf(url)])
  }

  async clear(): Promise<void> {
    await this.#found
    await this.#remove([...this.#sizes.keys(), ...this.#evicted.splice(0)])
    // A look-up that began before has not the last word.
    await Promise.all(this.#reads)
  }

  async #remove(names: readonly string[]): Promise<void> {
    for (const name of names) {
      this.#sizes.delete(name)
      this.#waiting.delete(name)
    }
    await this.#inTurn(async () => {
      for (const name of names) await rm(this.#path(name), { force: true })
    })
  }

  async #inTurn(act: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(() => this.#logFailure(act))
    this.#last = turn
    await turn
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

  /** @returns undefined if it is removed meanwhile. @throws an error if it is damaged */
  async #read(name: string, url: string): Promise<CachedFile | undefined> {
    const file = await readFile(this.#path(name)).catch((error: unknown) => {
      if (this.#sizes.has(name)) throw error
      return undefined
    })
    if (file === undefined) return undefined
    const end = file.indexOf('\n')
    const { length, url: cachedUrl, ...freshness } = headerSchema.parse(JSON.parse(file.toString('utf8', 0, end)))
    const bytes = file.subarray(end + 1)
    if (cachedUrl !== url || bytes.length !== length) throw new Error('a cached file does not match its header')
    if (this.#sizes.has(name)) this.#sizes.set(name, file.length)
    await utimes(this.#path(name), new Date(), new Date()).catch(() => {})
    return { bytes, etag: undefined, lastModified: undefined, ...freshness }
  }

  async #write(name: string, content: readonly Uint8Array[]): Promise<void> {
    const unfinished = this.#path(`${name}.part`)
    try {
      await writeFile(unfinished, content, { mode: 0o600 })
      await rename(unfinished, this.#path(name))
    } catch (error) {
      await rm(unfinished, { force: true })
      throw error
    }
  }

  async #removeEvicted(): Promise<void> {
    for (const name of this.#evicted.splice(0)) if (!this.#sizes.has(name)) await rm(this.#path(name), { force: true })
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }
}

const nameOf = (url: string): string => `${createHash('sha256').update(url).digest('hex')}.oriel`
