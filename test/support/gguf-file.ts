import { closeSync, openSync, writeSync } from 'node:fs'

/** A metadata value, by its GGUF type. */
export type Value =
  | { string: string }
  | { u16: number }
  | { u32: number }
  | { u32s: readonly number[] }
  | { i32: number | readonly number[] }
  | { f32: number | readonly number[] }
  | { bool: boolean }
  | { strings: readonly string[] }

/** A tensor of random or equal numbers. As in ggml, the fastest axis of the shape comes first. */
export interface TensorPlan {
  name: string
  shape: readonly number[]
  /** Q8_0, f32 or f16 with this standard deviation, or f32 with one value. */
  fill: { deviation: number; smallRows?: number } | { exact: number } | { half: number } | { constant: number }
}

/**
 * Writes a GGUF file with random weights. Equal seeds give equal files.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function writeGguf(
  file: string,
  metadata: Readonly<Record<string, Value>>,
  tensors: readonly TensorPlan[],
  seed: number,
): void {
  const header = new Header()
  header.raw('GGUF').u32(3).u64(tensors.length).u64(Object.keys(metadata).length)
  for (const [key, value] of Object.entries(metadata)) header.string(key).value(value)
  let offset = 0
  for (const { name, shape, fill } of tensors) {
    header.string(name).u32(shape.length)
    for (const size of shape) header.u64(size)
    header.u32(typeOf(fill)).u64(offset)
    offset += align(bytesOf(shape, fill))
  }
  const out = openSync(file, 'w')
  const write = (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; ) at += writeSync(out, bytes, at)
    writeSync(out, new Uint8Array(align(bytes.length) - bytes.length))
  }
  write(header.bytes())
  const random = randomWords(seed)
  for (const { shape, fill } of tensors)
    write(
      'deviation' in fill
        ? noise(shape, fill, random)
        : 'constant' in fill
          ? equal(shape, fill.constant)
          : 'half' in fill
            ? halfNoise(shape, fill.half, random)
            : new Uint8Array(exactNoise(shape, fill.exact, random).buffer),
    )
  closeSync(out)
}

/** ggml's numbers for element types. */
const types = { f32: 0, f16: 1, q8_0: 8 } as const

const typeOf = (fill: TensorPlan['fill']): number =>
  'deviation' in fill ? types.q8_0 : 'half' in fill ? types.f16 : types.f32

/** A block of Q8_0: a scale in 16 bits and 32 numbers of 8. */
const block = { numbers: 32, bytes: 34 }
/** Tensors are aligned to 32 bytes. */
const align = (bytes: number): number => Math.ceil(bytes / 32) * 32

const count = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)

const bytesOf = (shape: readonly number[], fill: TensorPlan['fill']): number =>
  'deviation' in fill ? (count(shape) / block.numbers) * block.bytes : count(shape) * ('half' in fill ? 2 : 4)

const equal = (shape: readonly number[], constant: number): Uint8Array =>
  new Uint8Array(new Float32Array(count(shape)).fill(constant).buffer)

function exactNoise(shape: readonly number[], deviation: number, random: (into: Uint32Array) => void): Float32Array {
  const words = new Uint32Array(count(shape))
  random(words)
  const range = deviation * Math.sqrt(12)
  return Float32Array.from(words, (word) => (word / 2 ** 32 - 0.5) * range)
}

/** Numbers below 1 as 16-bit floats, of which a file may have hundreds of millions: they are looked up. */
function halfNoise(shape: readonly number[], deviation: number, random: (into: Uint32Array) => void): Uint8Array {
  const range = deviation * Math.sqrt(12)
  const bits = Uint16Array.from({ length: 65536 }, (_, word) => {
    const value = ((word + 0.5) / 65536 - 0.5) * range
    return half(Math.abs(value)) + (value < 0 ? 0x8000 : 0)
  })
  const words = new Uint32Array(count(shape))
  random(words)
  const out = new Uint16Array(words.length)
  for (let at = 0; at < out.length; at++) out[at] = bits[(words[at] as number) >>> 16] as number
  return new Uint8Array(out.buffer)
}

/** Standard deviation of the 8-bit integers, all equally likely. */
const spread = 256 / Math.sqrt(12)

function noise(
  shape: readonly number[],
  { deviation, smallRows = 0 }: { deviation: number; smallRows?: number },
  random: (into: Uint32Array) => void,
): Uint8Array {
  const bytes = Buffer.alloc(bytesOf(shape, { deviation }))
  // Each block begins with its scale, which overwrites two random bytes.
  const words = new Uint32Array(Math.ceil(bytes.length / 4))
  random(words)
  bytes.set(new Uint8Array(words.buffer, 0, bytes.length))
  const blocksPerRow = (shape[0] ?? 0) / block.numbers
  const [scale, small] = [half(deviation / spread), half(deviation / spread / 8)]
  for (let index = 0; index * block.bytes < bytes.length; index++)
    bytes.writeUInt16LE(index < smallRows * blocksPerRow ? small : scale, index * block.bytes)
  return bytes
}

/** Bits of a number from 0 to 1 as a 16-bit float. */
function half(value: number): number {
  const exponent = Math.floor(Math.log2(value))
  if (exponent < -14) return Math.round(value * 2 ** 24)
  return ((exponent + 15) << 10) + Math.round((value / 2 ** exponent - 1) * 1024)
}

/** Xorshift, which is fast. */
function randomWords(seed: number): (into: Uint32Array) => void {
  let state = seed >>> 0 || 1
  return (into) => {
    for (let at = 0; at < into.length; at++) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      into[at] = state
    }
  }
}

class Header {
  readonly #parts: Buffer[] = []

  bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }

  raw(text: string): this {
    this.#parts.push(Buffer.from(text))
    return this
  }

  u32(value: number): this {
    return this.#number(4, (bytes) => bytes.writeUInt32LE(value))
  }

  u64(value: number): this {
    return this.#number(8, (bytes) => bytes.writeBigUInt64LE(BigInt(value)))
  }

  string(text: string): this {
    return this.u64(Buffer.byteLength(text)).raw(text)
  }

  value(value: Value): this {
    if ('string' in value) return this.u32(8).string(value.string)
    if ('u16' in value) return this.u32(2).#number(2, (bytes) => bytes.writeUInt16LE(value.u16))
    if ('u32' in value) return this.u32(4).u32(value.u32)
    if ('u32s' in value) return this.#array(4, value.u32s, (one) => this.u32(one))
    if ('bool' in value) return this.u32(7).#number(1, (bytes) => bytes.writeUInt8(value.bool ? 1 : 0))
    if ('i32' in value) {
      if (typeof value.i32 === 'number') return this.u32(5).#i32(value.i32)
      return this.#array(5, value.i32, (one) => this.#i32(one))
    }
    if ('strings' in value) return this.#array(8, value.strings, (one) => this.string(one))
    if (typeof value.f32 === 'number') return this.u32(6).#float(value.f32)
    return this.#array(6, value.f32, (one) => this.#float(one))
  }

  #array<T>(type: number, values: readonly T[], write: (value: T) => void): this {
    this.u32(9).u32(type).u64(values.length)
    for (const value of values) write(value)
    return this
  }

  #i32(value: number): this {
    return this.#number(4, (bytes) => bytes.writeInt32LE(value))
  }

  #float(value: number): this {
    return this.#number(4, (bytes) => bytes.writeFloatLE(value))
  }

  #number(length: number, write: (bytes: Buffer) => void): this {
    const bytes = Buffer.alloc(length)
    write(bytes)
    this.#parts.push(bytes)
    return this
  }
}
