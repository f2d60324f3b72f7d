import { badModel } from '../../errors.ts'
import { addProduct } from '../../low-rank.ts'
import { openNative, TensorType } from '../../native/index.ts'
import { readAt } from '../../read-at.ts'

/** Bytes of a merged file that are made independently of all others. Plain data: a thread makes them. */
export interface Piece {
  /** Path of the base's file, and where the bytes are in it. */
  readonly source: string
  readonly at: number
  readonly bytes: number
  /** Where they go. */
  readonly to: number
  readonly outBytes: number
  /** null: they are copied. */
  readonly matrix: ChangedRows | null
}

/** Rows of a matrix to which the product of an adapter's halves is added. */
interface ChangedRows {
  readonly name: string
  readonly count: number
  readonly columns: number
  readonly rank: number
  readonly scale: number
  /** ggml's numbers of the type that the base has, and of the one to write. */
  readonly type: number
  readonly wanted: number
  /** `[rank, columns]`; `[columns, rank]` if it is turned. */
  readonly a: Half
  /** `[count, rank]`, those of these rows. */
  readonly b: Half
  readonly isTurned: boolean
}

/** Numbers of an adapter in its file. */
export interface Half {
  readonly file: string
  readonly at: number
  readonly bytes: number
  /** ggml's number of its type. */
  readonly type: number
}

/** Opens a file for reading, once for all pieces. */
export type OpenFile = (path: string) => number

/** @returns the bytes to write @throws OrielError `invalid` for files that became shorter, and numbers that are not finite */
export function bytesOfPiece({ source, at, bytes, outBytes, matrix }: Piece, open: OpenFile): Uint8Array {
  const raw = read(open(source), at, bytes)
  if (matrix === null) return raw
  const { ggml } = openNative()
  const { name, count, columns, rank, scale, type, wanted, isTurned } = matrix
  const values = ggml.floatsOf(type, raw, count * columns)
  const numbersOf = (half: Half, numbers: number): Float32Array =>
    ggml.floatsOf(half.type, read(open(half.file), half.at, half.bytes), numbers)
  const a = numbersOf(matrix.a, columns * rank)
  const b = numbersOf(matrix.b, count * rank).map((value) => value * scale)
  addProduct({ a: isTurned ? turned(a, rank) : a, b, rank }, { from: 0, count, values })
  if (!fits(values, wanted)) throw badModel(`What the adapter adds to ${name} makes numbers that are too large.`)
  const made = new Uint8Array(outBytes)
  ggml.quantize(wanted, values, count, columns, made)
  return made
}

function read(file: number, at: number, bytes: number): Uint8Array {
  return readAt(file, new Uint8Array(bytes), at, () => badModel('A file became shorter while it was read.'))
}

/** Columns as rows. @param values `[columns, rank]` @returns `[rank, columns]` */
function turned(values: Float32Array, rank: number): Float32Array {
  const columns = values.length / rank
  return Float32Array.from(
    { length: values.length },
    (_, at) => values[(at % columns) * rank + Math.floor(at / columns)] as number,
  )
}

/** The largest 16-bit float. Scales of quantized numbers are such, too. */
const largestHalf = 65504

/** Whether a type of ggml has numbers of this size. */
function fits(values: Float32Array, type: number): boolean {
  const most = type === TensorType.F32 || type === TensorType.BF16 ? 3.3e38 : largestHalf
  for (let at = 0; at < values.length; at++) if (!(Math.abs(values[at] as number) <= most)) return false
  return true
}
