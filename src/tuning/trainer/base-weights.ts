import { closeSync, openSync } from 'node:fs'
import { badModel, outOfMemory } from '../../errors.ts'
import { type Ggml, type Tensor, TensorType } from '../../native/index.ts'
import { readAt } from '../../read-at.ts'
import type { Computer } from './computer.ts'
import type { Frozen } from './tape.ts'

/** The weights of the base model, which training does not change. */
export interface BaseWeights {
  matrix(name: string): Frozen
  /** A vector; null if there is none of this name. */
  vector(name: string): Tensor | null
  /** @param into `[width]`: the embedding of a token */
  embed(token: number, into: Float32Array): void
}

/** Weights in memory. */
export interface HeldWeights extends BaseWeights {
  readonly bytes: number
  /** Reads them from the file. */
  fill(): void
  free(): void
}

/**
 * How matrices are held, both as they are and turned. `exact`: as 32-bit floats. `rounded`: in 8 bits with a scale for each 32
 * of them; what goes into a product is rounded so too, as it is when such a model answers. That is three times as fast.
 */
export type Precision = 'exact' | 'rounded'

interface Place {
  readonly name: string
  /** As the file has it. */
  readonly found: Tensor
  readonly rows: number
  readonly columns: number
  readonly at: number
  readonly bytes: number
  /** Element types of what is held. */
  readonly types: { readonly held: number; readonly turned: number }
  readonly held: Tensor
  readonly turned: Tensor | null
}

const embeddings = 'token_embd.weight'
/** Numbers in a block of Q8_0. */
const block = 32
/** Numbers of a strip of rows that is turned at once. */
const stripNumbers = 1 << 22

/** Vectors, and matrices whose rows are no whole blocks, are not rounded so. */
const typeOf = (precision: Precision, rows: number, columns: number): number =>
  precision === 'exact' || rows === 1 ? TensorType.F32 : columns % block === 0 ? TensorType.Q8_0 : TensorType.F16

/** Memory is taken, and nothing is read yet: pages that are not written take none. */
export function placeWeights({ ggml, cpu }: Computer, file: string, precision: Precision): HeldWeights {
  const opened = ggml.openGguf(file)
  if (opened === null) throw badModel('The decoder is not a valid GGUF file.')
  const { gguf } = opened
  const start = ggml.dataOffset(gguf)
  const count = ggml.tensorCount(gguf)
  const context = ggml.init(2 * count)
  const places = new Map<string, Place>()
  const isTied = ggml.findTensor(opened.context, 'output.weight') === null
  for (let index = 0; index < count; index++) {
    const name = ggml.tensorName(gguf, index)
    const found = ggml.findTensor(opened.context, name)
    if (found === null) throw badModel(`The decoder has no tensor ${name}.`)
    const rows = ggml.outerCount(found)
    const columns = Number(ggml.elementCount(found)) / rows
    const isMatrix = rows > 1
    const isMultiplied = isMatrix && (isTied || name !== embeddings)
    const types = { held: typeOf(precision, rows, columns), turned: typeOf(precision, columns, rows) }
    places.set(name, {
      ...{ name, found, rows, columns },
      at: Number(start) + Number(ggml.tensorOffset(gguf, index)),
      bytes: ggml.tensorBytes(found),
      types,
      held: ggml.newTensor4d(context, types.held, columns, rows, 1, 1),
      turned: isMultiplied ? ggml.newTensor4d(context, types.turned, rows, columns, 1, 1) : null,
    })
  }
  ggml.freeGguf(gguf)
  const buffer = ggml.allocContextTensors(context, cpu)
  const free = (): void => {
    if (buffer !== null) ggml.freeBuffer(buffer)
    ggml.free(context)
    ggml.free(opened.context)
  }
  if (buffer === null) {
    free()
    throw outOfMemory('There is not enough memory for the weights of the base model.')
  }
  return {
    ...weightsIn(ggml, places, isTied),
    bytes: [...places.values()].reduce(
      (sum, { held, turned }) => sum + ggml.tensorBytes(held) + (turned === null ? 0 : ggml.tensorBytes(turned)),
      0,
    ),
    free,
    fill: () => fillFrom(file, ggml, places),
  }
}

