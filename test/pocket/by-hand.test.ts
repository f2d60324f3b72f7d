import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { judge, readByHand } from './by-hand.ts'

describe('the questions written by hand', () => {
  const { pictures, questions } = readByHand()

  it('are a hundred, five about each of twenty pictures that other programs made', () => {
    expect(pictures).toHaveLength(20)
    for (const [index, { file, by }] of pictures.entries()) {
      expect(existsSync(new URL(`../../${file}`, import.meta.url)), file).toBe(true)
      expect(by).toMatch(/ImageMagick|gnuplot|Tango|Chromium/)
      expect(questions.filter(({ picture }) => picture === index)).toHaveLength(5)
    }
  })

  it.each([
    ['The circle is red.', '\\bred\\b', 'right'],
    ['The circle is blue.', '\\bred\\b', 'wrong'],
    ['I cannot read this text: `oriel pull smolvlm-500m` gets a real model.', '\\bstop\\b', 'declined'],
    ['I only know shapes: for this, `oriel pull smolvlm-500m` gets a real model.', '\\bred\\b', 'declined'],
    ['I only know shapes: for this, `oriel pull smolvlm-500m` gets a real model.', null, 'right'],
    ['The circle is red.', null, 'wrong'],
  ])('judges "%s" by the rule %s: %s', (said, right, verdict) => {
    expect(judge(said, right)).toBe(verdict)
  })
})
