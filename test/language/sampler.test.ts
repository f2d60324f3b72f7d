import { expect, it } from 'vitest'
import { openDecoder, type SamplerSettings } from '../../src/language/index.ts'
import { pocketFolder } from '../support/pocket.ts'

const plain: SamplerSettings = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  typicalP: 1,
  mirostat: null,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  seed: 1,
  logitBias: [],
  grammar: null,
}

it('a temperature next to nothing takes the likeliest token, under a grammar too', async () => {
  const decoder = openDecoder(`${pocketFolder}pocket.gguf`, {
    cells: 256,
    sequences: 1,
    batchRows: 16,
    threads: 1,
    kvType: 'f16',
    flashAttention: true,
  })
  const batch = decoder.newTokenBatch()
  batch.addToken(5, 0, 0, true)
  await decoder.decode(batch)
  const sample = (settings: Partial<SamplerSettings>) => {
    const sampler = decoder.newSampler({ ...plain, ...settings })
    const token = decoder.sample(sampler, 0)
    sampler.free()
    return token
  }
  const logits = decoder.logits(0)
  const likeliest = logits.indexOf(Math.max(...logits))
  for (const temperature of [0, 1e-45, 1e-39, 1e-38, 1e-30, 1e-9])
    for (const grammar of [null, 'root ::= .*']) expect(sample({ temperature, grammar })).toBe(likeliest)
  decoder.close()
})
