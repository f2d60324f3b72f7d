import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { openSmall } from '../support/decoder.ts'

const file = fileURLToPath(new URL('../../models/pocket/pocket.gguf', import.meta.url))
const decoder = openSmall(file, { sequences: 2, batchRows: 64 })
afterAll(() => decoder.close())

describe('a token embedding from the file', () => {
  it('gives exactly the logits of the token', async () => {
    const prompt = decoder.vocabulary.tokenize('What is in this image? A red circle.', true)
    const { tokenEmbedding } = decoder
    const [tokens, embeddings] = [decoder.newTokenBatch(), decoder.newEmbeddingBatch()]
    for (const [at, token] of prompt.entries()) {
      tokens.addToken(token, at, 0, true)
      const position = { time: at, row: at, column: at, image: 0 }
      embeddings.addEmbedding(tokenEmbedding?.(token) ?? new Float32Array(), position, 1, true)
    }
    const logitsOf = async (batch: typeof tokens) => {
      await decoder.decode(batch)
      return Array.from(prompt, (_, row) => decoder.logits(row).slice())
    }
    expect(await logitsOf(embeddings)).toEqual(await logitsOf(tokens))
  })
})
