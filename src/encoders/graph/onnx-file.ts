/**
 * Encodes ONNX models: a model is a protobuf message, of which only the few fields below are needed.
 * Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 */
export class OnnxModel {
  /** Fields of the graph: nodes, constants, inputs and outputs. */
  readonly #fields: Buffer[] = []
  #names = 0
  /** The numbers of large constants, under names of files that do not exist: a message is limited to 2 GB. */
  readonly external: { path: string; data: Uint8Array }[] = []

  /** @returns the name of the node's output */
  node(type: string, inputs: readonly string[], attributes: Attributes = {}, domain = ''): string {
    const output = `n${this.#names++}`
    const given = Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value)))
    const names = inputs.map((name) => text(1, name))
    this.#fields.push(bytes(1, message(...names, text(2, output), text(4, type), ...given, text(7, domain))))
    return output
  }

  /** A constant. @returns its name */
  constant(type: ElementType, shape: readonly number[], data: ArrayBufferView): string {
    const name = `c${this.#names++}`
    const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    const outside = raw.length > mostInside
    if (outside) this.external.push({ path: name, data: raw })
    const content = outside ? [bytes(13, message(text(1, 'location'), text(2, name))), integer(14, 1)] : [bytes(9, raw)]
    const sizes = shape.map((size) => integer(1, size))
    this.#fields.push(bytes(5, message(...sizes, integer(2, types[type]), text(8, name), ...content)))
    return name
  }

  /** @param shape a size, or a name for a size that each run chooses */
  input(name: string, type: ElementType, shape: readonly (number | string)[]): string {
    this.#fields.push(bytes(11, valueInfo(name, type, shape)))
    return name
  }

  output(name: string, type: ElementType, shape: readonly (number | string)[]): void {
    this.#fields.push(bytes(12, valueInfo(name, type, shape)))
  }

  encode(): Buffer {
    const graph = Buffer.concat([text(2, 'vision'), ...this.#fields])
    const operators = (domain: string, version: number) => bytes(8, message(text(1, domain), integer(2, version)))
    return message(integer(1, 8), bytes(7, graph), operators('', 17), operators('com.microsoft', 1))
  }
}

/** The largest constant, in bytes, that is stored in the model itself. */
const mostInside = 1024

export type ElementType = keyof typeof types
const types = { f32: 1, i8: 3, i64: 7 } as const

type Attribute = number | { float: number } | readonly number[]
export type Attributes = Readonly<Record<string, Attribute>>

function attribute(name: string, value: Attribute): Buffer {
  if (typeof value === 'number') return message(text(1, name), integer(3, value), integer(20, 2))
  if ('float' in value) {
    const four = Buffer.alloc(4)
    four.writeFloatLE(value.float)
    return message(text(1, name), key(2, 5), four, integer(20, 1))
  }
  return message(text(1, name), ...value.map((item) => integer(8, item)), integer(20, 7))
}

function valueInfo(name: string, type: ElementType, shape: readonly (number | string)[]): Buffer {
  const sizes = shape.map((size) => bytes(1, typeof size === 'string' ? text(2, size) : integer(1, size)))
  const tensor = message(integer(1, types[type]), bytes(2, message(...sizes)))
  return message(text(1, name), bytes(2, bytes(1, tensor)))
}

const message = (...fields: Buffer[]): Buffer => Buffer.concat(fields)
const key = (field: number, wire: number): Buffer => varint((field << 3) | wire)
const integer = (field: number, value: number): Buffer => message(key(field, 0), varint(value))
const bytes = (field: number, value: Buffer): Buffer => message(key(field, 2), varint(value.length), value)
const text = (field: number, value: string): Buffer => bytes(field, Buffer.from(value))

/** Base 128, with the lowest seven bits first; negative numbers as 64 bits. */
function varint(value: number): Buffer {
  const out: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  do {
    const low = Number(rest & 127n)
    rest >>= 7n
    out.push(rest > 0n ? low | 128 : low)
  } while (rest > 0n)
  return Buffer.from(out)
}
