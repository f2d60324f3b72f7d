import { expect, it } from 'vitest'
import { embeddingFacts } from '../../src/models/embedding.ts'

const facts = (architecture: string, metadata: Record<string, number | boolean> = {}) =>
  embeddingFacts(
    {
      metadata: new Map(Object.entries(metadata).map(([key, value]) => [`${architecture}.${key}`, value])),
      tensors: [{ name: 'token_embd.weight', shape: [64, 1000], type: 'F32', bytes: 0, at: 0 }],
      fileBytes: 0,
    },
    { architecture, width: 64 },
    'model.gguf',
  )

it('a model embeds if it is an encoder, or if its file names a pooling', () => {
  expect(facts('qwen3')).toBeNull()
  expect(facts('qwen3', { pooling_type: 0 })).toBeNull()
  expect(facts('qwen3', { pooling_type: 3 })).toMatchObject({ pooling: 'last', whole: false, keeps: true })
  expect(facts('nomic-bert', { pooling_type: 1 })).toMatchObject({ pooling: 'mean', whole: true, keeps: false })
  expect(facts('bert', { pooling_type: 2 })).toMatchObject({ pooling: 'cls', whole: true, dimensions: 64 })
})

it('an encoder that names no pooling has the mean', () => {
  expect(facts('modern-bert')).toMatchObject({ pooling: 'mean' })
})

it('a decoder needs all of a text at once if its tokens see each other, or are pooled', () => {
  expect(facts('llama-embed', { pooling_type: 1 })).toMatchObject({ whole: true, keeps: true })
  expect(facts('qwen3', { pooling_type: 3, 'attention.causal': false })).toMatchObject({ whole: true })
})

it('a model that ranks is refused', () => {
  expect(() => facts('bert', { pooling_type: 4 })).toThrow(
    'model.gguf is a model that ranks texts, which is not supported.',
  )
})

it('the width of its output may be another', () => {
  expect(facts('qwen3', { pooling_type: 3, embedding_length_out: 32 })).toMatchObject({ dimensions: 32 })
})
