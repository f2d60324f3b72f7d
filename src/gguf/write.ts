/** A metadata value to write, by its GGUF type. */
type WrittenValue = string | { f32: number } | { u32: readonly number[] }

/** A tensor of 32-bit floats to write. In ggml's order: the fastest axis comes first. */
export interface WrittenTensor {
  readonly name: string
  readonly shape: readonly number[]
}

/** Tensors begin at multiples of it, in bytes: what readers assume of files that do not say. */
const alignment = 32

/** Zeros behind so many bytes, up to where the next tensor begins. */
export const paddingAfter = (bytes: number): Uint8Array => new Uint8Array(-bytes & (alignment - 1))

export const bytesOf = ({ shape }: WrittenTensor): number => shape.reduce((product, size) => product * size, 4)

/** What precedes the tensors of a GGUF file, up to where the first begins. Each is followed by `paddingAfter` it. */
export function headerBytes(
  metadata: Readonly<Record<string, WrittenValue>>,
  tensors: readonly WrittenTensor[],
): Buffer {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(Object.keys(metadata).length)]
  for (const [key, value] of Object.entries(metadata)) parts.push(text(key), ...encoded(value))
  let at = 0
  for (const tensor of tensors) {
    const { name, shape } = tensor
    parts.push(text(name), u32(shape.length), ...shape.map(u64), u32(float32), u64(at))
    const bytes = bytesOf(tensor)
    at += bytes + paddingAfter(bytes).length
  }
  const header = Buffer.concat(parts)
  return Buffer.concat([header, paddingAfter(header.length)])
}

/** `GGML_TYPE_F32` */
const float32 = 0
/** `enum gguf_type` */
const types = { u32: 4, f32: 6, string: 8, array: 9 } as const

function encoded(value: WrittenValue): Buffer[] {
  if (typeof value === 'string') return [u32(types.string), text(value)]
  if ('f32' in value) return [u32(types.f32), f32(value.f32)]
  return [u32(types.array), u32(types.u32), u64(value.u32.length), ...value.u32.map(u32)]
}

function u32(value: number): Buffer {
  const four = Buffer.alloc(4)
  four.writeUInt32LE(value)
  return four
}

function f32(value: number): Buffer {
  const four = Buffer.alloc(4)
  four.writeFloatLE(value)
  return four
}

function u64(value: number): Buffer {
  const eight = Buffer.alloc(8)
  eight.writeBigUInt64LE(BigInt(value))
  return eight
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}
