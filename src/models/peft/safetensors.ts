import { type FileHandle, open } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { z } from 'zod'
import { badModel } from '../../errors.ts'
import { parseJson } from '../../json.ts'

/** A tensor in a file of safetensors. */
export interface SafeTensor {
  readonly name: string
  readonly type: FloatType
  /** As PyTorch has it: the fastest axis comes last. */
  readonly shape: readonly number[]
  /** Of its first byte in the file. */
  readonly at: number
}

export type FloatType = keyof typeof floatBytes
/** Bytes of a number, by the type's name in the file. */
export const floatBytes = { F32: 4, F16: 2, BF16: 2 } as const

/** The headers of adapters have some hundred bytes for each of some hundred tensors. More would keep the server busy. */
const limits = { headerBytes: 2 << 20, tensors: 8192 }
/** Tensors that are checked between two pauses. */
const checkedAtOnce = 512

const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(z.int().min(0)).max(8),
  data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
})

/**
 * Reads the header of a file of safetensors and checks it against the size of the file: every tensor has the bytes that its
 * shape needs, and none shares them with another.
 * Format: https://github.com/huggingface/safetensors#format
 * @param file its path @param name for messages
 * @throws OrielError `invalid` if it is not such a file, damaged or truncated, or has tensors of other types than floats
 */
export async function readSafetensors(file: string, name: string): Promise<SafeTensor[]> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    throw badModel(`${name} cannot be read: ${error.code}.`, error)
  })
  try {
    const { size } = await handle.stat()
    const broken = (why: string) => badModel(`${name} is not a valid file of safetensors: ${why}.`)
    const { entries, start } = await readEntries(handle, size, broken)
    const tensors: Placed[] = []
    for (const [index, [name, entry]] of entries.entries()) {
      tensors.push(placed(name, entry, start, size, broken))
      if (index % checkedAtOnce === 0) await nextTurn()
    }
    checkApart(tensors, broken)
    return tensors
  } finally {
    await handle.close()
  }
}

type Broken = (why: string) => Error
type Placed = SafeTensor & { end: number }

async function readEntries(handle: FileHandle, size: number, broken: Broken) {
  if (size < 8) throw broken(`it has ${size} bytes`)
  const bytes = Number((await read(handle, 0, 8)).readBigUInt64LE())
  if (bytes > limits.headerBytes) throw broken(`its header has ${bytes} bytes; ${limits.headerBytes} are allowed`)
  if (8 + bytes > size) throw broken(`it is truncated: its header needs ${bytes} bytes, and the file has ${size}`)
  const header = parseJson((await read(handle, 8, bytes)).toString('utf8'))
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    throw broken('its header is not a JSON object')
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__')
  if (entries.length > limits.tensors) throw broken(`it has ${entries.length} tensors; ${limits.tensors} are allowed`)
  return { entries, start: 8 + bytes }
}

async function read(handle: FileHandle, at: number, count: number): Promise<Buffer> {
  const bytes = Buffer.alloc(count)
  for (let got = 0; got < count; ) {
    const { bytesRead } = await handle.read(bytes, got, count - got, at + got)
    if (bytesRead === 0) throw badModel('A file of an adapter became shorter while it was read.')
    got += bytesRead
  }
  return bytes
}

function placed(name: string, entry: unknown, start: number, size: number, broken: Broken): Placed {
  const { data, success } = entrySchema.safeParse(entry)
  if (!success) throw broken(`its entry ${shown(name)} is malformed`)
  const { dtype, shape } = data
  if (!isFloat(dtype))
    throw broken(
      `its tensor ${shown(name)} has the type ${shown(dtype)}; ${Object.keys(floatBytes).join(', ')} are supported`,
    )
  const [from, to] = data.data_offsets
  const bytes = shape.reduce((product, length) => product * length, floatBytes[dtype])
  if (!Number.isSafeInteger(bytes) || to - from !== bytes)
    throw broken(`its tensor ${shown(name)} of ${shape.join(' x ')} numbers has ${to - from} bytes instead of ${bytes}`)
  if (start + to > size)
    throw broken(`it is truncated: its tensor ${shown(name)} ends at byte ${start + to} of ${size}`)
  return { name, type: dtype, shape, at: start + from, end: start + to }
}

function checkApart(tensors: readonly Placed[], broken: Broken): void {
  const ordered = tensors.toSorted((a, b) => a.at - b.at || a.end - b.end)
  for (const [index, { name, at }] of ordered.entries()) {
    const before = ordered[index - 1]
    if (before !== undefined && at < before.end)
      throw broken(`its tensors ${shown(before.name)} and ${shown(name)} overlap`)
  }
}

const isFloat = (type: string): type is FloatType => Object.hasOwn(floatBytes, type)

/** A text of the file for a message. */
export const shown = (text: string): string => JSON.stringify(text.slice(0, 120))
