import { randomUUID } from 'node:crypto'
import { closeSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { badModel } from '../../errors.ts'
import { bytesOf, headerBytes, paddingAfter } from '../../gguf/index.ts'
import { readAt } from '../../read-at.ts'
import type { PlannedTensor } from './plan.ts'
import { type FloatType, floatBytes, type SafeTensor } from './safetensors.ts'

/** A file to write from the matrices of an adapter. */
export interface Conversion {
  /** Path of the matrices. */
  readonly source: string
  readonly target: string
  readonly architecture: string
  readonly name: string
  readonly alpha: number
  readonly invocation: readonly number[]
  readonly tensors: readonly PlannedTensor[]
}

/** Numbers that are in memory at a time, if their order stays. */
const pieceNumbers = 1 << 20

/**
 * Writes a GGUF file of an adapter. It blocks its thread. Nobody sees an incomplete file.
 * @throws OrielError `invalid` if the source became shorter; Error of the system
 */
export function convert({ source, target, architecture, name, alpha, invocation, tensors }: Conversion): void {
  const unfinished = `${target}.${randomUUID()}.new`
  const from = openSync(source, 'r')
  try {
    const to = openSync(unfinished, 'wx')
    try {
      const metadata = {
        'general.type': 'adapter',
        'general.architecture': architecture,
        'general.name': name,
        'adapter.type': 'lora',
        'adapter.lora.alpha': { f32: alpha },
        ...(invocation.length > 0 && { 'adapter.alora.invocation_tokens': { u32: invocation } }),
      }
      writeFileSync(to, headerBytes(metadata, tensors))
      for (const tensor of tensors) {
        for (const piece of piecesOf(from, tensor)) writeFileSync(to, piece)
        writeFileSync(to, paddingAfter(bytesOf(tensor)))
      }
    } finally {
      closeSync(to)
    }
    renameSync(unfinished, target)
  } catch (error) {
    rmSync(unfinished, { force: true })
    throw error
  } finally {
    closeSync(from)
  }
}

/**
 * The numbers of tensors, one whole tensor after the other.
 * @param source path of the matrices
 * @throws OrielError `invalid` if the source became shorter; Error of the system
 */
export function* plannedNumbers(
  source: string,
  tensors: readonly PlannedTensor[],
): Generator<{ name: string; shape: readonly [number, number]; values: Float32Array }> {
  const from = openSync(source, 'r')
  try {
    for (const tensor of tensors) {
      const values = new Float32Array(tensor.shape[0] * tensor.shape[1])
      let at = 0
      for (const piece of piecesOf(from, tensor)) {
        values.set(piece, at)
        at += piece.length
      }
      yield { name: tensor.name, shape: tensor.shape, values }
    }
  } finally {
    closeSync(from)
  }
}

/** The numbers of a tensor in order. */
function* piecesOf(file: number, tensor: PlannedTensor): Generator<Float32Array> {
  for (const piece of ordered(file, tensor)) {
    if (tensor.factor !== 1) for (let at = 0; at < piece.length; at++) piece[at] = (piece[at] ?? 0) * tensor.factor
    yield piece
  }
}

function* ordered(file: number, { source, rows, columns, isTurned }: PlannedTensor): Generator<Float32Array> {
  const [count = 0, width = 0] = source.shape
  if (isTurned) yield* turned(file, source)
  else if (columns !== undefined) yield picked(floats(file, source, 0, count * width), width, columns)
  else if (rows instanceof Int32Array) {
    const whole = floats(file, source, 0, count * width)
    const result = new Float32Array(rows.length * width)
    for (const [at, row] of rows.entries()) result.set(whole.subarray(row * width, (row + 1) * width), at * width)
    yield result
  } else {
    const { from, count: some } = rows ?? { from: 0, count }
    const end = (from + some) * width
    for (let at = from * width; at < end; at += pieceNumbers)
      yield floats(file, source, at, Math.min(pieceNumbers, end - at))
  }
}

/** Rows with their columns in another order. */
function picked(whole: Float32Array, width: number, columns: Int32Array): Float32Array {
  const result = new Float32Array(whole.length)
  for (let start = 0; start < whole.length; start += width)
    for (const [at, column] of columns.entries()) result[start + at] = whole[start + column] ?? 0
  return result
}

/** Columns as rows, some at a time. */
function* turned(file: number, source: SafeTensor): Generator<Float32Array> {
  const [count = 0, width = 0] = source.shape
  const most = Math.max(1, Math.floor(pieceNumbers / count))
  for (let from = 0; from < width; from += most) {
    const some = Math.min(most, width - from)
    const result = new Float32Array(some * count)
    for (let row = 0; row < count; row++)
      for (const [at, value] of floats(file, source, row * width + from, some).entries())
        result[at * count + row] = value
    yield result
  }
}

/** Numbers of a tensor from the file. @param from the index of the first */
function floats(file: number, { name, type, at }: SafeTensor, from: number, count: number): Float32Array {
  const bytes = readAt(file, new Uint8Array(count * floatBytes[type]), at + from * floatBytes[type], () =>
    badModel(`The file of the adapter became shorter while ${JSON.stringify(name)} was read.`),
  )
  return widened[type](bytes.buffer)
}

/** To 32-bit floats, exactly. */
const widened: Readonly<Record<FloatType, (bytes: ArrayBuffer) => Float32Array>> = {
  F32: (bytes) => new Float32Array(bytes),
  BF16(bytes) {
    const short = new Uint16Array(bytes)
    const long = new Uint32Array(short.length)
    for (let at = 0; at < short.length; at++) long[at] = (short[at] as number) << 16
    return new Float32Array(long.buffer)
  },
  F16(bytes) {
    halves ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => ofHalf(bits))
    const short = new Uint16Array(bytes)
    const long = new Float32Array(short.length)
    for (let at = 0; at < short.length; at++) long[at] = halves[short[at] as number] as number
    return long
  },
}

/** The number of each 16-bit float, made when it is first wanted. */
let halves: Float32Array | undefined

function ofHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}
