import { afterAll, describe, expect, it } from 'vitest'
import { compareEmbeddings, compareLayouts, compareNextToken, openSubject } from './oracle/compare.ts'
import { families } from './oracle/families.ts'

describe.each(families)('$name, beside libmtmd', (family) => {
  const subject = openSubject(family)
  afterAll(subject.remove)

  it('lays prompts out alike: text, embeddings, and their positions', () => {
    for (const { size, ours, theirs } of compareLayouts(subject)) expect(ours, `${size}`).toEqual(theirs)
  })

  it.each(['onnx', 'ggml'] as const)('computes the same embeddings in %s', async (runtime) => {
    const { cosine, difference } = await compareEmbeddings(subject, runtime)
    // libmtmd convolves in 16-bit floats, 11 bits of which are significant; embeddings are 1 to 3 large.
    expect(difference).toBeLessThan(0.02)
    expect(cosine).toBeGreaterThan(0.9999)
  })

  it('foretells the same next token', async () => {
    expect(await compareNextToken(subject)).toBeLessThan(0.02)
  })
})
