import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { Turns } from '../turns.ts'
import { dataAt } from './decoder/data-url.ts'
import type { FileToDecode } from './decoder/decoder-process.ts'
import type { FileHeader, PartHead, Wanted } from './decoder/protocol.ts'

/** What is known about a file that was decoded. */
export interface SeenFile {
  readonly header: FileHeader
  readonly parts: readonly PartHead[]
}

/** A file as it came, and what is wanted of it. */
interface NamedFile extends Pick<FileToDecode, 'payload'> {
  readonly wanted: Wanted
}

/** Files and their parts that are remembered together. A file takes less than a kilobyte, and a part less than half of one. */
const mostRemembered = 20_000
/** Bytes that are hashed at a time: this takes less than a millisecond. */
const pieceBytes = 256_000
/** A file up to this size is hashed at once, without a turn. */
const withoutTurns = 64_000

/**
 * Remembers files that were decoded, by the bytes that a client sent and by what was wanted of them, so that a file that
 * comes again need not be decoded. Files that were refused are not remembered: they are refused again by the same code.
 */
export class SeenFiles {
  readonly #files = new LRUCache<string, SeenFile>({
    maxSize: mostRemembered,
    sizeCalculation: ({ parts }) => 1 + parts.length,
  })
  readonly #turns = new Turns()

  /**
   * Hashes a file as it comes: base64 is not decoded. The hash is cryptographic, because with a faster one a client could
   * construct two files that collide, and be shown what a model sees of another's. SHA-256 is the fastest one where the
   * processor computes it: 2 GB/s.
   * @param isolation requests with another key do not learn what was seen, since the time of an answer would reveal it
   */
  async nameOf({ payload, wanted }: NamedFile, isolation: string): Promise<string> {
    // The media type is ignored, so it names nothing. A malformed URL is named by all of its text.
    const from = typeof payload === 'string' ? (dataAt(payload) ?? 0) : 0
    const kind = typeof payload === 'string' ? 'text' : 'bytes'
    const hash = createHash('sha256').update(`${JSON.stringify([isolation, kind, wanted])}\n`)
    for (let at = from; at < payload.length; at += pieceBytes) {
      if (payload.length > withoutTurns) await this.#turns.next()
      const end = at + pieceBytes
      hash.update(typeof payload === 'string' ? payload.slice(at, end) : payload.subarray(at, end))
    }
    return hash.digest('base64url')
  }

  /** @param mostPages the limit for selected pages: a file that exceeds it has to be refused */
  get(name: string, mostPages: number): SeenFile | undefined {
    const seen = this.#files.get(name)
    return seen?.header.kind === 'image' && seen.parts.length > mostPages ? undefined : seen
  }

  set(name: string, file: SeenFile): void {
    this.#files.set(name, file)
  }

  clear(): void {
    this.#files.clear()
  }
}
