import { LRUCache } from 'lru-cache'
import type { DiskCache } from './disk-cache.ts'
import type { CachedFile } from './freshness.ts'

/** Fetched files by URL, in memory and, if a folder is configured, on disk. The least recently used are evicted first. */
export class FileCache {
  /** Undefined with a limit of 0, which lru-cache takes for no limit. */
  readonly #memory: LRUCache<string, CachedFile> | undefined
  readonly #disk: DiskCache | undefined

  constructor(maxBytes: number, disk: DiskCache | undefined) {
    if (maxBytes > 0)
      this.#memory = new LRUCache({ maxSize: maxBytes, sizeCalculation: ({ bytes }) => Math.max(1, bytes.length) })
    this.#disk = disk
  }

  async get(url: string): Promise<CachedFile | undefined> {
    const cached = this.#memory?.get(url)
    if (cached !== undefined) return cached
    const stored = await this.#disk?.get(url)
    if (stored !== undefined) this.#memory?.set(url, stored)
    return stored
  }

  set(url: string, file: CachedFile): void {
    this.#memory?.set(url, file)
    void this.#disk?.set(url, file)
  }

  delete(url: string): void {
    this.#memory?.delete(url)
    void this.#disk?.delete(url)
  }

  async clear(): Promise<void> {
    this.#memory?.clear()
    await this.#disk?.clear()
    // What was being read from the disk is there again.
    this.#memory?.clear()
  }
}
