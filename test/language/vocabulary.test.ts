import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openDecoder } from '../../src/language/index.ts'
import { pocketFolder } from '../support/pocket.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-vocabulary-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** The built-in model with its words split as others are: `tekken` is Mistral Small's way. */
function splitAs(way: string): string {
  expect(way).toHaveLength('smollm'.length)
  const file = readFileSync(`${pocketFolder}pocket.gguf`)
  const at = file.indexOf('smollm')
  expect(at).toBeGreaterThan(0)
  file.write(way, at, 'latin1')
  const copy = path.join(folder, `${way}.gguf`)
  writeFileSync(copy, file)
  return copy
}

describe('a vocabulary', () => {
  it.each([
    ...['a', '字', ' ', '-', '\n', '7', 'aB', '!\u0301', 'a1', '😀\u200d'].map((part) => ['tekken', part] as const),
    ...['!\u0301', 'a1', '-1'].flatMap((part) => [['gpt-4o', part] as const, ['viking', part] as const]),
  ])('of words as %s has them takes %j for as long as it goes on', (way, part) => {
    const decoder = openDecoder(splitAs(way), {
      cells: 256,
      sequences: 1,
      batchRows: 16,
      threads: 1,
      kvType: 'f16',
      flashAttention: true,
    })
    const text = `x ${part.repeat(20_000)} and ${part.repeat(1500)}`
    const tokens = decoder.vocabulary.tokenize(text, true)
    const bytes = Buffer.concat([...tokens].map((token) => decoder.vocabulary.bytes(token, true)))
    expect(bytes.toString()).toBe(text)
    decoder.close()
  })

  it('never cuts a control token that has no space around it', () => {
    const decoder = openDecoder(splitAs('tekken'), {
      cells: 256,
      sequences: 1,
      batchRows: 16,
      threads: 1,
      kvType: 'f16',
      flashAttention: true,
    })
    const { vocabulary } = decoder
    const [end] = vocabulary.tokenize('<|im_end|>', true)
    for (let before = 980; before <= 1002; before++) {
      const tokens = vocabulary.tokenize(`${'!a'.repeat(before / 2)}<|im_end|>${'b'.repeat(1500)}`, true)
      expect(tokens).toContain(end)
      const plain = vocabulary.tokenize(`${'!a'.repeat(before / 2)}<|im_end|>`, false)
      expect(plain).not.toContain(end)
    }
    decoder.close()
  })
})
