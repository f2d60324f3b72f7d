import { describe, expect, it } from 'vitest'
import { amount, duration, earlier, later, listed, someOf, wholeNumber } from '../../src/cli/values.ts'

const hour = 3_600_000

describe('the values of flags', () => {
  it('are durations', () => {
    expect(['30m', '12h', '30d', '4w'].map(duration)).toEqual([hour / 2, 12 * hour, 720 * hour, 672 * hour])
    for (const wrong of ['', '5', 'h', '1.5h', '-1h', '1 h', '1y', '100000d'])
      expect(() => duration(wrong), wrong).toThrow('A duration is like 30m, 12h, 30d or 4w.')
  })

  it('are times that are to come, or are over', () => {
    expect(later('2999-01-31')).toBe(Date.UTC(2999, 0, 31))
    expect(earlier('2020-02-29')).toBe(Date.UTC(2020, 1, 29))
    expect((later('1h') - earlier('1h')) / hour).toBeCloseTo(2)
    for (const wrong of ['2027-02-31', '2027-13-01', '2027-1-1', '31.01.2027', 'tomorrow', '99999y', ''])
      expect(() => later(wrong), wrong).toThrow('It must be a day like 2027-01-31, or a duration like 12h, 30d or 4w.')
    expect(() => later('2020-01-31')).toThrow('It must lie in the future.')
    expect(() => earlier('2999-01-31')).toThrow('It must lie in the past.')
  })

  it('are whole numbers in digits; one that is empty is not 0', () => {
    const replicas = wholeNumber(0, 16, 'It must be a whole number.')
    expect(['0', '3', '016'].map(replicas)).toEqual([0, 3, 16])
    for (const wrong of ['', ' ', '-1', '1.5', '1e1', '0x10', ' 3', '17', 'NaN'])
      expect(() => replicas(wrong), wrong).toThrow('It must be a whole number.')
  })

  it('are amounts of the currency, in micro-units', () => {
    expect(['0', '20', '0.50', '0.000001', '12.345678'].map(amount)).toEqual([0, 20e6, 500_000, 1, 12_345_678])
    for (const wrong of ['', '-1', '1e3', '0x10', '1,5', '0.0000001', '2000000000', 'NaN'])
      expect(() => amount(wrong), wrong).toThrow('An amount is a number like 20 or 0.50')
  })

  it('are lists, with commas or word by word', () => {
    expect(listed('b, c,', ['a'])).toEqual(['a', 'b', 'c'])
    const colours = someOf(['red', 'blue'])
    expect(colours('blue,red,blue', ['blue'])).toEqual(['blue', 'red'])
    for (const wrong of ['', 'green', 'red,green']) expect(() => colours(wrong)).toThrow('Allowed are red, blue.')
  })
})
