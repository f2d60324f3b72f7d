import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'
import type { Decoder, SamplerSettings, TokenSampler } from '../../src/language/index.ts'
import { decoderOf, width } from '../encoders/oracle/decoder.ts'
import { openSmall } from '../support/decoder.ts'
import { writeGguf } from '../support/gguf-file.ts'
import { greedy, pocketFolder } from '../support/pocket.ts'

const gbnf = (text: string) => ({ text, texts: {} })

/** The next token, however long it takes to find. */
function sampled(decoder: Decoder, sampler: TokenSampler): number | null {
  const found = decoder.sample(sampler, 0)
  if (typeof found !== 'object' || found === null) return found
  for (;;) {
    const token = found.run(0)
    if (token !== undefined) return token
  }
}

const plain: SamplerSettings = { ...greedy, seed: 1, grammar: null, shownTokens: new Set() }

it('chooses the likeliest token at a very low temperature, also under a grammar', async () => {
  const decoder = openSmall(`${pocketFolder}pocket.gguf`)
  const batch = decoder.newTokenBatch()
  batch.addToken(5, 0, 0, true)
  await decoder.decode(batch)
  const sample = (settings: Partial<SamplerSettings>) => {
    const sampler = decoder.newSampler({ ...plain, ...settings })
    const token = sampled(decoder, sampler)
    sampler.free()
    return token
  }
  const logits = decoder.logits(0)
  const likeliest = logits.indexOf(Math.max(...logits))
  for (const temperature of [0, 1e-45, 1e-39, 1e-38, 1e-30, 1e-9])
    for (const grammar of [null, gbnf('root ::= .*')]) expect(sample({ temperature, grammar })).toBe(likeliest)
  decoder.close()
})

it('chooses no tokens under a grammar that form U+0000 in three bytes', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-sampler-'))
  const file = path.join(folder, 'decoder.gguf')
  const { metadata, tensors } = decoderOf({ specials: [] })
  // The bytes 80 80, as byte pair vocabularies write them.
  const known = metadata['tokenizer.ggml.tokens']
  const tokens = [...(known !== undefined && 'strings' in known ? known.strings : []), 'ĢĢ']
  const longer = {
    ...metadata,
    'llama.vocab_size': { u32: tokens.length },
    'tokenizer.ggml.tokens': { strings: tokens },
    'tokenizer.ggml.token_type': { i32: tokens.map((_, id) => (id < 3 ? 3 : 1)) },
  }
  const wide = { name: 'token_embd.weight', shape: [width, tokens.length] }
  const sized = tensors.map((tensor) => (tensor.name === wide.name ? { ...tensor, ...wide } : tensor))
  writeGguf(file, longer, sized, 1)
  const decoder = openSmall(file)
  const batch = decoder.newTokenBatch()
  batch.addToken(5, 0, 0, true)
  await decoder.decode(batch)
  const idOf = (bytes: string) =>
    tokens.findIndex((_, id) => Buffer.from(decoder.vocabulary.bytes(id, true)).toString('hex') === bytes)
  const [first, rest] = [idOf('e0'), idOf('8080')]
  const sampler = decoder.newSampler({
    ...plain,
    grammar: gbnf('root ::= [\\u0800-\\u0FFF]+'),
    logitBias: [
      { token: first, bias: 50 },
      { token: rest, bias: 100 },
    ],
  })
  expect(sampled(decoder, sampler)).toBe(first)
  expect(decoder.vocabulary.bytes(sampled(decoder, sampler) ?? -1, true)[0]).toBeGreaterThanOrEqual(0xa0)
  sampler.free()
  decoder.close()
  rmSync(folder, { recursive: true })
})

it('samples under a grammar with the probabilities among the allowed tokens', async () => {
  const decoder = openSmall(`${pocketFolder}pocket.gguf`)
  const batch = decoder.newTokenBatch()
  batch.addToken(5, 0, 0, true)
  await decoder.decode(batch)
  const idOf = (text: string) => decoder.vocabulary.tokenize(text, false)[0] ?? -1
  const logits = decoder.logits(0)
  const [a, b] = [idOf('a'), idOf('b')]
  // As likely together as all others, and one of them three times as likely as the other.
  const all = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0))
  const logitBias = [
    { token: a, bias: all + Math.log(0.75) - (logits[a] ?? 0) },
    { token: b, bias: all + Math.log(0.25) - (logits[b] ?? 0) },
  ]
  const drawn = Array.from({ length: 2000 }, (_, seed) => {
    const sampler = decoder.newSampler({
      ...plain,
      temperature: 1,
      seed,
      logitBias,
      grammar: gbnf('root ::= "a" | "b"'),
    })
    const token = sampled(decoder, sampler)
    sampler.free()
    return token
  })
  expect(new Set(drawn)).toEqual(new Set([a, b]))
  expect(drawn.filter((token) => token === a).length / drawn.length).toBeCloseTo(0.75, 1)
  decoder.close()
})

it('samples the same under a grammar that had to be written again', async () => {
  const decoder = openSmall(`${pocketFolder}pocket.gguf`)
  const batch = decoder.newTokenBatch()
  batch.addToken(5, 0, 0, true)
  await decoder.decode(batch)
  const open = (text: string) => decoder.newSampler({ ...plain, temperature: 1, grammar: gbnf(text) })
  const [early, other] = [open('root ::= [a-z]+'), open('root ::= [a-z]+')]
  const tokens = Array.from({ length: 5 }, () => sampled(decoder, early))
  early.free()
  // So many others that its grammar is forgotten, whether answers have followed them or wait.
  const others = Array.from({ length: 20 }, (_, i) => open(`root ::= "${i}" [acegi]{0,40000}`))
  for (const sampler of others) sampled(decoder, sampler)
  for (const sampler of others) sampler.free()
  expect(Array.from({ length: 5 }, () => sampled(decoder, other))).toEqual(tokens)
  other.free()
  decoder.close()
})
