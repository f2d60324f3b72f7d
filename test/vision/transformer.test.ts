import { expect, it } from 'vitest'
import { clip } from '../../src/vision/clip.ts'
import type { GraphBuilder } from '../../src/vision/graph.ts'
import type { Metadata } from '../../src/vision/metadata.ts'
import { transformer } from '../../src/vision/transformer.ts'

/** Writes graphs down as text. Every weight is there. */
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
  floats: () => new Float32Array(),
  integers: () => features,
  tensor: () => null,
})

it.each([
  ['clip.use_silu', 'swiglu(matmul(v.blk.0.ffn_gate'],
  ['clip.use_gelu', 'geglu(matmul(v.blk.0.ffn_gate'],
  [null, 'multiply(quickGelu(matmul(v.blk.0.ffn_gate'],
])('a gate is activated as the file has it: %s', (flag, expected) => {
  expect(transformer(metadataWith(flag)).layer(written, 'x', 0)).toContain(expected)
})

it('a feature of a negative number is none: the layer before the last is read', () => {
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
