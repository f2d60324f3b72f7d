import fc from 'fast-check'
import { expect, it } from 'vitest'
import { tellPrompt } from '../../../src/upstreams/wire/prompt-usage.ts'

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0)

it('what an upstream does not say of an image is what the text leaves of the prompt', () => {
  const prompt = { promptTokens: 10 + 64, cachedTokens: 0, imageTokens: [64] }
  tellPrompt({ promptTokens: 1012 }, prompt)
  expect(prompt).toEqual({ promptTokens: 1012, cachedTokens: 0, imageTokens: [1002] })
  tellPrompt({ promptTokens: 40 }, prompt)
  expect(prompt).toMatchObject({ promptTokens: 40, imageTokens: [30] })
})

it('what it says is taken as it is, of each image or of all', () => {
  const prompt = { promptTokens: 400, cachedTokens: 0, imageTokens: [64, 64], videoTokens: [256] }
  tellPrompt({ promptTokens: 1000, images: [100, 300], cachedTokens: 5000 }, prompt)
  expect(prompt).toEqual({ promptTokens: 1000, cachedTokens: 1000, imageTokens: [100, 300], videoTokens: [584] })
  tellPrompt({ promptTokens: 1000, images: 401, videos: 500 }, prompt)
  expect(prompt).toMatchObject({ imageTokens: [100, 301], videoTokens: [500] })
})

it('all kinds together are never more than the prompt, however often it is told', () => {
  const tokens = fc.array(fc.nat(500), { maxLength: 4 })
  fc.assert(
    fc.property(
      fc.nat(300),
      tokens,
      tokens,
      tokens,
      fc.array(fc.nat(5000), { minLength: 1 }),
      (text, a, b, c, told) => {
        const kinds = { imageTokens: a, videoTokens: b, audioTokens: c }
        const prompt = { promptTokens: text + sumOf([...a, ...b, ...c]), cachedTokens: 0, ...kinds }
        for (const promptTokens of told) {
          tellPrompt({ promptTokens }, prompt)
          const { imageTokens, videoTokens, audioTokens } = prompt
          const all = [...imageTokens, ...videoTokens, ...audioTokens]
          expect([imageTokens.length, videoTokens.length, audioTokens.length]).toEqual([a.length, b.length, c.length])
          expect(all.every((one) => Number.isInteger(one) && one >= 0)).toBe(true)
          expect(sumOf(all)).toBeLessThanOrEqual(promptTokens)
        }
      },
    ),
  )
})
