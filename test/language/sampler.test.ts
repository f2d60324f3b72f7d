import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Decoder, SamplerSettings, TokenSampler } from '../../src/language/index.ts'
import { decoderOf, width } from '../encoders/oracle/decoder.ts'
import { openSmall } from '../support/decoder.ts'
import { writeGguf } from '../support/gguf-file.ts'
import { inputs } from '../support/long.ts'
import { greedy, pocketFolder } from '../support/pocket.ts'

const gbnf = (text: string) => ({ text, texts: {} })

/** The next token, however long it takes to find. @param searched called if all allowed tokens are asked for */
function sampled(decoder: Decoder, sampler: TokenSampler, searched = () => {}): number | null {
  const found = decoder.sample(sampler, 0)
  if (typeof found !== 'object' || found === null) return found
  searched()
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

/** Pocket after one token. */
async function pocketAfter(token: number): Promise<Decoder> {
  const decoder = openSmall(`${pocketFolder}pocket.gguf`)
  const batch = decoder.newTokenBatch()
  batch.addToken(token, 0, 0, true)
  await decoder.decode(batch)
  return decoder
}

const grammars = [
  '[a-m]*',
  '[^"\\\\]*',
  '"a" | "b"',
  '[0-9]+ "." [0-9]+',
  '" " [a-z]+',
  '"{" .*',
  '[\\u0080-\\u00FF]+',
].map((text) => gbnf(`root ::= ${text}`))

it('chooses the likeliest token that a grammar allows, with biases and penalties', async () => {
  const decoder = await pocketAfter(5)
  const { vocabulary } = decoder
  const before = decoder.logits(0).slice()
  const token = fc.nat(vocabulary.size - 1)
  const penalty = fc.constantFrom(0, 0.5, 4)
  await fc.assert(
    fc.asyncProperty(
      fc.option(fc.constantFrom(...grammars)),
      fc.array(fc.record({ token, bias: fc.constantFrom(-Infinity, -3, 0.5, 20) }), { maxLength: 40 }),
      fc.record({ repetitionPenalty: fc.constantFrom(1, 1.5), frequencyPenalty: penalty, presencePenalty: penalty }),
      async (grammar, logitBias, penalties) => {
        const open = (over: Partial<SamplerSettings>) => decoder.newSampler({ ...plain, ...over })
        const sampler = open({ ...penalties, logitBias, grammar })
        const answer: number[] = []
        for (let length = 0; length < 4; length++) {
          const logits = changed(before, logitBias, penalties, answer)
          // Tokens in the order of their logits; a sampler without a choice says whether the grammar allows it.
          const order = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b)
          const expected = order.find((id) => logits[id] !== -Infinity && follows(open, grammar, [...answer, id]))
          const found = sampled(decoder, sampler)
          expect(found).toBe(expected ?? null)
          if (found === null) break
          answer.push(found)
        }
        sampler.free()
        expect(decoder.logits(0)).toEqual(before)
      },
    ),
    { numRuns: inputs(40, 400) },
  )
  decoder.close()

  /** Whether a grammar allows an answer, of which every token is forced. */
  function follows(
    open: (over: Partial<SamplerSettings>) => TokenSampler,
    grammar: SamplerSettings['grammar'],
    tokens: readonly number[],
  ): boolean {
    if (grammar === null) return true
    const sampler = open({ grammar })
    const logits = decoder.logits(0)
    try {
      return tokens.every((token) => {
        logits.fill(-Infinity)
        logits[token] = 0
        return sampled(decoder, sampler) === token
      })
    } finally {
      logits.set(before)
      sampler.free()
    }
  }
})

/** Logits with biases and penalties, as llama.cpp defines them. */
function changed(
  before: Float32Array,
  biases: SamplerSettings['logitBias'],
  {
    repetitionPenalty,
    frequencyPenalty,
    presencePenalty,
  }: Pick<SamplerSettings, 'repetitionPenalty' | 'frequencyPenalty' | 'presencePenalty'>,
  answer: readonly number[],
): Float32Array {
  const logits = before.slice()
  for (const { token, bias } of biases) logits[token] = (logits[token] ?? 0) + bias
  for (const token of new Set(answer)) {
    const logit = logits[token] ?? 0
    const count = answer.filter((other) => other === token).length
    logits[token] = logit <= 0 ? logit * repetitionPenalty : logit / repetitionPenalty
    logits[token] = (logits[token] ?? 0) - (count * frequencyPenalty + presencePenalty)
  }
  return logits
}

it.each([
  ['one that is not allowed is far likelier than all others', 30],
  ['none of them is likely', -5],
])('draws with the probabilities among the allowed tokens when %s', async (_, bias) => {
  const decoder = await pocketAfter(5)
  const grammar = gbnf('root ::= [a-f]')
  const refused = decoder.vocabulary.tokenize('the', false)[0] ?? -1
  const settings = { ...plain, temperature: 1, grammar, logitBias: [{ token: refused, bias }] }
  const drawn = new Map<number, number>()
  const draws = 4000
  for (let seed = 0; seed < draws; seed++) {
    const sampler = decoder.newSampler({ ...settings, seed })
    const token = sampled(decoder, sampler) ?? -1
    drawn.set(token, (drawn.get(token) ?? 0) + 1)
    sampler.free()
  }
  const allowed = [...'abcdef'].map((letter) => decoder.vocabulary.tokenize(letter, false)[0] ?? -1)
  const logits = decoder.logits(0)
  const weights = allowed.map((token) => Math.exp(logits[token] ?? 0))
  const all = weights.reduce((sum, weight) => sum + weight, 0)
  expect([...drawn.keys()].every((token) => allowed.includes(token))).toBe(true)
  for (const [i, token] of allowed.entries()) {
    const expected = (weights[i] ?? 0) / all
    // Five standard deviations.
    const most = 5 * Math.sqrt((expected * (1 - expected)) / draws)
    expect(Math.abs((drawn.get(token) ?? 0) / draws - expected)).toBeLessThan(most)
  }
  decoder.close()
})

it('draws the same tokens whether the allowed ones are known or not', async () => {
  const decoder = await pocketAfter(5)
  for (const topP of [1, 0.9]) {
    const answer = () => {
      const sampler = decoder.newSampler({
        ...plain,
        temperature: 1,
        topP,
        seed: 7,
        grammar: gbnf('root ::= [a-f]+ [0-9]*'),
      })
      const tokens = Array.from({ length: 20 }, () => sampled(decoder, sampler))
      sampler.free()
      return tokens
    }
    expect(answer()).toEqual(answer())
  }
  decoder.close()
})

it('asks for all allowed tokens only if none of the likeliest is allowed', async () => {
  const decoder = await pocketAfter(5)
  let searches = 0
  const logits = decoder.logits(0)
  const [most] = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0))
  // The likeliest tokens are neither a quote nor a backslash, but for one that is made the likeliest.
  const quote = decoder.vocabulary.tokenize('"', false)[0] ?? -1
  const logitBias = [{ token: quote, bias: 1 + (logits[most ?? 0] ?? 0) - (logits[quote] ?? 0) }]
  for (const temperature of [0, 1]) {
    const sampler = decoder.newSampler({ ...plain, temperature, logitBias, grammar: gbnf('root ::= [^"\\\\]*') })
    const tokens = Array.from({ length: 20 }, () => sampled(decoder, sampler, () => searches++))
    expect(tokens).not.toContain(quote)
    sampler.free()
  }
  expect(searches).toBe(0)
  decoder.close()
})
