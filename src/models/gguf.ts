import { type FileHandle, open } from 'node:fs/promises'
import path from 'node:path'
import { OrielError } from '../errors.ts'
import { tensorTypes } from './gguf-types.ts'

/** A value of a GGUF's metadata. Arrays are skipped but for their length: the long ones are vocabularies. */
export type MetadataValue = string | number | bigint | boolean | { length: number }

interface TensorInfo {
  name: string
  /** ggml's order: the axis that runs fastest comes first. */
  shape: readonly number[]
  /** As `tensorTypes` names it. */
  type: string
  bytes: number
}

/** What a GGUF file says of itself before its weights begin. */
export interface GgufHeader {
  metadata: ReadonlyMap<string, MetadataValue>
  tensors: readonly TensorInfo[]
  /** Bytes of the whole file. */
  fileBytes: number
}

/**
 * Reads the header of a GGUF file and holds everything in it against the bytes that are there: nothing native sees a
 * file that did not pass. As strict as ggml's own reader (ggml/src/gguf.cpp), stricter where that would be slow or big.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 * @throws OrielError `not_found` where there is no such file, `invalid` for a file that is no GGUF, is broken or truncated
 */
export async function readGguf(file: string): Promise<GgufHeader> {
  const handle = await open(file, 'r').catch(() => {
    throw new OrielError('not_found', `There is no file at ${file}.`, { code: 'model_not_found' })
  })
  try {
    const stats = await handle.stat()
    if (!stats.isFile()) throw broken('it is no file')
    // Most headers are small, and those with a vocabulary are of a few MB: all of it is read again when it was not enough.
    for (let room = firstRead; ; room *= 8) {
      try {
        return parseGguf(await beginning(handle, Math.min(room, mostHeaderBytes, stats.size)), stats.size)
      } catch (error) {
        if (!(error instanceof HeaderEnds)) throw error
        if (room >= stats.size) throw broken(`it is truncated: its header goes on behind its ${stats.size} bytes`)
        if (room >= mostHeaderBytes)
          throw broken(`its header is longer than ${mostHeaderBytes} bytes, the most that is read`)
      }
    }
  } catch (error) {
    throw error instanceof OrielError ? named(error, file) : error
  } finally {
    await handle.close()
  }
}

/**
 * @param bytes the file's beginning
 * @param fileBytes what the whole file has
 * @throws OrielError `invalid`, or `HeaderEnds` where the header does
 */
export function parseGguf(bytes: Buffer, fileBytes: number): GgufHeader {
  const from = new Cursor(bytes, fileBytes)
  const magic = from.raw(4)
  if (magic !== 'GGUF') throw broken(`it begins with ${JSON.stringify(magic)} instead of GGUF`)
  const version = from.u32()
  if (version !== 2 && version !== 3) throw broken(`its version is ${version}, and 2 and 3 are known`)
  const tensorCount = from.count(most.tensors, 'tensors')
  const metadata = readMetadata(from, from.count(most.pairs, 'metadata pairs'))
  const alignment = metadata.get('general.alignment') ?? 32
  if (typeof alignment !== 'number' || alignment < 1 || alignment > 65536 || Math.log2(alignment) % 1 !== 0)
    throw broken(`its general.alignment is ${shown(alignment)}, and a power of 2 up to 65536 is allowed`)
  return { metadata, tensors: readTensors(from, tensorCount, alignment, fileBytes), fileBytes }
}

/** The bytes that were read end before the header does. */
class HeaderEnds extends Error {}

const firstRead = 1 << 20
/** Metadata with a vocabulary of a quarter of a million words is about 10 MB; more than this is no honest header. */
const mostHeaderBytes = 128 << 20
/** ggml compares every name with all others: far more than any model has would keep it busy for minutes. */
const most = { pairs: 4096, tensors: 32_768, nameBytes: 63, axes: 4 }

const broken = (why: string): OrielError =>
  new OrielError('invalid', `The model file is no GGUF file that can be read: ${why}.`, { code: 'bad_model' })

