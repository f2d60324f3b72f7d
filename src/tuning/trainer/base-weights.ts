import { closeSync, openSync, readSync } from 'node:fs'
import { badModel, outOfMemory } from '../../errors.ts'
import { type Ggml, type Tensor, TensorType } from '../../native/index.ts'
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
 * How matrices are held. `exact`: as 32-bit floats. `compact`: as the file has them, and turned in 8 bits; products round
 * what goes in to 8 bits too, as they do when the model answers.
 */
export type Precision = 'exact' | 'compact'

interface Place {
  readonly name: string
  /** As the file has it. */
  readonly found: Tensor
  readonly rows: number
  readonly columns: number
  readonly at: number
  readonly bytes: number
  held: Tensor
  turned: Tensor | null
}

const embeddings = 'token_embd.weight'
/** Numbers in a block of Q8_0. */
const block = 32
/** Numbers of a strip of rows that is turned at once. */
const stripNumbers = 1 << 22

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
    const inFloats = precision === 'exact' || !isMatrix
    const turnedType = precision === 'exact' ? TensorType.F32 : rows % block === 0 ? TensorType.Q8_0 : TensorType.F16
    places.set(name, {
      ...{ name, found, rows, columns },
      at: Number(start) + Number(ggml.tensorOffset(gguf, index)),
      bytes: ggml.tensorBytes(found),
      held: inFloats ? ggml.newTensor4d(context, TensorType.F32, columns, rows, 1, 1) : ggml.dupTensor(context, found),
      turned: isMultiplied ? ggml.newTensor4d(context, turnedType, rows, columns, 1, 1) : null,
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
    fill: () => fillFrom(file, ggml, places, precision),
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
      const { held, turned, rows, columns } = find(isTied && name === 'output.weight' ? embeddings : name)
      if (turned === null) throw new Error(`${name} is not held for products`)
      return { matrix: held, turned, inputs: columns, outputs: rows }
    },
    vector: (name: string): Tensor | null => places.get(name)?.held ?? null,
    embed(token: number, into: Float32Array): void {
      if (token < 0 || token >= rows) throw badModel(`A token has the id ${token}; the model has ${rows} tokens.`)
      ggml.getTensor(held, raw, token * rowBytes, rowBytes)
      into.set(ggml.convert(held, raw, columns))
    },
  }
}

function fillFrom(file: string, ggml: Ggml, places: ReadonlyMap<string, Place>, precision: Precision): void {
  const descriptor = openSync(file, 'r')
  try {
    for (const place of places.values()) fill(descriptor, ggml, place, precision)
  } finally {
    closeSync(descriptor)
  }
}

function fill(descriptor: number, ggml: Ggml, place: Place, precision: Precision): void {
  const { found, held, turned, rows, columns, at, bytes, name } = place
  const rowBytes = bytes / rows
  const inFloats = precision === 'exact' || rows === 1
  const isPacked = turned !== null && precision === 'compact' && rows % block === 0
  // Strips of a turned matrix begin at whole blocks.
  const most = Math.max(block, Math.floor(stripNumbers / columns / block) * block)
  const heldRow = ggml.tensorBytes(held) / rows
  for (let from = 0; from < rows; from += most) {
    const count = Math.min(most, rows - from)
    const raw = new Uint8Array(count * rowBytes)
    for (let got = 0; got < raw.length; ) {
      const read = readSync(descriptor, raw, got, raw.length - got, at + from * rowBytes + got)
      if (read === 0) throw badModel(`The decoder's file is truncated: the tensor ${name} is incomplete.`)
      got += read
    }
    const values = inFloats || turned !== null ? ggml.convert(found, raw, count * columns) : null
    const own = inFloats && values !== null ? values : raw
    ggml.setTensor(held, own, from * heldRow, count * heldRow)
    if (turned === null || values === null) continue
    const strip = turnedOf(values, count, columns)
    const type = precision === 'exact' ? TensorType.F32 : isPacked ? TensorType.Q8_0 : TensorType.F16
    writeStrip(ggml, turned, type, strip, { from, count, rows, columns })
  }
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
  const bytes = new Uint8Array(columns * bytesOf(count))
  if (type === TensorType.F32) bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  else ggml.quantize(type, values, columns, count, bytes)
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
