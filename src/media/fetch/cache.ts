import type { DiskCache } from './disk-cache.ts'
import type { KeptFile } from './freshness.ts'

/**
 * Files by URL, those that were not wanted for longest going first. They are in memory and end with the process, unless a
 * folder is given.
 */
export class ByteCache {
  readonly #most: number
  readonly #disk: DiskCache | undefined
  /** In the order of their last use. */
  readonly #kept = new Map<string, KeptFile>()
  #bytes = 0

  constructor(mostBytes: number, disk: DiskCache | undefined) {
    this.#most = mostBytes
    this.#disk = disk
  }

  async get(url: string): Promise<KeptFile | undefined> {
    const kept = this.#kept.get(url)
    if (kept !== undefined) {
      this.#keep(url, kept)
      return kept
    }
    const stored = await this.#disk?.get(url)
    if (stored !== undefined) this.#keep(url, stored)
    return stored
  }

  set(url: string, file: KeptFile): void {
    this.#keep(url, file)
    void this.#disk?.set(url, file)
  }

  delete(url: string): void {
    this.#forget(url)
    void this.#disk?.delete(url)
  }

  async clear(): Promise<void> {
    this.#kept.clear()
    this.#bytes = 0
    await this.#disk?.clear()
  }

  #keep(url: string, file: KeptFile): void {
    this.#forget(url)
    if (file.bytes.length > this.#most) return
    this.#kept.set(url, file)
    this.#bytes += file.bytes.length
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#most) return
      this.#forget(oldest)
    }
  }

  #forget(url: string): void {
    this.#bytes -= this.#kept.get(url)?.bytes.length ?? 0
    this.#kept.delete(url)
  }
}
