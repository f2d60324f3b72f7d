import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { openArchitecture, visionFamilies } from '../../src/vision/index.ts'
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

  it('comes near to them in 8-bit integers', async () => {
    expect((await compareEmbeddings(subject, 'onnx', 'int8')).cosine).toBeGreaterThan(0.997)
  })

  it('foretells the same next token', async () => {
    // ggml's flash attention sums few rows in 16-bit floats, and many, as they come here with a picture, in 32-bit ones.
    expect(await compareNextToken(subject)).toBeLessThan(0.04)
  })
})

it('is shown of every family that runs, and told in docs/conformance.md', () => {
  const page = readFileSync(new URL('../../docs/conformance.md', import.meta.url), 'utf8')
  const told = page.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))
  const shown = families.map((family) => {
    const subject = openSubject(family)
    const { name } = openArchitecture(subject.projector)
    subject.remove()
    const row = told.find(([, type, model]) => type === name && model === family.name)
    expect(row, `run \`npm run conformance\` for ${family.name}`).toBeDefined()
    return name
  })
  expect([...new Set(shown)].sort()).toEqual([...visionFamilies].sort())
})
