import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { needImageArchitecture, tilesOf } from '../../src/encoders/index.ts'
import { type Engine, type PromptPiece, startEngine } from '../../src/engine/index.ts'
import { createLogger } from '../../src/log.ts'
import { pixels } from '../support/pixels.ts'
import { type Answer, answerOf, engineSettings, requestOf } from '../support/pocket.ts'
import { openSubject } from './oracle/compare.ts'
import { qwen3vl, qwen25vl } from './oracle/families/qwen.ts'
import { testImage } from './oracle/images.ts'

const text = (value: string): PromptPiece => ({ kind: 'text', text: value, special: true })
const shown = (width: number, height: number): PromptPiece => ({
  kind: 'image',
  width,
  height,
  pixels: pixels(testImage(width, height)),
  hash: `${width}x${height}`,
  detail: 'auto',
})

/** Log probabilities of the first token of an answer, by tokens. */
function chances({ events }: Answer): Map<number, number> {
  const first = events.find((event) => event.type === 'text')
  return new Map(first?.type === 'text' ? first.tokens[0]?.top.map(({ id, logprob }) => [id, logprob]) : [])
}

describe.each([qwen25vl, qwen3vl])('$name, with grid positions', (family) => {
  const subject = openSubject(family)
  let engine: Engine
  beforeAll(async () => {
    const { decoder, projector, name } = subject
    engine = await startEngine({ decoder, projector, name, settings: engineSettings, log: createLogger('silent') })
  })
  afterAll(async () => {
    await engine.close()
    subject.remove()
  })

  const asked = (prompt: readonly PromptPiece[], cachePrompt: boolean, n = 1) =>
    answerOf(
      engine,
      requestOf(prompt, { maxTokens: 8, ignoreEos: true, shownTokens: [], topLogprobs: 400, cachePrompt, n }),
    )

  it('continues after a shared image as after one that it has read itself', async () => {
    const begin = [text('Two: '), shown(200, 150), text(' and '), shown(90, 400)]
    const first = await asked([...begin, text(' Which is larger?')], true)
    const shared = await asked([...begin, text(' What else?')], true)
    const alone = await asked([...begin, text(' What else?')], false)
    const images = first.prompt.attachmentTokens.reduce((sum, tokens) => sum + tokens, 0)
    expect(shared.prompt.cachedTokens).toBe('Two: '.length + images + ' and '.length + ' Wh'.length)
    expect(alone.prompt.cachedTokens).toBe(0)
    const found = chances(shared)
    for (const [token, chance] of chances(alone)) expect(Math.abs(chance - (found.get(token) ?? 0))).toBeLessThan(0.02)
  })

  it('answers a prompt that ends with an image, twice, and shares no part of the image', async () => {
    const prompt = [text('Look at this: '), shown(300, 300)]
    const first = await asked(prompt, true, 2)
    expect(first.texts[0]).toBe(first.texts[1])
    const tile = first.prompt.promptTokens - 'Look at this: '.length
    expect(tile).toBeGreaterThan(100)
    const longer = await asked([...prompt, text('?')], true)
    expect(longer.prompt.cachedTokens).toBe(first.prompt.promptTokens)
  })

  it('has as many tokens as detail allows', async () => {
    const architecture = await needImageArchitecture(subject.projector)
    const tokens = (detail: 'low' | 'auto' | 'high') =>
      tilesOf(architecture.plan({ width: 4000, height: 3000 }, detail)).map((tile) => tile.tokens)
    expect([tokens('low'), tokens('auto'), tokens('high')]).toEqual([[54], [234], [4015]])
  })
})
