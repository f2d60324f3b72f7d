import { closeSync, openSync } from 'node:fs'
import { badModel } from '../../errors.ts'
import type { Rows } from '../../low-rank.ts'
import { type Context, type Ggml, type Tensor, TensorType } from '../../native/index.ts'
import { readAt } from '../../read-at.ts'
import type { FloatSource } from '../image-architecture.ts'
import type { Modality } from './source.ts'

/** The tensors of one half of a file (mmproj) on disk. Each is read when it is wanted. */
export interface TensorFile extends FloatSource {
  /** Their descriptions. */
  readonly context: Context
  readonly names: ReadonlySet<string>
  /** A tensor as a matrix `[rows, columns]`, whatever shape the file gives it. @throws OrielError `invalid` if there is none */
  shape(name: string): { rows: number; columns: number }
  /** @throws OrielError `invalid` if there is none */
  tensor(name: string): Tensor
  /** The rows of a matrix in order, some at a time. The next tile overwrites the values of the last. @throws OrielError `invalid` */
  tiles(name: string): Iterable<Rows>
  /** The bytes of a tensor in order, in the type of its description. The next piece overwrites the last. @throws OrielError `invalid` */
  pieces(name: string): Iterable<{ bytes: Uint8Array; at: number }>
  /** The descriptions stay. */
  close(): void
}

/** What an adapter (LoRA) adds to matrices of an encoder: to `W` the product `alpha / rank * B * A`. */
export interface Additions {
  /** The tensors that it adds to. */
  readonly names: ReadonlySet<string>
  /** Of such a tensor. */
  shape(name: string): { rows: number; columns: number }
  /** Adds to some rows of a tensor; nothing if the adapter has nothing for it. */
  addTo(name: string, rows: Rows): void
}

/** Bytes read from the file at a time. */
const pieceBytes = 16 << 20
/** Numbers of a tile: as bytes of 32-bit floats they fit into the caches of a core. */
const tileNumbers = 1 << 17

/** The names of the audio half. GLM-ASR has two embeddings with names of the other. */
const ofAudio = /^(a|mm\.a)\.|^v\.[be]oi$/
const ofVision = /^(?!a\.|mm\.a\.)/

/**
 * @param additions what an adapter adds to some matrices, which are in 32-bit floats then
 * @throws OrielError `invalid` if ggml cannot read the file
 */
export function openTensors(ggml: Ggml, file: string, modality: Modality, additions?: Additions): TensorFile {
  const opened = ggml.openGguf(file)
  if (opened === null) throw badModel('The vision file is not a valid GGUF file.')
  const { gguf } = opened
  const start = Number(ggml.dataOffset(gguf))
  const count = Number(ggml.tensorCount(gguf))
  // The memory of a context is that of all of its tensors, so the other half is left out.
  const context = ggml.init(count)
  const places = new Map<string, Place>()
  /** Of matrices that are added to, as the file has them. */
  const originals = ggml.init(count)
  for (let index = 0; index < count; index++) {
    const name = ggml.tensorName(gguf, index)
    const tensor = ggml.findTensor(opened.context, name)
    if (tensor === null || !(modality === 'audio' ? ofAudio : ofVision).test(name)) continue
    const at = start + Number(ggml.tensorOffset(gguf, index))
    const isAdded = additions?.names.has(name) ?? false
    const found = isAdded ? ggml.dupTensor(originals, tensor) : ggml.dupTensor(context, tensor)
    const rows = Number(ggml.outerCount(tensor))
    const columns = Number(ggml.elementCount(tensor)) / rows
    const inFloats = () => ggml.newTensor4d(context, TensorType.F32, columns, rows, 1, 1)
    const bytes = ggml.tensorBytes(found)
    places.set(name, { tensor: isAdded ? inFloats() : found, found, at, rows, columns, bytes })
  }
  ggml.freeGguf(gguf)
  ggml.free(opened.context)
  const descriptor = openSync(file, 'r')

  const find = (name: string) => {
    const place = places.get(name)
    if (place === undefined) throw badModel(`The vision file has no tensor ${name}.`)
    return place
  }

  function* pieces(name: string, most: number): Generator<{ bytes: Uint8Array; at: number }> {
    const { at: from, bytes } = find(name)
    const buffer = new Uint8Array(Math.min(most, bytes))
    for (let at = 0; at < bytes; at += buffer.length) {
      const piece = readAt(descriptor, buffer.subarray(0, Math.min(buffer.length, bytes - at)), from + at, () =>
        badModel(`The vision file is truncated: the tensor ${name} is incomplete.`),
      )
      yield { bytes: piece, at }
    }
  }

  function* tiles(name: string): Generator<Rows> {
    const { found, rows, columns, bytes } = find(name)
    const rowBytes = bytes / rows
    const most = Math.min(rows, Math.max(1, Math.floor(tileNumbers / columns)))
    const values = new Float32Array(most * columns)
    for (const piece of pieces(name, most * rowBytes)) {
      const count = piece.bytes.length / rowBytes
      const tile = {
        from: piece.at / rowBytes,
        count,
        values: ggml.convert(found, piece.bytes, count * columns, values),
      }
      additions?.addTo(name, tile)
      yield tile
    }
  }

  /** The bytes of what a matrix is with its addition. */
  function* added(name: string): Generator<{ bytes: Uint8Array; at: number }> {
    const { columns } = find(name)
    for (const { from, values } of tiles(name))
      yield { bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at: from * columns * 4 }
  }

  return {
    context,
    names: new Set(places.keys()),
    shape(name) {
      const { rows, columns } = find(name)
      return { rows, columns }
    },
    tensor: (name) => find(name).tensor,
    floats(name) {
      const { found, rows, columns, bytes } = find(name)
      const [whole] = pieces(name, bytes)
      const values = whole === undefined ? new Float32Array(0) : ggml.convert(found, whole.bytes, rows * columns)
      additions?.addTo(name, { from: 0, count: rows, values })
      return values
    },
    tiles,
    pieces: (name) => (additions?.names.has(name) ? added(name) : pieces(name, pieceBytes)),
    close() {
      closeSync(descriptor)
      ggml.free(originals)
    },
  }
}

interface Place {
  /** Its description. */
  readonly tensor: Tensor
  /** As the file has it: another one for a matrix that is added to, and not there any more when the file is closed. */
  readonly found: Tensor
  readonly at: number
  readonly rows: number
  readonly columns: number
  /** In the file. */
  readonly bytes: number
}