/** With the name of the file, which no other part of the message may hold: clients see these errors too. */
const named = (error: OrielError, file: string): OrielError =>
  new OrielError(
    error.kind,
    error.message.replace('The model file', () => path.basename(file)),
    {
      code: error.code,
      cause: error,
    },
  )

async function beginning(handle: FileHandle, bytes: number): Promise<Buffer> {
  const header = Buffer.alloc(bytes)
  const { bytesRead } = await handle.read(header, 0, bytes, 0)
  return header.subarray(0, bytesRead)
}

function readMetadata(from: Cursor, pairs: number): Map<string, MetadataValue> {
  const metadata = new Map<string, MetadataValue>()
  for (let pair = 0; pair < pairs; pair++) {
    const key = from.string()
    if (key === '') throw broken(`its metadata pair ${pair} has no name`)
    if (metadata.has(key)) throw broken(`its metadata has ${shown(key)} twice`)
    metadata.set(key, readValue(from, from.u32(), key))
  }
  return metadata
}

/** `enum gguf_type` */
const string = 8
const array = 9
const numbers: Record<number, { bytes: number; read: (from: Buffer, at: number) => number | bigint | boolean }> = {
  0: { bytes: 1, read: (from, at) => from.readUInt8(at) },
  1: { bytes: 1, read: (from, at) => from.readInt8(at) },
  2: { bytes: 2, read: (from, at) => from.readUInt16LE(at) },
  3: { bytes: 2, read: (from, at) => from.readInt16LE(at) },
  4: { bytes: 4, read: (from, at) => from.readUInt32LE(at) },
  5: { bytes: 4, read: (from, at) => from.readInt32LE(at) },
  6: { bytes: 4, read: (from, at) => from.readFloatLE(at) },
  7: { bytes: 1, read: (from, at) => from.readUInt8(at) !== 0 },
  10: { bytes: 8, read: (from, at) => from.readBigUInt64LE(at) },
  11: { bytes: 8, read: (from, at) => from.readBigInt64LE(at) },
  12: { bytes: 8, read: (from, at) => from.readDoubleLE(at) },
}

function readValue(from: Cursor, type: number, key: string): MetadataValue {
  if (type === string) return from.string()
  if (type === array) return skipArray(from, key)
  const reader = numbers[type]
  if (reader === undefined) throw broken(`its ${shown(key)} has the unknown type ${type}, and 0 to 12 are known`)
  return reader.read(from.bytes, from.take(reader.bytes))
}

function skipArray(from: Cursor, key: string): { length: number } {
  const type = from.u32()
  const length = from.count(from.fileBytes, `elements of ${shown(key)}`)
  const fixed = numbers[type]?.bytes
  if (textArrays.has(key) && type !== string)
    throw broken(`its ${shown(key)} is an array of the type ${type}, not of text`)
  if (key === vocabulary) skipVocabulary(from, length)
  else if (fixed !== undefined) from.take(fixed * length)
  else if (type === string) for (let i = 0; i < length; i++) from.skipString()
  else
    throw broken(
      type === array
        ? `its ${shown(key)} is an array of arrays, which GGUF does not allow`
        : `its array ${shown(key)} is of the unknown type ${type}`,
    )
  return { length }
}

/** llama.cpp takes these for text without a look, and ends its process where they are not. */
const vocabulary = 'tokenizer.ggml.tokens'
const textArrays: ReadonlySet<string> = new Set([vocabulary, 'tokenizer.ggml.merges'])

/** Nor does it live on with two tokens of the same text. Its texts end at the first zero byte; empty ones get a number. */
function skipVocabulary(from: Cursor, length: number): void {
  const seen = new Set<string>()
  for (let token = 0; token < length; token++) {
    const text = from.string().split('\0', 1)[0] || `[EMPTY_${token}]`
    if (seen.has(text)) throw broken(`its vocabulary has the token ${shown(text)} twice, the second time at ${token}`)
    seen.add(text)
  }
}

