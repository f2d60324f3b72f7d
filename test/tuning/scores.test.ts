import { describe, expect, it } from 'vitest'
import { checkWanted, isRight, judgement, type Score, scoreOf, verdictIn } from '../../src/tuning/evaluation/scores.ts'

const right = (name: string, answer: string, wanted: string): boolean =>
  isRight(scoreOf(name) as Exclude<Score, { kind: 'judge' }>, answer, wanted)

describe('a score', () => {
  it('exact: answers differ in nothing but spaces', () => {
    expect(right('exact', ' A red\n circle. ', 'A red circle.')).toBe(true)
    expect(right('exact', 'A red circle', 'A red circle.')).toBe(false)
    expect(right('exact', 'a red circle.', 'A red circle.')).toBe(false)
    expect(right('exact', 'Ame\u0301lie', 'Amélie')).toBe(true)
  })

  it('contains: the wanted answer is in the answer, in capitals or not', () => {
    expect(right('contains', 'I see A RED  circle here.', 'a red circle')).toBe(true)
    expect(right('contains', 'A red square.', 'a red circle')).toBe(false)
  })

  it('json-field: a field of both answers is equal', () => {
    const wanted = '{"total": {"amount": 12.5, "currency": "EUR"}, "items": ["a", "b"]}'
    expect(right('json-field:total.amount', '```json\n{"total": {"amount": 12.50}}\n```', wanted)).toBe(true)
    expect(right('json-field:total.amount', '{"total": {"amount": "12.5"}}', wanted)).toBe(false)
    expect(right('json-field:items', '{"items": ["a", "b"]}', wanted)).toBe(true)
    expect(right('json-field:items.1', '{"items": ["a", "c"]}', wanted)).toBe(false)
    expect(right('json-field:items.1', 'The second one is b.', wanted)).toBe(false)
    expect(() => checkWanted(scoreOf('json-field:date'), wanted)).toThrow(
      'The wanted answer is not JSON with the field date.',
    )
  })

  it('judge: another model compares the words', () => {
    expect(judgement('Which shape?', 'Round.', 'A circle.')).toContain('Right answer: A circle.')
    expect(verdictIn(' {"correct": true}')).toBe(true)
    expect(verdictIn('```\n{"correct": false}\n```')).toBe(false)
    expect(() => verdictIn('Yes.')).toThrow(/did not answer with/)
  })

  it('of another name is refused', () => {
    for (const name of ['', 'bleu', 'json-field:', 'judge', 'judge:'])
      expect(() => scoreOf(name)).toThrow(`${JSON.stringify(name)} is no score.`)
  })
})
