import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { headerOf, typeNumber } from '../../src/gguf/index.ts'
import { openNative } from '../../src/native/index.ts'
import { type MergedType, merge } from '../../src/tuning/index.ts'
import { type TensorPlan, writeGguf } from '../support/gguf-file.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-merge-'))
afterAll(() => rmSync(folder, { recursive: true }))
const at = (name: string): string => path.join(folder, name)

const [rank, alpha, tokens] = [6, 9, 100]

/** A model in two files. */
const parts: readonly TensorPlan[][] = [
  [
    { name: 'token_embd.weight', shape: [64, tokens], fill: { half: 0.3 } },
    { name: 'blk.0.attn_norm.weight', shape: [64], fill: { exact: 1 } },
    { name: 'blk.0.attn_q.weight', shape: [64, 32], fill: { deviation: 0.3 } },
  ],
  [
    { name: 'blk.0.ffn_gate_exps.weight', shape: [64, 8, 3], fill: { exact: 0.3 } },
    { name: 'output.weight', shape: [64, tokens], fill: { exact: 0.3 } },
  ],
]

const halves: readonly TensorPlan[] = [
  { name: 'blk.0.attn_q.weight.lora_a', shape: [64, rank], fill: { exact: 0.3 } },
  { name: 'blk.0.attn_q.weight.lora_b', shape: [rank, 32], fill: { half: 0.3 } },
  { name: 'blk.0.ffn_gate_exps.weight.lora_a', shape: [64, rank, 3], fill: { exact: 0.3 } },
  { name: 'blk.0.ffn_gate_exps.weight.lora_b', shape: [rank, 8, 3], fill: { exact: 0.3 } },
  { name: 'token_embd.weight.lora_a', shape: [rank, tokens], fill: { exact: 0.3 } },
  { name: 'token_embd.weight.lora_b', shape: [rank, 64], fill: { exact: 0.3 } },
]

const decoder = at('base-00001-of-00002.gguf')
for (const [index, tensors] of parts.entries())
  writeGguf(
    at(`base-0000${index + 1}-of-00002.gguf`),
    {
      'general.architecture': { string: 'llama' },
      'general.alignment': { u32: 32 },
      'general.file_type': { u32: 7 },
      'split.no': { u16: index },
      'split.count': { u16: 2 },
      'tokenizer.ggml.tokens': { strings: ['a', 'b'] },
    },
    tensors,
    index + 1,
  )
const adapter = { id: 'mine', decoder: at('mine.gguf'), vision: null, invocation: [] }
writeGguf(adapter.decoder, { 'adapter.lora.alpha': { f32: alpha } }, halves, 7)

async function floatsIn(file: string, name: string): Promise<{ values: Float32Array; type: string }> {
  const found = (await headerOf(file)).tensors.find((tensor) => tensor.name === name)
  if (found === undefined) throw new Error(`no ${name}`)
  const { type, shape, at, bytes } = found
  const raw = new Uint8Array(readFileSync(file).subarray(at, at + bytes))
  const count = shape.reduce((product, size) => product * size, 1)
  return { values: openNative().ggml.floatsOf(typeNumber(type), raw, count), type }
}

/** `W + alpha / rank * B * A`, number by number. */
async function expected(part: number, name: string, columns: number, rows: number): Promise<Float32Array> {
  const { values } = await floatsIn(at(`base-0000${part}-of-00002.gguf`), name)
  const [a, b] = [await floatsIn(adapter.decoder, `${name}.lora_a`), await floatsIn(adapter.decoder, `${name}.lora_b`)]
  return values.map((value, index) => {
    const [expert, row, column] = [
      Math.floor(index / (columns * rows)),
      Math.floor(index / columns) % rows,
      index % columns,
    ]
    let sum = value
    for (let term = 0; term < rank; term++)
      sum +=
        (alpha / rank) *
        (name === 'token_embd.weight'
          ? (a.values[row * rank + term] ?? 0) * (b.values[column * rank + term] ?? 0)
          : (a.values[(expert * rank + term) * columns + column] ?? 0) *
            (b.values[(expert * rows + row) * rank + term] ?? 0))
    return sum
  })
}

