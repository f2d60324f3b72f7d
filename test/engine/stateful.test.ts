import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type GenerateRequest, startEngine } from '../../src/engine/index.ts'
import { createLogger } from '../../src/log.ts'
import { lfm2 } from '../encoders/oracle/families/lfm2.ts'
import { answerOf, ask, engineSettings, greedy, requestOf, square } from '../support/pocket.ts'

// LFM2: convolution layers keep a state at the end of each sequence, so a part of a sequence cannot be shared.
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-lfm2-'))
let engine: Engine
beforeAll(async () => {
  const [decoder, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
  lfm2.write(decoder, projector)
  const settings = { ...engineSettings, contextCells: 1024 }
  engine = await startEngine({ decoder, projector, name: 'lfm2', settings, log: createLogger('silent') })
})
afterAll(async () => {
  await engine.close()
  rmSync(folder, { recursive: true })
})

const request = (i: number, over: Partial<GenerateRequest> = {}): GenerateRequest =>
  requestOf(ask(`What is in image ${i}?`, square([i * 40, 90, 200 - i * 30])), {
    maxTokens: 12,
    ignoreEos: true,
    sampling: { ...greedy, temperature: 0.8, seed: 7 },
    ...over,
  })

it('answers many requests at once as each alone, and computes a repeated prompt from its start', async () => {
  const alone: string[][] = []
  for (let i = 0; i < 6; i++) alone.push((await answerOf(engine, request(i))).texts)
  const crowd = await Promise.all(Array.from({ length: 6 }, (_, i) => answerOf(engine, request(i))))
  expect(crowd.map(({ texts }) => texts)).toEqual(alone)
  expect(crowd.map(({ prompt }) => prompt.cachedTokens)).toEqual([0, 0, 0, 0, 0, 0])
})

it('makes n answers from one prefill of the prompt', async () => {
  const { texts } = await answerOf(engine, request(1, { n: 3 }))
  const seeds = [7, 8, 9].map((seed) => request(1, { sampling: { ...greedy, temperature: 0.8, seed } }))
  const apart = await Promise.all(seeds.map((one) => answerOf(engine, one)))
  expect(texts).toEqual(apart.map(({ texts }) => texts[0]))
})
