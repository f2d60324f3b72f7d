import { badModel, unsupportedModel } from '../../errors.ts'
import { fileTypes, type GgufHeader, headerOf, paddingAfter, typeNumber } from '../../gguf/index.ts'
import { scaleOf } from '../../low-rank.ts'
import type { HeaderPlan } from './header.ts'
import type { Half, Piece } from './piece.ts'

/** What a merged file is to have. */
export interface MergedFile {
  /** Paths of the base's file, or of all parts of it. */
  readonly base: readonly string[]
  /** Path of the adapter's GGUF with `TENSOR.lora_a` and `.lora_b`; null: nothing is added. */
  readonly adapter: string | null
  /** Whether it is for encoders, whose matrices may have any shape: the last axis counts the rows. */
  readonly isVision: boolean
}

/** Types that the changed matrices may be wanted in, with the bytes of a number. */
const typeBytes = { f32: 4, f16: 2, bf16: 2 } as const
export type MergedType = keyof typeof typeBytes

export interface Layout {
  readonly header: HeaderPlan
  /** All bytes of the tensors, in pieces that are made independently, as if the file began with the first tensor. */
  readonly pieces: readonly Piece[]
  /** Bytes of the tensors. */
  readonly bytes: number
  /** Matrices that the adapter changes. */
  readonly matrices: number
}

/** Numbers of a piece at most, and the same in bytes of what is copied. */
const pieceNumbers = 1 << 21
const pieceBytes = 16 << 20

/**
 * Decides where everything of a merged file goes.
 * @param type of the matrices that the adapter changes; null: as the base has them
 * @throws OrielError `invalid` for a damaged file, and for a type that cannot be made
 */
export async function layOut({ base, adapter, isVision }: MergedFile, type: MergedType | null): Promise<Layout> {
  const headers = await Promise.all(base.map(headerOf))
  const added = adapter === null ? null : halvesIn(adapter, await headerOf(adapter))
  const types = new Map<string, string>()
  const pieces: Piece[] = []
  let at = 0
  for (const [part, { tensors }] of headers.entries())
    for (const tensor of tensors) {
      const source = base[part] ?? ''
      const addition = added?.get(tensor.name)
      const wanted = addition === undefined || type === null ? tensor.type : type.toUpperCase()
      if (addition !== undefined) checkType(tensor.name, wanted)
      types.set(tensor.name, wanted)
      const numberBytes = type === null ? tensor.bytes / product(tensor.shape) : typeBytes[type]
      const placed = { ...tensor, source, to: at, wanted, numberBytes }
      const own = addition === undefined ? copied(placed) : changed(placed, addition, isVision)
      pieces.push(...own)
      const bytes = own.reduce((sum, piece) => sum + piece.outBytes, 0)
      at += bytes + paddingAfter(bytes).length
    }
  return {
    header: {
      base: base.map((file, part) => ({
        file,
        tensors: (headers[part]?.tensors ?? []).map(({ name }) => ({ name, type: typeNumber(types.get(name) ?? '') })),
      })),
      fileType: type !== null && isMost(type, headers, types) ? fileTypeOf(type) : null,
    },
    pieces,
    bytes: at,
    matrices: added?.size ?? 0,
  }
}

/** Whether most numbers of a file are in this type. */
function isMost(type: MergedType, headers: readonly GgufHeader[], types: ReadonlyMap<string, string>): boolean {
  const all = headers.flatMap(({ tensors }) => tensors)
  const numbersOf = (some: typeof all): number => some.reduce((sum, { shape }) => sum + product(shape), 0)
  return 2 * numbersOf(all.filter(({ name }) => types.get(name) === type.toUpperCase())) > numbersOf(all)
}

function fileTypeOf(type: MergedType): number | null {
  const found = Object.entries(fileTypes).find(([, name]) => name === type.toUpperCase())
  return found === undefined ? null : Number(found[0])
}

/** The two halves of what is added to each matrix. */
interface Addition {
  readonly a: Half & { readonly shape: readonly number[] }
  readonly b: Half & { readonly shape: readonly number[] }
  readonly scale: number
}

