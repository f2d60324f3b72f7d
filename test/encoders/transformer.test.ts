import { expect, it } from 'vitest'
import type { GraphBuilder } from '../../src/encoders/graph/builder.ts'
import { clip } from '../../src/encoders/graph/clip.ts'
import { transformer } from '../../src/encoders/graph/transformer.ts'
import type { Metadata } from '../../src/gguf/metadata.ts'

/** Writes graphs as text. Every weight exists. */
const written = new Proxy({} as GraphBuilder<string>, {
  get:
    (_, word) =>
    (...given: unknown[]) => {
      if (word === 'has') return given[0] !== 'v.blk.0.attn_qkv.weight'
      return word === 'weight' ? String(given[0]) : `${String(word)}(${given.join(' ')})`
    },
})

const metadataWith = (flag: string | null, features: readonly number[] = []): Metadata => ({
  string: () => '',
  number: () => 8,
  boolean: (key) => key === flag,
  numbers: () => [],
  ofLayer: () => 1,
  integers: () => features,
  tensor: () => null,
  needTensor: () => ({ rows: 1, columns: 1 }),
  tensorNames: [],
})

it.each([
  ['clip.use_silu', 'swiglu(matmul(v.blk.0.ffn_gate'],
  ['clip.use_gelu', 'geglu(matmul(v.blk.0.ffn_gate'],
  [null, 'multiply(quickGelu(matmul(v.blk.0.ffn_gate'],
])('activates a gate as the file says: %s', (flag, expected) => {
  expect(transformer(metadataWith(flag)).layer(written, 'x', 0)).toContain(expected)
})

it('ignores features of negative numbers and reads the last layer but one', () => {
  const weightsOf = (features: readonly number[]): string[] => {
    const names: string[] = []
    const graph = new Proxy({} as GraphBuilder<string>, {
      get: (_, word) => (name: string) => {
        if (word === 'weight') names.push(name)
        return word === 'has' ? name !== 'v.blk.0.attn_qkv.weight' : 'x'
      },
    })
    clip(metadataWith(null, features)).build(graph, 'x')
    return names
  }
  expect(weightsOf([-2])).toEqual(weightsOf([]))
  expect(weightsOf([])).toContain('v.blk.6.ln1.weight')
})
