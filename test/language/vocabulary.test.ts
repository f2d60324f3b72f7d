import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { decoderOf, width } from '../encoders/oracle/decoder.ts'
import { openSmall } from '../support/decoder.ts'
import { writeGguf } from '../support/gguf-file.ts'
import { pocketFolder } from '../support/pocket.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-vocabulary-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** The built-in model with the pre-tokenizer of another model, such as Mistral Small's `tekken`. */
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
  ])('that splits words like %s tokenizes a long run of %j without loss', (way, part) => {
    const decoder = openSmall(splitAs(way))
    const text = `x ${part.repeat(20_000)} and ${part.repeat(1500)}`
    const tokens = decoder.vocabulary.tokenize(text, true)
    const bytes = Buffer.concat([...tokens].map((token) => decoder.vocabulary.bytes(token, true)))
    expect(bytes.toString()).toBe(text)
    decoder.close()
  })

  it('does not split a control token without spaces around it', () => {
    const decoder = openSmall(splitAs('tekken'))
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

describe('a small vocabulary', () => {
  const open = (kind: string) => {
    const tokens = ['<unk>', '<s>', '</s>', '▁', 'a', '▁a', 'b']
    const { metadata, tensors } = decoderOf({
      specials: [],
      metadata: {
        'llama.vocab_size': { u32: tokens.length },
        'tokenizer.ggml.model': { string: kind },
        'tokenizer.ggml.pre': { string: 'default' },
        'tokenizer.ggml.tokens': { strings: tokens },
        'tokenizer.ggml.scores': { f32: tokens.map((_, id) => -id) },
        'tokenizer.ggml.token_type': { i32: tokens.map((_, id) => (id < 3 ? 3 : 1)) },
      },
    })
    const file = path.join(folder, 'small.gguf')
    const wide = { name: 'token_embd.weight', shape: [width, tokens.length] }
    writeGguf(
      file,
      metadata,
      tensors.map((tensor) => (tensor.name === wide.name ? { ...tensor, ...wide } : tensor)),
      1,
    )
    return openSmall(file)
  }

  it('is refused if an unknown character would end the process', () => {
    expect(() => open('llama')).toThrow(/lacks 254 of the 256 bytes/)
  })

  it('leaves out characters without a token', () => {
    const decoder = open('rwkv')
    expect([...decoder.vocabulary.tokenize('a字b', true)]).toEqual([4, 6])
    decoder.close()
  })
})