function weightsIn(ggml: Ggml, places: ReadonlyMap<string, Place>, isTied: boolean): BaseWeights {
  const find = (name: string): Place => {
    const place = places.get(name)
    if (place === undefined) throw badModel(`The decoder has no tensor ${name}.`)
    return place
  }
  const { held, rows, columns } = find(embeddings)
  const rowBytes = ggml.tensorBytes(held) / rows
  const raw = new Uint8Array(rowBytes)
  return {
    matrix(name: string): Frozen {
      const { held, turned, rows } = find(isTied && name === 'output.weight' ? embeddings : name)
      if (turned === null) throw new Error(`${name} is not held for products`)
      return { matrix: held, turned, outputs: rows }
    },
    vector: (name: string): Tensor | null => places.get(name)?.held ?? null,
    embed(token: number, into: Float32Array): void {
      if (token < 0 || token >= rows) throw badModel(`A token has the id ${token}; the model has ${rows} tokens.`)
      ggml.getTensor(held, raw, token * rowBytes, rowBytes)
      into.set(ggml.convert(held, raw, columns))
    },
  }
}

function fillFrom(file: string, ggml: Ggml, places: ReadonlyMap<string, Place>): void {
  const descriptor = openSync(file, 'r')
  try {
    for (const place of places.values()) fill(descriptor, ggml, place)
  } finally {
    closeSync(descriptor)
  }
}

function fill(descriptor: number, ggml: Ggml, place: Place): void {
  const { found, held, turned, types, rows, columns, at, bytes, name } = place
  const rowBytes = bytes / rows
  const heldRow = ggml.tensorBytes(held) / rows
  // Strips of a turned matrix begin at whole blocks.
  const most = Math.max(block, Math.floor(stripNumbers / columns / block) * block)
  for (let from = 0; from < rows; from += most) {
    const count = Math.min(most, rows - from)
    const raw = readAt(descriptor, new Uint8Array(count * rowBytes), at + from * rowBytes, () =>
      badModel(`The decoder's file is truncated: the tensor ${name} is incomplete.`),
    )
    const values = ggml.convert(found, raw, count * columns)
    const own = packed(ggml, types.held, values, count, columns, count * heldRow)
    ggml.setTensor(held, own, from * heldRow, own.length)
    if (turned !== null)
      writeStrip(ggml, turned, types.turned, turnedOf(values, count, columns), { from, count, rows, columns })
  }
}

/** Rows of floats in another type. */
function packed(ggml: Ggml, type: number, values: Float32Array, rows: number, columns: number, bytes: number) {
  if (type === TensorType.F32) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  const into = new Uint8Array(bytes)
  ggml.quantize(type, values, rows, columns, into)
  return into
}

interface Strip {
  readonly from: number
  readonly count: number
  readonly rows: number
  readonly columns: number
}

/** Writes `[columns, count]` into a part of each row of the turned `[columns, rows]`. */
function writeStrip(ggml: Ggml, turned: Tensor, type: number, values: Float32Array, strip: Strip): void {
  const { from, count, rows, columns } = strip
  const rowBytes = ggml.tensorBytes(turned) / columns
  const bytesOf = (numbers: number): number => (numbers * rowBytes) / rows
  const bytes = packed(ggml, type, values, columns, count, columns * bytesOf(count))
  if (count === rows) ggml.setTensor(turned, bytes, 0, bytes.length)
  else
    for (let column = 0; column < columns; column++) {
      const part = bytes.subarray(column * bytesOf(count), (column + 1) * bytesOf(count))
      ggml.setTensor(turned, part, column * rowBytes + bytesOf(from), part.length)
    }
}

/** `[rows, columns]` -> `[columns, rows]`, in squares that fit in the caches of a core. */
function turnedOf(values: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(values.length)
  const edge = 32
  for (let top = 0; top < rows; top += edge)
    for (let left = 0; left < columns; left += edge) {
      const [bottom, right] = [Math.min(rows, top + edge), Math.min(columns, left + edge)]
      for (let column = left; column < right; column++)
        for (let row = top; row < bottom; row++) result[column * rows + row] = values[row * columns + column] ?? 0
    }
  return result
}
