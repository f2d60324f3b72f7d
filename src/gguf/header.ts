import { type FileHandle, open, stat } from 'node:fs/promises'
import path from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { badModel, OrielError } from '../errors.ts'
import { tensorTypes } from './types.ts'

/** A value of a GGUF's metadata. Of an array only the length is kept, and the numbers of a short one: long arrays are vocabularies. */
export type MetadataValue = string | number | bigint | boolean | { length: number; numbers?: readonly number[] }

interface TensorInfo {
  name: string
  /** In ggml's order: the fastest axis comes first. */
  shape: readonly number[]
  /** As `tensorTypes` names it. */
  type: string
  bytes: number
  /** Where it begins in the file. */
  at: number
}

/** What precedes the weights in a GGUF file. */
export interface GgufHeader {
  metadata: ReadonlyMap<string, MetadataValue>
  tensors: readonly TensorInfo[]
  fileBytes: number
}

/**
 * Reads the header of a GGUF file and checks everything in it against the size of the file, before any native code opens
 * the file. It is as strict as ggml's own reader (ggml/src/gguf.cpp), and stricter where that one would be slow or would
 * take much memory. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 * @throws OrielError `not_found` if there is no such file, `invalid` if it is not a GGUF file, damaged or truncated
 */
export async function readHeader(file: string): Promise<GgufHeader> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR')
      throw badModel(`${path.basename(file)} cannot be read: ${error.code}.`, error)
    throw new OrielError('not_found', `There is no file ${path.basename(file)}.`, { code: 'model_not_found' })
  })
  try {
    const stats = await handle.stat()
    if (!stats.isFile()) throw broken('it is not a regular file')
    const from = new Cursor(await read(handle, Buffer.alloc(0), stats.size), stats.size)
    const reading = headerIn(from)
    for (let step = reading.next(); ; step = reading.next()) {
      if (step.done) return step.value
      if (step.value === 'pause') await nextTurn()
      else if (from.bytes.length >= maxHeaderBytes)
        throw broken(`its header exceeds the limit of ${maxHeaderBytes} bytes`)
      else from.bytes = await read(handle, from.bytes, stats.size)
    }
  } catch (error) {
    throw error instanceof OrielError ? named(error, file) : error
  } finally {
    await handle.close()
  }
}

/**
 * @param bytes the beginning of the file
 * @param fileBytes the size of the whole file
 * @throws OrielError `invalid`; `HeaderEnds` if the header is longer than `bytes`
 */
export function parseHeader(bytes: Buffer, fileBytes: number): GgufHeader {
  const reading = headerIn(new Cursor(bytes, fileBytes))
  for (;;) {
    const step = reading.next()
    if (step.done) return step.value
    if (step.value === 'more') throw new HeaderEnds()
  }
}

/** Pauses every few ms: a vocabulary takes a tenth of a second. After `more` the cursor must have more bytes. */
type Steps<T> = Generator<'pause' | 'more', T, void>

/** Texts that are read between two pauses. */
const textsOfStep = 4096

function* headerIn(from: Cursor): Steps<GgufHeader> {
  // biome-ignore lint/correctness/useYield: it has no pause of its own.
  const { tensorCount, pairs } = yield* whole(from, function* () {
    const magic = from.raw(4)
    if (magic !== 'GGUF') throw broken(`it begins with ${JSON.stringify(magic)} instead of GGUF`)
    const version = from.u32()
    if (version !== 2 && version !== 3) throw broken(`its version is ${version}; versions 2 and 3 are supported`)
    return { tensorCount: from.count(limits.tensors, 'tensors'), pairs: from.count(limits.pairs, 'metadata pairs') }
  })
  const metadata = yield* readMetadata(from, pairs)
  const alignment = metadata.get('general.alignment') ?? 32
  if (typeof alignment !== 'number' || alignment < 1 || alignment > 65536 || Math.log2(alignment) % 1 !== 0)
    throw broken(`its general.alignment is ${shown(alignment)}; it must be a power of 2 up to 65536`)
  return { metadata, tensors: yield* readTensors(from, tensorCount, alignment), fileBytes: from.fileBytes }
}

/** The bytes that were read end before the header ends. */
class HeaderEnds extends Error {}

/** Reads a part of the header, again from its beginning if the bytes ended in it. */
function* whole<T>(from: Cursor, read: () => Steps<T>): Steps<T> {
  for (const start = from.at; ; from.at = start)
    try {
      return yield* read()
    } catch (error) {
      if (!(error instanceof HeaderEnds)) throw error
      if (from.bytes.length >= from.fileBytes)
        throw broken(`it is truncated: its header needs more than its ${from.fileBytes} bytes`)
      yield 'more'
    }
}