const merged = (name: string, type: MergedType | null = null, over: Partial<typeof adapter> = {}) =>
  merge({ base: { decoder, projector: null }, adapter: { ...adapter, ...over } }, at(name), {
    type,
    signal: new AbortController().signal,
    onProgress() {},
  })

const largest = (values: Float32Array, others: Float32Array): number =>
  values.reduce((most, value, index) => Math.max(most, Math.abs(value - (others[index] ?? Number.NaN))), 0)

describe('a merged file', () => {
  it('has the products of the adapter in the matrices, in their types, and all else as it was', async () => {
    const { files, matrices } = await merged('as-it-was.gguf')
    expect(matrices).toBe(3)
    expect(files).toEqual([{ path: at('as-it-was.gguf'), bytes: (await headerOf(at('as-it-was.gguf'))).fileBytes }])
    const { metadata } = await headerOf(at('as-it-was.gguf'))
    expect(Object.fromEntries(metadata)).toEqual({
      'general.architecture': 'llama',
      'general.file_type': 7,
      'tokenizer.ggml.tokens': { length: 2 },
    })
    for (const [part, name, columns, rows, type, error] of [
      [1, 'token_embd.weight', 64, tokens, 'F16', 1e-3],
      [1, 'blk.0.attn_q.weight', 64, 32, 'Q8_0', 0.02],
      [2, 'blk.0.ffn_gate_exps.weight', 64, 8, 'F32', 1e-6],
    ] as const) {
      const found = await floatsIn(at('as-it-was.gguf'), name)
      expect(found.type).toBe(type)
      expect(largest(found.values, await expected(part, name, columns, rows))).toBeLessThan(error)
    }
    for (const [part, name] of [
      [1, 'blk.0.attn_norm.weight'],
      [2, 'output.weight'],
    ] as const)
      expect(await floatsIn(at('as-it-was.gguf'), name)).toEqual(
        await floatsIn(at(`base-0000${part}-of-00002.gguf`), name),
      )
  })

  it('has what the adapter changes in another type, if that is wanted', async () => {
    await merged('floats.gguf', 'f32')
    const { metadata, tensors } = await headerOf(at('floats.gguf'))
    expect(Object.fromEntries(tensors.map(({ name, type }) => [name, type]))).toEqual({
      'token_embd.weight': 'F32',
      'blk.0.attn_norm.weight': 'F32',
      'blk.0.attn_q.weight': 'F32',
      'blk.0.ffn_gate_exps.weight': 'F32',
      'output.weight': 'F32',
    })
    expect(metadata.get('general.file_type')).toBe(0)
    const { values } = await floatsIn(at('floats.gguf'), 'blk.0.attn_q.weight')
    expect(largest(values, await expected(1, 'blk.0.attn_q.weight', 64, 32))).toBeLessThan(1e-6)
  })

  it('never replaces a file, and nothing is left of one that failed', async () => {
    writeFileSync(at('there.gguf'), 'mine')
    await expect(merged('there.gguf')).rejects.toThrow(/There is a file .* already/)
    expect(readFileSync(at('there.gguf'), 'utf8')).toBe('mine')
    writeGguf(at('infinite.gguf'), { 'adapter.lora.alpha': { f32: 1e38 } }, halves, 7)
    await expect(merged('broken.gguf', null, { decoder: at('infinite.gguf') })).rejects.toThrow(/too large/)
    const stop = new AbortController()
    const reason = new OrielError('cancelled', 'Stopped.')
    const stopped = merge({ base: { decoder, projector: null }, adapter }, at('stopped.gguf'), {
      type: null,
      signal: stop.signal,
      onProgress: () => stop.abort(reason),
    })
    await expect(stopped).rejects.toBe(reason)
    expect(readdirSync(folder).filter((name) => /broken|stopped/.test(name))).toEqual([])
  })

  it('cannot be of an adapter that works behind certain tokens only', async () => {
    await expect(merged('some.gguf', null, { invocation: [1, 2] as never })).rejects.toThrow(/cannot be merged/)
  })
})
