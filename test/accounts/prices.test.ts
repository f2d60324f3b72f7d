import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { costOf } from '../../src/accounts/index.ts'
import { priceList } from '../../src/accounts/prices.ts'
import { loadConfig } from '../../src/load-config.ts'

const tokens = fc.integer({ min: 0, max: 10_000_000 })
const price = fc.integer({ min: 0, max: 100_000_000_000 })
const usage = fc.record({
  text: tokens,
  imageTokens: tokens,
  cached: tokens,
  completionTokens: tokens,
  images: fc.nat(100),
})
const charged = usage.map(({ text, imageTokens, cached, ...rest }) => {
  const promptTokens = text + imageTokens
  return { ...rest, imageTokens, promptTokens, cachedTokens: Math.min(cached, promptTokens) }
})
const prices = fc.record({ input: price, cachedInput: price, output: price, image: price })

describe('the cost of a request', () => {
  const list = { input: 200_000, cachedInput: 100_000, output: 600_000, image: 0 }
  const used = { promptTokens: 1000, imageTokens: 0, cachedTokens: 0, completionTokens: 100, images: 0 }

  it('is that of its tokens, cached ones at their own price', () => {
    expect(costOf(used, list)).toBe(260)
    expect(costOf({ ...used, cachedTokens: 400 }, list)).toBe(220)
    expect(costOf({ ...used, promptTokens: 0, completionTokens: 0 }, list)).toBe(0)
  })

  it('is rounded once, to the nearest micro-unit, halves up', () => {
    const free = { ...list, output: 0 }
    expect([2, 3, 7, 8].map((promptTokens) => costOf({ ...used, promptTokens, completionTokens: 0 }, free))).toEqual([
      0, 1, 1, 2,
    ])
  })

  it('has a least price for an image, above what its tokens cost', () => {
    const few = { ...used, promptTokens: 1010, imageTokens: 10, images: 1 }
    expect(costOf(few, { ...list, image: 500 })).toBe(260 + 500)
    expect(costOf({ ...few, promptTokens: 6000, imageTokens: 5000 }, { ...list, image: 500 })).toBe(260 + 1000)
  })

  it('is an exact sum, however large, that never falls when more is used', () => {
    fc.assert(
      fc.property(charged, prices, fc.nat(1000), (used, prices, more) => {
        const cost = costOf(used, prices)
        expect(cost).toBeGreaterThanOrEqual(0)
        const uncached = BigInt(used.promptTokens - used.cachedTokens) * BigInt(prices.input)
        const exact =
          uncached +
          BigInt(used.cachedTokens) * BigInt(prices.cachedInput) +
          BigInt(used.completionTokens) * BigInt(prices.output)
        const least = BigInt(used.images * prices.image) * 1_000_000n - BigInt(used.imageTokens) * BigInt(prices.input)
        expect(BigInt(cost)).toBe((exact + (least > 0n ? least : 0n) + 500_000n) / 1_000_000n)
        for (const name of ['promptTokens', 'completionTokens', 'images'] as const)
          expect(costOf({ ...used, [name]: used[name] + more }, prices)).toBeGreaterThanOrEqual(cost)
      }),
    )
  })
})

describe('the price list', () => {
  it('has the prices of a model, or those of all others, in micro-units; cached tokens cost half', () => {
    const pricesOf = priceList(
      loadConfig(
        {
          prices: { input: 0.15, output: 0.6 },
          accounts: { prices: { large: { input: 1.25, cachedInput: 0.1, output: 10, image: 0.001 } } },
        },
        {},
      ),
    )
    expect(pricesOf('pocket')).toEqual({ input: 150_000, cachedInput: 75_000, output: 600_000, image: 0 })
    expect(pricesOf('large')).toEqual({ input: 1_250_000, cachedInput: 100_000, output: 10_000_000, image: 1000 })
  })
})
