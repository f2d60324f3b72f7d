/**
 * Encodes ONNX models: a model is a protobuf message, of which only the few fields below are needed.
 * Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 */
export class OnnxModel {
  /** Fields of the graph: nodes, constants, inputs and outputs. */
  readonly #fields: Buffer[] = []
  #names = 0
  readonly #constants = new Map<string, Constant>()

  /** @returns the name of the node's output */
  node(type: string, inputs: readonly string[], attributes: Attributes = {}, domain = ''): string {
    const [output] = this.nodes(type, inputs, ['out'], attributes, domain)
    return output
  }

  /** A node with several outputs. @param outputs what each is, in order @returns their names */
  nodes<const Outputs extends readonly string[]>(
    type: string,
    inputs: readonly string[],
    outputs: Outputs,
    attributes: Attributes = {},
    domain = '',
  ): { [At in keyof Outputs]: string } {
    const names = outputs.map(() => `n${this.#names++}`)
    const given = Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value)))
    const edges = [...inputs.map((name) => text(1, name)), ...names.map((name) => text(2, name))]
    this.#fields.push(bytes(1, message(...edges, text(4, type), ...given, text(7, domain))))
    return names as { [At in keyof Outputs]: string }
  }

  /**
   * A constant, once for each name.
   * @param name says how the numbers come about: equal names of models of one vision file stand for equal numbers
   * @param pieces makes the bytes, in order. They are wanted only while the model has no file of them
   * @returns the name
   */
  constant(name: string, type: ElementType, shape: readonly number[], pieces: () => Iterable<ArrayBufferView>): string {
    const bytes = shape.reduce((product, size) => product * size, widths[type])
    if (!this.#constants.has(name)) this.#constants.set(name, { name, type, shape, bytes, pieces })
    return name
  }

  /** The constants whose numbers are outside of the model: a message is limited to 2 GB. */
  get outside(): Constant[] {
    return [...this.#constants.values()].filter(({ bytes }) => bytes > mostInside)
  }

  /** @param shape a size, or a name for a size that each run chooses */
  input(name: string, type: ElementType, shape: readonly (number | string)[]): string {
    this.#fields.push(bytes(11, valueInfo(name, type, shape)))
    return name
  }

  output(name: string, type: ElementType, shape: readonly (number | string)[]): void {
    this.#fields.push(bytes(12, valueInfo(name, type, shape)))
  }

  /** @param placeOf where the numbers of a constant `outside` are */
  encode(placeOf: (constant: Constant) => Place): Buffer {
    const constants = [...this.#constants.values()].map((constant) => {
      const { name, type, shape } = constant
      const content = constant.bytes > mostInside ? placed(placeOf(constant)) : [bytes(9, wholeOf(constant))]
      const sizes = shape.map((size) => integer(1, size))
      return bytes(5, message(...sizes, integer(2, types[type]), text(8, name), ...content))
    })
    const graph = Buffer.concat([text(2, 'vision'), ...this.#fields, ...constants])
    const operators = (domain: string, version: number) => bytes(8, message(text(1, domain), integer(2, version)))
    return message(integer(1, 8), bytes(7, graph), operators('', 17), operators(contrib, 1))
  }
}

/** The numbers of a model that do not depend on its input. */
export interface Constant {
  readonly name: string
  readonly type: ElementType
  readonly shape: readonly number[]
  readonly bytes: number
  /** Each piece is read before the next one is made. */
  readonly pieces: () => Iterable<ArrayBufferView>
}

/** Bytes of a file. */
export interface Place {
  /** Relative to the model's folder. */
  file: string
  at: number
}

/** All bytes of a constant. */
export function wholeOf({ bytes, pieces }: Constant): Buffer {
  const whole = Buffer.alloc(bytes)
  let at = 0
  for (const { buffer, byteOffset, byteLength } of pieces()) {
    whole.set(new Uint8Array(buffer, byteOffset, byteLength), at)
    at += byteLength
  }
  return whole
}

/** The domain of Microsoft's own operators, which every build of ONNX Runtime has. */
export const contrib = 'com.microsoft'

/** The largest constant, in bytes, that is stored in the model itself. */
const mostInside = 1024

export type ElementType = keyof typeof types
const types = { f32: 1, u8: 2, i8: 3, i64: 7 } as const
/** Bytes of an element. */
const widths: Readonly<Record<ElementType, number>> = { f32: 4, u8: 1, i8: 1, i64: 8 }

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

const placed = ({ file, at }: Place): Buffer[] => [
  bytes(13, message(text(1, 'location'), text(2, file))),
  bytes(13, message(text(1, 'offset'), text(2, String(at)))),
  integer(14, 1),
]

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
