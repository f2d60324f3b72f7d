import { OrielError } from '../errors.ts'
import type { Ggml, Gguf } from '../native/index.ts'

/** Typed reading of a GGUF's key/value pairs. A getter without `fallback` throws when the key is not there. */
export interface Metadata {
  string(key: string, fallback?: string): string
  number(key: string, fallback?: number): number
  boolean(key: string, fallback: boolean): boolean
  floats(key: string): Float32Array
}

/** gguf's numbers for value types (`enum gguf_type`). */
const types = { u32: 4, f32: 6, bool: 7, string: 8, array: 9 } as const

/** @throws OrielError `invalid` (in the getters) for a missing key or one of another type */
export function readMetadata(ggml: Ggml, gguf: Gguf): Metadata {
  const find = <T>(key: string, type: number, read: (index: number) => T, fallback: T | undefined): T => {
    const index = Number(ggml.findKey(gguf, key))
    if (index < 0) {
      if (fallback !== undefined) return fallback
      throw new OrielError('invalid', `The vision file lacks ${key}.`, { code: 'bad_model' })
    }
    if (ggml.keyType(gguf, index) !== type)
      throw new OrielError('invalid', `The vision file's ${key} is of another type than it should be.`, {
        code: 'bad_model',
      })
    return read(index)
  }
  return {
    string: (key, fallback) => find(key, types.string, (index) => ggml.valueString(gguf, index), fallback),
    number: (key, fallback) => {
      const index = Number(ggml.findKey(gguf, key))
      const isFloat = index >= 0 && ggml.keyType(gguf, index) === types.f32
      return isFloat
        ? find(key, types.f32, (at) => ggml.valueF32(gguf, at), fallback)
        : find(key, types.u32, (at) => ggml.valueU32(gguf, at), fallback)
    },
    boolean: (key, fallback) => find(key, types.bool, (index) => ggml.valueBool(gguf, index), fallback),
    floats: (key) => find(key, types.array, (index) => ggml.valueFloats(gguf, index), undefined),
  }
}