function halvesIn(file: string, { metadata, tensors }: GgufHeader): Map<string, Addition> {
  const all = new Map(
    tensors.map(({ name, type, ...tensor }) => [name, { ...tensor, file, type: typeNumber(type) }] as const),
  )
  const additions = new Map<string, Addition>()
  for (const [name, b] of all) {
    if (!name.endsWith('.lora_b')) continue
    const matrix = name.slice(0, -'.lora_b'.length)
    const a = all.get(`${matrix}.lora_a`)
    if (a === undefined) throw badModel(`The adapter has one half only of ${matrix}.`)
    additions.set(matrix, { a, b, scale: scaleOf(metadata.get('adapter.lora.alpha'), b.shape[0] ?? 1) })
  }
  return additions
}

/**
 * Types that keep what an adapter adds. Those with fewer bits need importances that were measured for the original weights, or
 * are for models that were trained in them.
 */
const makable: readonly string[] = [
  ...['F32', 'F16', 'BF16', 'Q8_0', 'Q5_1', 'Q5_0', 'Q4_1', 'Q4_0', 'Q6_K', 'Q5_K', 'Q4_K', 'Q3_K', 'Q2_K'],
  ...['IQ4_NL', 'IQ4_XS', 'IQ3_S', 'IQ3_XXS', 'MXFP4'],
]

function checkType(matrix: string, type: string): void {
  if (!makable.includes(type))
    throw unsupportedModel(
      `${matrix} is in ${type}, which would lose what the adapter adds. --type f16 writes what it changes in 16 bits.`,
    )
}

interface Placed {
  readonly name: string
  readonly shape: readonly number[]
  readonly type: string
  readonly bytes: number
  readonly source: string
  readonly at: number
  /** Behind the header. */
  readonly to: number
  readonly wanted: string
  /** Of the wanted type. */
  readonly numberBytes: number
}

function copied({ source, at, to, bytes }: Placed): Piece[] {
  return Array.from({ length: Math.ceil(bytes / pieceBytes) }, (_, index) => {
    const from = index * pieceBytes
    const some = Math.min(pieceBytes, bytes - from)
    return { source, at: at + from, bytes: some, to: to + from, outBytes: some, matrix: null }
  })
}

/** A matrix, or one for each expert, some rows at a time. */
function changed(tensor: Placed, { a, b, scale }: Addition, isVision: boolean): Piece[] {
  const { name, shape, source } = tensor
  const [rank = 1] = b.shape
  // The first half of a table of tokens is turned: it has a row for each token.
  const isTurned = name === 'token_embd.weight'
  const [wide, long] = isTurned ? [b, a] : [a, b]
  const experts = isVision ? 1 : product(shape.slice(2))
  const rows = isVision ? (shape.findLast((size, axis) => size > 1 && axis > 0) ?? 1) : (shape[1] ?? 1)
  const columns = product(shape) / experts / rows
  const rowBytes = tensor.bytes / experts / rows
  const most = Math.max(1, Math.floor(pieceNumbers / columns))
  const pieces: Piece[] = []
  for (let expert = 0; expert < experts; expert++)
    for (let from = 0; from < rows; from += most) {
      const count = Math.min(most, rows - from)
      const first = expert * rows + from
      pieces.push({
        source,
        at: tensor.at + first * rowBytes,
        bytes: count * rowBytes,
        to: tensor.to + first * columns * tensor.numberBytes,
        outBytes: count * columns * tensor.numberBytes,
        matrix: {
          ...{ name, count, columns, rank, scale, isTurned },
          ...{ type: typeNumber(tensor.type), wanted: typeNumber(tensor.wanted) },
          a: sliceOf(wide, expert, 1, experts),
          b: sliceOf(long, first, count, experts * rows),
        },
      })
    }
  return pieces
}

/** Some of so many equal parts of a half. */
function sliceOf({ file, at, bytes, type }: Half, from: number, count: number, parts: number): Half {
  const each = bytes / parts
  return { file, at: at + from * each, bytes: count * each, type }
}

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1)
