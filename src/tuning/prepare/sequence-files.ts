import { closeSync, openSync, readFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import path from 'node:path'
import { readAt } from '../../read-at.ts'
import type { EmbeddedSpan, Sequence, Sequences } from '../sequence.ts'

/**
 * Sequences on disk. `NAME.sequences` has one record after the other: the spans (six words each: first cell, cells, and the
 * first byte and the number of bytes of the rows, as doubles), tokens, positions, and which cells are learned. `NAME.index`
 * has for each record its first byte and four words. `rows` has what the encoder has made, once for each distinct span.
 */

/** Where the rows of a span are in `rows`, in bytes. */
export interface KeptRows {
  readonly at: number
  readonly bytes: number
}

export interface WrittenSequence {
  readonly tokens: Int32Array
  /** `[axes, cells]` */
  readonly positions: Int32Array
  readonly learned: Uint8Array
  readonly spans: readonly { readonly start: number; readonly cells: number; readonly rows: KeptRows }[]
}

/** Words of 32 bits. */
const word = 4
const spanBytes = 6 * word
const indexBytes = 6 * word

const rowsFile = 'rows'
const fileOf = (folder: string, name: string, kind: 'sequences' | 'index') => path.join(folder, `${name}.${kind}`)

/** A file that is written from its start to its end. */
class Written {
  readonly #handle: FileHandle
  #at = 0

  private constructor(handle: FileHandle) {
    this.#handle = handle
  }

  static async create(file: string): Promise<Written> {
    return new Written(await open(file, 'w'))
  }

  /** @returns where the bytes begin @throws Error of the system, such as `ENOSPC` */
  async append(bytes: Uint8Array): Promise<number> {
    const at = this.#at
    await this.#handle.writeFile(bytes)
    this.#at += bytes.length
    return at
  }

  /** @param kept whether it must outlast a power cut */
  async close(kept: boolean): Promise<void> {
    if (kept) await this.#handle.sync()
    await this.#handle.close()
  }
}

/** Writes rows of embeddings. */
export class RowsWriter {
  readonly #file: Written

  private constructor(file: Written) {
    this.#file = file
  }

  static async create(folder: string): Promise<RowsWriter> {
    return new RowsWriter(await Written.create(path.join(folder, rowsFile)))
  }

  async append({ buffer, byteOffset, byteLength }: Float32Array): Promise<KeptRows> {
    return { at: await this.#file.append(new Uint8Array(buffer, byteOffset, byteLength)), bytes: byteLength }
  }

  close(kept: boolean): Promise<void> {
    return this.#file.close(kept)
  }
}

export class SequencesWriter {
  readonly #records: Written
  readonly #index: Written

  private constructor(records: Written, index: Written) {
    this.#records = records
    this.#index = index
  }

  static async create(folder: string, name: string): Promise<SequencesWriter> {
    const records = await Written.create(fileOf(folder, name, 'sequences'))
    return new SequencesWriter(records, await Written.create(fileOf(folder, name, 'index')))
  }

  async append({ tokens, positions, learned, spans }: WrittenSequence): Promise<void> {
    const wordsAt = spans.length * spanBytes
    const cells = tokens.length
    const axes = positions.length / cells
    const bytes = wordsAt + (1 + axes) * cells * word + cells
    // Doubles are read where they lie.
    const record = new Uint8Array(Math.ceil(bytes / 8) * 8)
    const view = new DataView(record.buffer)
    for (const [at, { start, cells: rows, rows: kept }] of spans.entries()) {
      view.setInt32(at * spanBytes, start, true)
      view.setInt32(at * spanBytes + word, rows, true)
      view.setFloat64(at * spanBytes + 2 * word, kept.at, true)
      view.setFloat64(at * spanBytes + 4 * word, kept.bytes, true)
    }
    record.set(bytesOf(tokens), wordsAt)
    record.set(bytesOf(positions), wordsAt + cells * word)
    record.set(learned, wordsAt + (1 + axes) * cells * word)
    const entry = new DataView(new ArrayBuffer(indexBytes))
    entry.setFloat64(0, await this.#records.append(record), true)
    const counts = [cells, learned.reduce((sum, one) => sum + one, 0), spans.length, axes]
    for (const [at, count] of counts.entries()) entry.setInt32((2 + at) * word, count, true)
    await this.#index.append(new Uint8Array(entry.buffer))
  }

  async close(kept: boolean): Promise<void> {
    await this.#records.close(kept)
    await this.#index.close(kept)
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

/** Opens what was written. All machines that can run this have the same order of bytes. */
export function openSequences(folder: string, name: string): Sequences {
  const index = new DataView(exactly(readFileSync(fileOf(folder, name, 'index'))))
  const count = index.byteLength / indexBytes
  const column = (place: number) =>
    Int32Array.from({ length: count }, (_, at) => index.getInt32(at * indexBytes + place * word, true))
  const records = openSync(fileOf(folder, name, 'sequences'), 'r')
  const rows = openSync(path.join(folder, rowsFile), 'r')
  return {
    lengths: column(2),
    learned: column(3),
    read(at) {
      const entry = at * indexBytes
      const cells = index.getInt32(entry + 2 * word, true)
      const spans = index.getInt32(entry + 4 * word, true)
      const axes = index.getInt32(entry + 5 * word, true)
      const wordsAt = spans * spanBytes
      const learnedAt = wordsAt + (1 + axes) * cells * word
      const record = bufferAt(records, index.getFloat64(entry, true), learnedAt + cells)
      const view = new DataView(record)
      return {
        tokens: new Int32Array(record, wordsAt, cells),
        positions: new Int32Array(record, wordsAt + cells * word, axes * cells),
        learned: new Uint8Array(record, learnedAt, cells),
        spans: Array.from({ length: spans }, (_, span): EmbeddedSpan => {
          const place = span * spanBytes
          const bytes = bufferAt(rows, view.getFloat64(place + 2 * word, true), view.getFloat64(place + 4 * word, true))
          return { start: view.getInt32(place, true), rows: new Float32Array(bytes) }
        }),
      } satisfies Sequence
    },
    close() {
      closeSync(records)
      closeSync(rows)
    },
  }
}

const exactly = ({ buffer, byteOffset, byteLength }: Buffer): ArrayBuffer =>
  buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer

function bufferAt(file: number, at: number, bytes: number): ArrayBuffer {
  return readAt(file, new Uint8Array(bytes), at, () => new Error('the file of the examples is cut off')).buffer
}
