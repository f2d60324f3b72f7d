import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { openVocabulary } from '../../src/language/vocabulary.ts'
import { openNative } from '../../src/native/index.ts'
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

/** Writes a decoder with a vocabulary of a kind of llama.cpp's. @returns its path */
function small(kind: string, words: readonly string[], addsSpace = true): string {
  const bytes = Array.from({ length: words.length > 4 ? 256 : 0 }, (_, byte) => byte)
  const hex = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
  const tokens = ['<unk>', '<s>', '</s>', ...bytes.map(hex), ...words]
  const { metadata, tensors } = decoderOf({
    specials: [],
    metadata: {
      'llama.vocab_size': { u32: tokens.length },
      'tokenizer.ggml.model': { string: kind },
      'tokenizer.ggml.pre': { string: 'default' },
      'tokenizer.ggml.tokens': { strings: tokens },
      'tokenizer.ggml.scores': { f32: tokens.map((_, id) => -id) },
      'tokenizer.ggml.token_type': { i32: tokens.map((_, id) => (id < 3 ? 3 : id < 3 + bytes.length ? 6 : 1)) },
      'tokenizer.ggml.add_space_prefix': { bool: addsSpace },
    },
  })
  const file = path.join(folder, `${kind}-${words.length}-${addsSpace}.gguf`)
  const wide = { name: 'token_embd.weight', shape: [width, tokens.length] }
  const resized = tensors.map((tensor) => (tensor.name === wide.name ? { ...tensor, ...wide } : tensor))
  writeGguf(file, metadata, resized, 1)
  return file
}

describe('a long text', () => {
  const words = ['▁', 'a', 'b', '▁a', 'ab', '▁ab', '▁▁', 'ba', 'abab', '▁b', '▁a▁b', '1', '▁1', ';']
  const files = {
    'pairs of bytes': `${pocketFolder}pocket.gguf`,
    'words as in Mistral Small': splitAs('tekken'),
    'words as in gpt-oss': splitAs('gpt-4o'),
    'pieces with a space before the text': small('llama', words),
    'pieces as they are': small('llama', words, false),
  }
  const { llama } = openNative()
  const opened = (file: string) => {
    const model = llama.loadModel(file, 0, () => {})
    if (model === null) throw new Error('not loaded')
    const vocab = llama.vocab(model)
    return {
      vocabulary: openVocabulary(llama, vocab),
      atOnce(text: string) {
        const bytes = Buffer.from(text)
        const out = new Int32Array(bytes.length + 2)
        return [...out.subarray(0, llama.tokenize(vocab, bytes, bytes.length, out, out.length, false, false))]
      },
      close: () => llama.freeModel(model),
    }
  }
  const atoms = [
    ...[' ', ' ', ' ', '\n', '\n\n', '\t', '  ', '\r\n', '\u00a0', '\u3000'],
    ...['a', 'ab', 'The', 'word', '字', 'й', 'é', 'ี', '\u0301', 'º', '1', '23', '😀'],
    ...['.', ', ', ';', "'s", '(', '"', '->', '→'],
  ]
  const texts = fc
    .array(fc.constantFrom(...atoms), { minLength: 6000, maxLength: 9000, size: 'max' })
    .map((parts) => parts.join(''))

  it.each(Object.entries(files))('is tokenized in parts, and is as if tokenized at once: %s', (_, file) => {
    const { vocabulary, atOnce, close } = opened(file)
    const check = (text: string) => {
      const parts = [...vocabulary.tokenizing(text, false)].map((part) => [...part])
      expect(parts.length).toBeGreaterThan(1)
      expect(parts.flat()).toEqual(atOnce(text))
    }
    fc.assert(fc.property(texts, check), { numRuns: 10 })
    close()
  })

  it.each(Object.entries(files))('without places to cut it loses nothing: %s', (_, file) => {
    const { vocabulary, close } = opened(file)
    const repeated = ['a', '字', ' ', '\n', '\t', '\n ', 'ab1;', ';\n'].map((part) => part.repeat(50_000 / part.length))
    for (const text of [...repeated, `${';\n'.repeat(20_000)}a`]) {
      const parts = [...vocabulary.tokenizing(text, false)].map((part) =>
        Buffer.concat([...part].map((token) => vocabulary.bytes(token, true))).toString(),
      )
      for (const part of parts) expect(part.length).toBeLessThan(35_000)
      expect([text, ` ${text}`]).toContain(parts.join(''))
    }
    close()
  })
})

describe('a small vocabulary', () => {
  const open = (kind: string) => openSmall(small(kind, ['▁', 'a', '▁a', 'b']))

  it('is refused if an unknown character would end the process', () => {
    expect(() => open('llama')).toThrow(/lacks 254 of the 256 bytes/)
  })

  it('leaves out characters without a token', () => {
    const decoder = open('rwkv')
    expect([...decoder.vocabulary.tokenize('a字b', true)]).toEqual([4, 6])
    decoder.close()
  })
})