function readTensors(from: Cursor, count: number, alignment: number, fileBytes: number): TensorInfo[] {
  const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment
  const names = new Set<string>()
  const tensors: TensorInfo[] = []
  /** Where the next tensor has to begin: they lie side by side, in the order of the header. */
  let next = 0
  let end = 0
  for (let index = 0; index < count; index++) {
    const name = from.string()
    if (Buffer.byteLength(name) > most.nameBytes)
      throw broken(`the name of its tensor ${index} is longer than ${most.nameBytes} bytes`)
    if (names.has(name)) throw broken(`it has the tensor ${shown(name)} twice`)
    names.add(name)
    const shape = readShape(from, name)
    const { type, bytes } = sizeOf(shape, from.u32(), name)
    const offset = from.u64()
    if (offset !== BigInt(next)) {
      const before = shown(tensors.at(-1)?.name ?? '')
      throw broken(
        offset < next
          ? `its tensor ${shown(name)} begins at ${offset} of the data, and ${before} before it ends at ${end}: they overlap`
          : `its tensor ${shown(name)} begins at ${offset} of the data instead of ${next}`,
      )
    }
    end = next + bytes
    next = aligned(end)
    if (!Number.isSafeInteger(next)) throw broken(`its tensors up to ${shown(name)} need more bytes than any file has`)
    tensors.push({ name, shape, type, bytes })
  }
  const needed = aligned(from.at) + end
  if (tensors.length > 0 && needed > fileBytes)
    throw broken(`it is truncated: it has ${fileBytes} bytes, and its tensors need ${needed}`)
  return tensors
}

function readShape(from: Cursor, name: string): number[] {
  const axes = from.u32()
  if (axes > most.axes) throw broken(`its tensor ${shown(name)} has ${axes} axes, and ${most.axes} are allowed`)
  return Array.from({ length: axes }, () => {
    const size = from.u64()
    if (size < 1n || size > BigInt(Number.MAX_SAFE_INTEGER))
      throw broken(`an axis of its tensor ${shown(name)} is ${size} long`)
    return Number(size)
  })
}

function sizeOf(shape: readonly number[], number: number, name: string): { type: string; bytes: number } {
  const type = tensorTypes[number]
  if (type === undefined) throw broken(`its tensor ${shown(name)} is of the unknown type ${number}`)
  const row = shape[0] ?? 1
  if (row % type.block !== 0)
    throw broken(
      `the rows of its tensor ${shown(name)} have ${row} numbers, and ${type.name} takes multiples of ${type.block}`,
    )
  const count = shape.reduce((product, size) => product * size, 1)
  const bytes = (count / type.block) * type.bytes
  if (!Number.isSafeInteger(count) || !Number.isSafeInteger(bytes))
    throw broken(`its tensor ${shown(name)} of ${shape.join(' x ')} numbers needs more bytes than any file has`)
  return { type: type.name, bytes }
}

/** What a file says, in a message: short, and without anything that a terminal would obey. */
const shown = (value: MetadataValue): string => {
  if (typeof value === 'object') return `an array of ${value.length}`
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : String(value)
}

/** A place in the header that only goes forward, and never behind its end. */
class Cursor {
  readonly bytes: Buffer
  /** No honest count is larger. */
  readonly fileBytes: number
  at = 0

  constructor(bytes: Buffer, fileBytes: number) {
    this.bytes = bytes
    this.fileBytes = fileBytes
  }

  take(count: number): number {
    if (count > this.bytes.length - this.at) throw new HeaderEnds()
    this.at += count
    return this.at - count
  }

  u32(): number {
    return this.bytes.readUInt32LE(this.take(4))
  }

  u64(): bigint {
    return this.bytes.readBigUInt64LE(this.take(8))
  }

  count(allowed: number, of: string): number {
    const value = this.u64()
    if (value > BigInt(allowed)) throw broken(`it counts ${value} ${of}, and ${allowed} is the most that there can be`)
    return Number(value)
  }

  string(): string {
    const length = this.#length()
    const start = this.take(length)
    return this.bytes.toString('utf8', start, start + length)
  }

  skipString(): void {
    this.take(this.#length())
  }

  raw(length: number): string {
    const start = this.take(length)
    return this.bytes.toString('latin1', start, start + length)
  }

  #length(): number {
    return this.count(this.fileBytes, 'bytes in a string')
  }
}
