import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bars } from '../../src/cli/bars.ts'

describe('bars', () => {
  it('have heights in proportion, and a scale', () => {
    expect(bars([0, 8, 16, 12], 40, 2)).toEqual({
      text: '16 │        ███ ▄▄▄\n 0 │    ███ ███ ███\n',
      each: 1,
    })
  })

  it('are sums of neighbours when there is not enough space, of which the last is complete', () => {
    const { text, each } = bars(Array<number>(21).fill(1), 14, 1)
    expect(each).toBe(3)
    expect(text).toBe('3 │███████\n')
    expect(bars(Array<number>(22).fill(1), 14, 1).text).toBe('3 │▃███████\n')
  })

  it('are no wider than the terminal', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1e9), { maxLength: 400 }), fc.integer({ min: 30, max: 300 }), (values, columns) => {
        for (const line of bars(values, columns).text.split('\n')) expect(line.length).toBeLessThanOrEqual(columns)
      }),
    )
  })

  it('are there for all that is not 0, however small', () => {
    const { text } = bars([1, 0, 1_000_000], 40)
    expect(text.trimEnd().split('\n').at(-1)).toMatch(/│▁▁▁ {5}███$/)
    expect(bars([0, 0], 40).text).toMatch(/^1 │\n/)
  })
})
