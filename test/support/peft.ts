import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** A tensor of an adapter, as `adapter_model.safetensors` has it. */
export interface PeftTensor {
  name: string
  shape: readonly number[]
  type?: 'F32' | 'F16' | 'BF16'
  values?: Float32Array
}

/** Writes an adapter in the format of PEFT. Without values a tensor has those of `numbersOf`. */
export function writePeft(folder: string, tensors: readonly PeftTensor[], config: Record<string, unknown> = {}): void {
  mkdirSync(folder, { recursive: true })
  const written = { peft_type: 'LORA', r: 4, lora_alpha: 8, base_model_name_or_path: null, ...config }
  writeFileSync(path.join(folder, 'adapter_config.json'), JSON.stringify(written))
  writeFileSync(path.join(folder, 'adapter_model.safetensors'), safetensors(tensors))
}

/** The halves of a module. */
export const halvesOf = (module: string, inputs: number, outputs: number, rank = 4): PeftTensor[] => [
  { name: `base_model.model.${module}.lora_A.weight`, shape: [rank, inputs] },
  { name: `base_model.model.${module}.lora_B.weight`, shape: [outputs, rank] },
]

export function safetensors(tensors: readonly PeftTensor[]): Buffer {
  let at = 0
  const parts = tensors.map(({ name, shape, type = 'F32', values }) => {
    const bytes = encoded(
      values ??
        numbersOf(
          name,
          shape.reduce((product, size) => product * size, 1),
        ),
      type,
    )
    const entry = { dtype: type, shape, data_offsets: [at, at + bytes.length] }
    at += bytes.length
    return { name, entry, bytes }
  })
  const header = Buffer.from(JSON.stringify(Object.fromEntries(parts.map(({ name, entry }) => [name, entry]))))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([length, header, ...parts.map(({ bytes }) => bytes)])
}

/** Numbers that every type has exactly: the same formula is in test/models/peft/expected.py. */
export function numbersOf(name: string, count: number): Float32Array {
  const seed = [...name].reduce((sum, char, at) => sum + char.charCodeAt(0) * (at + 1), 0) % 65521
  return Float32Array.from({ length: count }, (_, at) => (((at * 40503 + seed * 2654435) % 251) - 125) / 128)
}

function encoded(values: Float32Array, type: 'F32' | 'F16' | 'BF16'): Buffer {
  if (type === 'F32') return Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  const bits = new Uint32Array(values.slice().buffer)
  const short = type === 'BF16' ? Uint16Array.from(bits, (bit) => bit >>> 16) : Uint16Array.from(bits, toHalf)
  return Buffer.from(short.buffer)
}

/** Of a number that a half has exactly. */
function toHalf(bits: number): number {
  const exponent = (bits >>> 23) & 255
  if (exponent === 0) return (bits >>> 16) & 0x8000
  return ((bits >>> 16) & 0x8000) | ((exponent - 112) << 10) | ((bits >>> 13) & 1023)
}
