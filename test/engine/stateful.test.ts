import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Engine, type GenerateRequest, startEngine } from '../../src/engine/index.ts'
import { createLogger } from '../../src/log.ts'
import { lfm2 } from '../encoders/oracle/families/lfm2.ts'
import { qwen35 } from '../encoders/oracle/families/qwen35.ts'
import { answerOf, ask, engineSettings, greedy, requestOf, square } from '../support/pocket.ts'

// Layers of these decoders keep a state at the end of each sequence: convolutions in LFM2, linear attention in Qwen3.5.
describe.each([lfm2, qwen35])('a hybrid decoder, $name', ({ name, write }) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-hybrid-'))
  let engine: Engine
  beforeAll(async () => {
    const [decoder, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
    write(decoder, projector)
    const settings = { ...engineSettings, contextCells: 1024 }
    engine = await startEngine({ decoder, projector, name, settings, log: createLogger('silent') })
  })
  afterAll(async () => {
    await engine.close()
    rmSync(folder, { recursive: true })
  })

  const request = (i: number, over: Partial<GenerateRequest> = {}): GenerateRequest =>
    requestOf(ask(`What is in image ${i}?`, square([i * 40, 90, 200 - i * 30])), {
      maxTokens: 12,
      ignoreEos: true,
      // No token of this seed is a near tie, which batches of another shape could decide otherwise.
      sampling: { ...greedy, temperature: 0.8, seed: 11 },
      ...over,
    })

  it('answers many requests at once as each alone, with the states of repeated prompts', async () => {
    const alone: string[][] = []
    for (let i = 0; i < 6; i++) alone.push((await answerOf(engine, request(i))).texts)
    const crowd = await Promise.all(Array.from({ length: 6 }, (_, i) => answerOf(engine, request(i))))
    expect(crowd.map(({ texts }) => texts)).toEqual(alone)
    for (const { prompt } of crowd) expect(prompt.cachedTokens).toBeGreaterThan(prompt.promptTokens / 2)
    expect((await engine.state()).preemptions).toBe(0)
  })

  it('goes on after an image for another question, with the answer that it gives without a cache', async () => {
    const image = square([20, 200, 60])
    const asked = (question: string, cachePrompt: boolean) =>
      requestOf(ask(question, image), { maxTokens: 12, ignoreEos: true, sampling: greedy, cachePrompt })
    await answerOf(engine, asked('What is it?', true))
    const warm = await answerOf(engine, asked('Which colour has it?', true))
    const cold = await answerOf(engine, asked('Which colour has it?', false))
    expect(warm.texts).toEqual(cold.texts)
    expect(cold.prompt.cachedTokens).toBe(0)
    expect(warm.prompt.cachedTokens).toBeGreaterThanOrEqual(
      warm.prompt.attachmentTokens.reduce((sum, tokens) => sum + tokens),
    )
  })

  it('goes on in a chat after the last turn of it that is the same', async () => {
    const asked = (text: string, cachePrompt: boolean) => {
      const prompt = [...ask('What is it?', square([200, 20, 60])), { kind: 'text' as const, text, special: true }]
      return answerOf(engine, requestOf(prompt, { maxTokens: 12, ignoreEos: true, sampling: greedy, cachePrompt }))
    }
    const turn = '<|im_end|>Say: '
    const first = await asked(turn, true)
    const next = `${turn}a thing.<|im_end|>And now?${turn}`
    const warm = await asked(next, true)
    expect(warm.prompt.cachedTokens).toBe(first.prompt.promptTokens - 'Say: '.length)
    expect(warm.texts).toEqual((await asked(next, false)).texts)
  })

  it('makes n answers from one prefill of the prompt', async () => {
    const { texts } = await answerOf(engine, request(1, { n: 3 }))
    const seeds = [11, 12, 13].map((seed) => request(1, { sampling: { ...greedy, temperature: 0.8, seed } }))
    const apart = await Promise.all(seeds.map((one) => answerOf(engine, one)))
    expect(texts).toEqual(apart.map(({ texts }) => texts[0]))
  })
})
