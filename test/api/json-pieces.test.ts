import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jsonPieces } from '../../src/api/json-pieces.ts'

const value = fc.object({ maxDepth: 3, withNullPrototype: false })

describe('JSON in pieces', () => {
  it('is that of JSON.stringify', () => {
    fc.assert(
      fc.property(value, (given) => {
        expect([...jsonPieces(given)].join('')).toBe(JSON.stringify(given))
      }),
    )
  })

  it('has a long text in pieces, which keep its characters whole', () => {
    const given = { text: 'a"\n😀'.repeat(200_000), other: ['b'] }
    const pieces = [...jsonPieces(given)]
    expect(pieces.length).toBeGreaterThan(3)
    expect(pieces.join('')).toBe(JSON.stringify(given))
  })

  it('is one piece without long lists, and small pieces with them', () => {
    expect([...jsonPieces({ a: [1, 2, { b: 'c' }], d: null })]).toHaveLength(1)
    const pieces = [...jsonPieces({ choices: [{ content: Array.from({ length: 10_000 }, () => 'token') }] })]
    expect(pieces.length).toBeGreaterThan(100)
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(2000)
  })
})
