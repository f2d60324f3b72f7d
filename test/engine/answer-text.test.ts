import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AnswerText } from '../../src/engine/answer-text.ts'

const encoder = new TextEncoder()

function say(
  text: string,
  stop: string[],
  cut: (length: number) => number,
): { said: string; stopped: boolean; parts: string[] } {
  const answer = new AnswerText(stop)
  const bytes = encoder.encode(text)
  const parts: string[] = []
  for (let at = 0; at < bytes.length && !answer.stopped; ) {
    const to = Math.min(bytes.length, at + Math.max(1, cut(bytes.length - at)))
    parts.push(answer.push(bytes.subarray(at, to)))
    at = to
  }
  parts.push(answer.finish())
  return { said: parts.join(''), stopped: answer.stopped, parts }
}

describe('the text of an answer', () => {
  it('contains whole characters only', () => {
    const { said, parts } = say('naïve 🙂 Ωmega', [], () => 1)
    expect(said).toBe('naïve 🙂 Ωmega')
    expect(parts.join('|')).not.toContain('\ufffd')
  })

  it('ends before a stop string, even one that arrives in pieces', () => {
    expect(say('one END two', ['END'], () => 1)).toMatchObject({ said: 'one ', stopped: true })
    expect(say('one EN two', ['END'], () => 1)).toMatchObject({ said: 'one EN two', stopped: false })
  })

  it('does not end before it may', () => {
    const answer = new AnswerText(['END'])
    const parts = ['one END', ' two', ' END'].map((part, at) => answer.push(encoder.encode(part), at > 1))
    expect([...parts, answer.stopped]).toEqual(['one END', ' two', ' ', true])
  })

  it('has the stop string that ends it, if that is wanted', () => {
    const answer = new AnswerText(['END'], true)
    const parts = ['one E', 'ND two'].map((part) => answer.push(encoder.encode(part)))
    expect([...parts, answer.finish()]).toEqual(['one ', 'END', ''])
  })

  it('contains everything up to the first stop string, however the bytes are split', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'é', '🙂', '\n'), maxLength: 30 })
    fc.assert(
      fc.property(
        text,
        fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'é', '🙂'), minLength: 1, maxLength: 3 }), {
          maxLength: 3,
        }),
        fc.array(fc.integer({ min: 1, max: 5 })),
        (whole, stop, cuts) => {
          let turn = 0
          const { said, stopped } = say(whole, stop, () => cuts[turn++ % (cuts.length || 1)] ?? 1)
          const ends = stop.map((part) => whole.indexOf(part)).filter((at) => at >= 0)
          // Bytes of one push are read together: of two stop strings that end in it, the one that begins first counts.
          if (ends.length === 0) expect(said).toBe(whole)
          expect(stopped).toBe(ends.length > 0)
          expect(whole.startsWith(said)).toBe(true)
          for (const part of stop) expect(said).not.toContain(part)
        },
      ),
    )
  })
})
