import { OrielError } from '../errors.ts'
import type { Context, Ggml, Gguf, Tensor } from '../native/index.ts'

/** Typed reading of a GGUF's key/value pairs. A getter without `fallback` throws when the key is not there. */
export interface Metadata {
  string(key: string, fallback?: string): string
  number(key: string, fallback?: number): number
  boolean(key: string, fallback: boolean): boolean
  floats(key: string): Float32Array
  /** Whole numbers; none where there is no such key. */
  integers(key: string): readonly number[]
  /** A tensor's shape, as `Weights.tensor` tells it; null if there is none. */
  tensor(name: string): { rows: number; columns: number } | null
}

/** A tensor as a matrix, whatever shape the file gives it: its last axis, ggml's slowest, counts its outputs; a vector is one row. */
export function matrixShape(ggml: Ggml, tensor: Tensor): { rows: number; columns: number } {
  const rows = Number(ggml.outerCount(tensor))
  return { rows, columns: Number(ggml.elementCount(tensor)) / rows }
}

/** gguf's numbers for value types (`enum gguf_type`). */
const types = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const

/** @throws OrielError `invalid` (in the getters) for a missing key or one of another type */
export function readMetadata(ggml: Ggml, gguf: Gguf, context: Context): Metadata {
  const find = <T>(key: string, type: number, read: (index: number) => T, fallback: T | undefined): T => {
    const index = Number(ggml.findKey(gguf, key))
    if (index < 0) {
      if (fallback !== undefined) return fallback
      throw new OrielError('invalid', `The vision file lacks ${key}.`, { code: 'bad_model' })
    }
    if (ggml.keyType(gguf, index) !== type) throw anotherType(key)
    return read(index)
  }
  const findArray = <T>(key: string, elements: readonly number[], read: (index: number) => T, fallback?: T): T =>
    find(
      key,
      types.array,
      (index) => {
        if (!elements.includes(ggml.elementType(gguf, index))) throw anotherType(key)
        return read(index)
      },
      fallback,
    )
  return {
    string: (key, fallback) => find(key, types.string, (index) => ggml.valueString(gguf, index), fallback),
    number: (key, fallback) => {
      const index = Number(ggml.findKey(gguf, key))
      const type = index < 0 ? types.u32 : ggml.keyType(gguf, index)
      if (type === types.f32) return find(key, type, (at) => ggml.valueF32(gguf, at), fallback)
      if (type === types.i32) return find(key, type, (at) => ggml.valueI32(gguf, at), fallback)
      return find(key, types.u32, (at) => ggml.valueU32(gguf, at), fallback)
    },
    boolean: (key, fallback) => find(key, types.bool, (index) => ggml.valueBool(gguf, index), fallback),
    floats: (key) => findArray(key, [types.f32], (index) => ggml.valueFloats(gguf, index)),
    integers: (key) => findArray(key, [types.i32, types.u32], (index) => [...ggml.valueIntegers(gguf, index)], []),
    tensor: (name) => {
      const tensor = ggml.findTensor(context, name)
      return tensor === null ? null : matrixShape(ggml, tensor)
    },
  }
}

const anotherType = (key: string): OrielError =>
  new OrielError('invalid', `The vision file's ${key} is of another type than it should be.`, { code: 'bad_model' })