/** Most headers are small; one with a vocabulary has 1 to 10 MB. */
const firstRead = 1 << 20
const maxHeaderBytes = 128 << 20
/** ggml compares every name with all others: far more names than any model has would keep it busy for minutes. */
const limits = { pairs: 4096, tensors: 32_768, nameBytes: 63, axes: 4 }
/** Numbers of an array that are kept: means, canvases and layers are few, token types and scores are many. */
const maxKeptNumbers = 1024

const broken = (why: string): OrielError => badModel(`The model file is not a valid GGUF file: ${why}.`)

/** Adds the name of the file, without its path: clients see these errors too. */
const named = (error: OrielError, file: string): OrielError =>
  new OrielError(
    error.kind,
    error.message.replace('The model file', () => path.basename(file)),
    { code: error.code, cause: error },
  )

/** Twice as much of a file's beginning as before. */
async function read(handle: FileHandle, before: Buffer, fileBytes: number): Promise<Buffer> {
  const length = Math.min(fileBytes, Math.max(firstRead, 2 * before.length))
  const bytes = Buffer.allocUnsafe(length)
  before.copy(bytes)
  const { bytesRead } = await handle.read(bytes, before.length, length - before.length, before.length)
  if (bytesRead < length - before.length) throw broken('it became shorter while it was read')
  return bytes
}

function* readMetadata(from: Cursor, pairs: number): Steps<Map<string, MetadataValue>> {
  const metadata = new Map<string, MetadataValue>()
  for (let pair = 0; pair < pairs; pair++) {
    const [key, value] = yield* whole(from, function* () {
      const key = from.string()
      if (key === '') throw broken(`its metadata pair ${pair} has no key`)
      if (metadata.has(key)) throw broken(`its metadata has the key ${shown(key)} twice`)
      return [key, yield* readValue(from, from.u32(), key)]
    })
    metadata.set(key, value)
  }
  return metadata
}

/** `enum gguf_type` */
const float = 6
const string = 8
const array = 9
/** llama.cpp reads this one without a check, and aborts its process if it is of another type. */
const floats: ReadonlySet<string> = new Set(['adapter.lora.alpha'])
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

function* readValue(from: Cursor, type: number, key: string): Steps<MetadataValue> {
  if (floats.has(key) && type !== float) throw broken(`its ${shown(key)} is of type ${type}, not a 32-bit float`)
  if (type === string) return from.string()
  if (type === array) return yield* readArray(from, key)
  const reader = numbers[type]
  if (reader === undefined) throw broken(`its ${shown(key)} has the unknown type ${type}; types 0 to 12 are supported`)
  return reader.read(from.bytes, from.take(reader.bytes))
}

function* readArray(from: Cursor, key: string): Steps<MetadataValue> {
  const type = from.u32()
  const length = from.count(from.fileBytes, `elements of ${shown(key)}`)
  const reader = numbers[type]
  if (textArrays.has(key) && type !== string)
    throw broken(`its ${shown(key)} is an array of type ${type}, not of strings`)
  if (key === vocabulary) yield* skipVocabulary(from, length)
  else if (reader !== undefined) {
    const start = from.take(reader.bytes * length)
    if (length > maxKeptNumbers) return { length }
    const values = Array.from({ length }, (_, at) => reader.read(from.bytes, start + at * reader.bytes))
    return { length, numbers: values.filter((value) => typeof value === 'number') }
  } else if (type === string)
    for (let i = 0; i < length; i++) {
      from.skipString()
      if (i % textsOfStep === 0) yield 'pause'
    }
  else
    throw broken(
      type === array
        ? `its ${shown(key)} is an array of arrays, which GGUF does not allow`
        : `its array ${shown(key)} has the unknown type ${type}`,
    )
  return { length }
}

/** llama.cpp reads these as strings without a check, and aborts its process if they are not. */
const vocabulary = 'tokenizer.ggml.tokens'
const textArrays: ReadonlySet<string> = new Set([vocabulary, 'tokenizer.ggml.merges'])

/** llama.cpp also aborts on two tokens of the same text. It ends a text at the first zero byte and numbers empty ones. */
function* skipVocabulary(from: Cursor, length: number): Steps<void> {
  const seen = new Set<string>()
  for (let token = 0; token < length; token++) {
    const whole = from.string()
    const zero = whole.indexOf('\0')
    const text = (zero < 0 ? whole : whole.slice(0, zero)) || `[EMPTY_${token}]`
    if (seen.has(text)) throw broken(`its vocabulary has the token ${shown(text)} twice, again at ${token}`)
    seen.add(text)
    if (token % textsOfStep === 0) yield 'pause'
  }
}

