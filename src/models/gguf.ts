import { open } from 'node:fs/promises'
import { OrielError } from '../errors.ts'

/** A value of a GGUF's metadata. Arrays are skipped but for their length: the long ones are vocabularies. */
export type MetadataValue = string | number | bigint | boolean | { length: number }

/**
 * Reads the metadata of a GGUF file: its header's key/value pairs, nothing behind them. Every count is checked against
 * the bytes that are there before it is believed.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 * @throws OrielError `not_found` where there is no such file, `invalid` for a file that is no GGUF or is broken
 */
export async function readGgufMetadata(file: string): Promise<Map<string, MetadataValue>> {
  const handle = await open(file, 'r').catch(() => {
    throw new OrielError('not_found', `There is no file at ${file}.`, { code: 'model_not_found' })
  })
  try {
    const { size } = await handle.stat()
    // Metadata with a vocabulary of a quarter of a million words is about 10 MB; more than this is no honest header.
    const header = Buffer.alloc(Math.min(size, 64 << 20))
    await handle.read(header, 0, header.length, 0)
    return parse(header)
  } catch (error) {
    if (error instanceof RangeError) throw broken('it ends in the middle of its header')
    throw error
  } finally {
    await handle.close()
  }
}

const broken = (why: string): OrielError =>
  new OrielError('invalid', `The model file is no GGUF file that can be read: ${why}.`, { code: 'bad_model' })

/** `enum gguf_type` */
const string = 8
const array = 9
const readers: Record<number, { bytes: number; read: (from: Buffer, at: number) => number | bigint | boolean }> = {
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

function parse(header: Buffer): Map<string, MetadataValue> {
  let at = 0
  const take = (bytes: number): number => {
    if (bytes > header.length - at) throw new RangeError()
    at += bytes
    return at - bytes
  }
  const count = (): number => {
    const value = header.readBigUInt64LE(take(8))
    if (value > BigInt(header.length)) throw broken('a count in its header is larger than the file')
    return Number(value)
  }
  const text = (): string => {
    const length = count()
    const start = take(length)
    return header.toString('utf8', start, start + length)
  }
  const value = (type: number): MetadataValue => {
    if (type === string) return text()
    if (type === array) return skipArray()
    const reader = readers[type]
    if (reader === undefined) throw broken(`a value in its header has the unknown type ${type}`)
    return reader.read(header, take(reader.bytes))
  }
  const skipArray = (): { length: number } => {
    const type = header.readUInt32LE(take(4))
    const length = count()
    const fixed = readers[type]?.bytes
    if (fixed !== undefined) take(fixed * length)
    else if (type === string) for (let i = 0; i < length; i++) take(count())
    else throw broken('an array in its header is of a type that arrays cannot have')
    return { length }
  }

  if (header.toString('latin1', take(4), at) !== 'GGUF') throw broken('it does not begin with GGUF')
  const version = header.readUInt32LE(take(4))
  if (version !== 2 && version !== 3) throw broken(`its version is ${version}, and 2 and 3 are known`)
  count()
  const pairs = count()
  const metadata = new Map<string, MetadataValue>()
  for (let pair = 0; pair < pairs; pair++) {
    const key = text()
    metadata.set(key, value(header.readUInt32LE(take(4))))
  }
  return metadata
}
