import { badModel } from '../errors.ts'
import type { GgufHeader, MetadataValue } from './header.ts'

/**
 * Typed access to a GGUF header. A getter without a `fallback` throws if the key is absent, and every getter throws if
 * the value has another type: OrielError `invalid` with the code `bad_model`, which names the file and the key.
 */
export interface Metadata {
  string(key: string, fallback?: string): string
  number(key: string, fallback?: number): number
  boolean(key: string, fallback: boolean): boolean
  /** The numbers of an array; empty if there is no such key. */
  numbers(key: string): readonly number[]
  /** A number that holds for all layers, or an own one for each: of this layer. */
  ofLayer(key: string, layer: number, fallback?: number): number
  /** As `numbers`, for whole numbers. */
  integers(key: string): readonly number[]
  /** A tensor's shape as a matrix; null if there is no such tensor. */
  tensor(name: string): Matrix | null
  /** As `tensor`. @throws OrielError `invalid` if there is no such tensor */
  needTensor(name: string): Matrix
  readonly tensorNames: readonly string[]
}

/** Whatever shape the file gives a tensor: its last axis, ggml's slowest, counts the rows; a vector is one row. */
interface Matrix {
  rows: number
  columns: number
}

/** @param file its name, for messages */
export function metadataOf({ metadata, tensors }: GgufHeader, file: string): Metadata {
  const bad = (message: string) => badModel(`${file} ${message}.`)

  const get = <T>(key: string, read: (value: MetadataValue) => T | undefined, fallback: T | undefined): T => {
    const value = metadata.get(key)
    const found = value === undefined ? fallback : read(value)
    if (found === undefined) throw bad(value === undefined ? `has no ${key}` : `has a ${key} of the wrong type`)
    return found
  }

  const numbers = (key: string): readonly number[] =>
    get(key, (value) => (typeof value === 'object' ? value.numbers : undefined), [])

  const tensor = (name: string): Matrix | null => {
    const shape = tensors.find((one) => one.name === name)?.shape
    if (shape === undefined) return null
    const rows = shape.findLast((size, axis) => size > 1 && axis > 0) ?? 1
    return { rows, columns: shape.reduce((product, size) => product * size, 1) / rows }
  }

  return {
    string: (key, fallback) => get(key, (value) => (typeof value === 'string' ? value : undefined), fallback),
    number: (key, fallback) => get(key, (value) => (typeof value === 'number' ? value : undefined), fallback),
    boolean: (key, fallback) => get(key, (value) => (typeof value === 'boolean' ? value : undefined), fallback),
    numbers,
    ofLayer: (key, layer, fallback) =>
      get(
        key,
        (value) => (typeof value === 'number' ? value : typeof value === 'object' ? value.numbers?.[layer] : undefined),
        fallback,
      ),
    integers(key) {
      const found = numbers(key)
      if (!found.every(Number.isInteger)) throw bad(`has a ${key} of the wrong type`)
      return found
    },
    tensor,
    needTensor(name) {
      const found = tensor(name)
      if (found === null) throw bad(`has no tensor ${name}`)
      return found
    },
    tensorNames: tensors.map(({ name }) => name),
  }
}
