import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SaidReader, saidIn } from '../../src/api/transcriptions/said.ts'

describe('an answer that is read as it comes', () => {
  it('has the text of the whole, however it is cut', () => {
    const word = fc.constantFrom('language', ' ', ' English', '<asr_text>', '<', 'None', 'One', '\n', ' two', '.', '语')
    fc.assert(
      fc.property(fc.array(word), fc.array(fc.nat(80)), (words, cuts) => {
        const answer = words.join('')
        const reader = new SaidReader()
        const edges = [0, ...cuts.map((cut) => Math.min(cut, answer.length)).toSorted((a, b) => a - b), answer.length]
        const deltas = edges.slice(1).map((to, index) => reader.push(answer.slice(edges[index], to)))
        expect(deltas.join('') + reader.end()).toBe(saidIn(answer).text)
      }),
    )
  })
})