function* readTensors(from: Cursor, count: number, alignment: number): Steps<TensorInfo[]> {
  const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment
  const names = new Set<string>()
  const tensors: TensorInfo[] = []
  /** Where the next tensor must begin: tensors follow each other in the order of the header. */
  let next = 0
  let end = 0
  for (let index = 0; index < count; index++) {
    // biome-ignore lint/correctness/useYield: it has no pause of its own.
    const { name, offset, ...tensor } = yield* whole(from, function* () {
      const name = from.string()
      if (Buffer.byteLength(name) > limits.nameBytes)
        throw broken(`the name of its tensor ${index} is longer than ${limits.nameBytes} bytes`)
      if (names.has(name)) throw broken(`it has the tensor ${shown(name)} twice`)
      const shape = readShape(from, name)
      return { name, shape, ...sizeOf(shape, from.u32(), name), offset: from.u64() }
    })
    names.add(name)
    if (offset !== BigInt(next)) {
      const before = shown(tensors.at(-1)?.name ?? '')
      throw broken(
        offset < next
          ? `its tensor ${shown(name)} begins at byte ${offset} of the data and overlaps ${before}, which ends at ${end}`
          : `its tensor ${shown(name)} begins at byte ${offset} of the data instead of ${next}`,
      )
    }
    end = next + tensor.bytes
    next = aligned(end)
    if (!Number.isSafeInteger(next))
      throw broken(`its tensors up to ${shown(name)} need more bytes than a file can have`)
    tensors.push({ name, ...tensor, at: Number(offset) })
    if (index % textsOfStep === 0) yield 'pause'
  }
  const start = aligned(from.at)
  for (const tensor of tensors) tensor.at += start
  const needed = start + end
  if (tensors.length > 0 && needed > from.fileBytes)
    throw broken(`it is truncated: it has ${from.fileBytes} bytes, and its tensors need ${needed}`)
  return tensors
}

function readShape(from: Cursor, name: string): number[] {
  const axes = from.u32()
  if (axes > limits.axes) throw broken(`its tensor ${shown(name)} has ${axes} axes; ${limits.axes} are allowed`)
  return Array.from({ length: axes }, () => {
    const size = from.u64()
    if (size < 1n || size > BigInt(Number.MAX_SAFE_INTEGER))
      throw broken(`an axis of its tensor ${shown(name)} has the length ${size}`)
    return Number(size)
  })
}

function sizeOf(shape: readonly number[], number: number, name: string): { type: string; bytes: number } {
  const type = tensorTypes[number]
  if (type === undefined) throw broken(`its tensor ${shown(name)} has the unknown type ${number}`)
  const row = shape[0] ?? 1
  if (row % type.block !== 0)
    throw broken(
      `the rows of its tensor ${shown(name)} have ${row} numbers; ${type.name} requires a multiple of ${type.block}`,
    )
  const count = shape.reduce((product, size) => product * size, 1)
  const bytes = (count / type.block) * type.bytes
  if (!Number.isSafeInteger(count) || !Number.isSafeInteger(bytes))
    throw broken(`its tensor ${shown(name)} of ${shape.join(' x ')} numbers needs more bytes than a file can have`)
  return { type: type.name, bytes }
}

/** A value of the file for a message: short, and without control characters. */
const shown = (value: MetadataValue): string => {
  if (typeof value === 'object') return `an array of ${value.length}`
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : String(value)
}

const viewOf = ({ buffer, byteOffset, length }: Buffer): DataView => new DataView(buffer, byteOffset, length)

/** Reads the header from front to back, and never past the end of the bytes. */
class Cursor {
  #bytes: Buffer
  /** Of the same bytes. It is fast before anything is compiled: a process reads few headers. */
  #view: DataView
  /** No count of a valid file is larger. */
  readonly fileBytes: number
  at = 0

  constructor(bytes: Buffer, fileBytes: number) {
    this.#bytes = bytes
    this.#view = viewOf(bytes)
    this.fileBytes = fileBytes
  }

  get bytes(): Buffer {
    return this.#bytes
  }

  /** @param bytes the same, and more after them */
  set bytes(bytes: Buffer) {
    this.#bytes = bytes
    this.#view = viewOf(bytes)
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
    const at = this.take(8)
    // Without a BigInt: a vocabulary has a length for each token.
    const value = this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true)
    if (value > allowed)
      throw broken(`it declares ${this.bytes.readBigUInt64LE(at)} ${of}; at most ${allowed} are possible`)
    return value
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

const known = new Map<string, { stamp: string; header: Promise<GgufHeader> }>()

/**
 * The header of a GGUF file. A file is read once in each process, and again only after it has changed.
 * @throws OrielError as `readHeader` does
 */
export async function headerOf(file: string): Promise<GgufHeader> {
  const stats = await stat(file).catch(() => undefined)
  // A change of permissions changes the last of these times.
  const stamp = `${stats?.ino} ${stats?.size} ${stats?.mtimeMs} ${stats?.ctimeMs}`
  const found = known.get(file)
  if (found?.stamp === stamp) return found.header
  const header = readHeader(file)
  known.set(file, { stamp, header })
  header.catch((error: unknown) => {
    if (!(error instanceof OrielError && error.kind === 'invalid')) known.delete(file)
  })
  return header
}
