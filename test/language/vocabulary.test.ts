import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openDecoder } from '../../src/language/index.ts'
import { pocketFolder } from '../support/pocket.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-vocabulary-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** The built-in model with its words split as Mistral Small's are. */
function splitAsTekken(): string {
  const file = readFileSync(`${pocketFolder}pocket.gguf`)
  const at = file.indexOf('smollm')
  expect(at).toBeGreaterThan(0)
  file.write('tekken', at, 'latin1')
  const copy = path.join(folder, 'tekken.gguf')
  writeFileSync(copy, file)
  return copy
}

describe('a vocabulary', () => {
  it.each(['a', '字', ' ', '-', '\n', '7', 'aB'])('takes %j for as long as it goes on', (part) => {
    const decoder = openDecoder(splitAsTekken(), {
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
})
