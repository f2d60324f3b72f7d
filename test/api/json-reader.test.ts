import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { JsonReader } from '../../src/api/body/json-reader.ts'
import { inputs } from '../support/long.ts'

/** Reads a text that arrives in chunks. @param blockBytes small, so that a short text has many blocks */
function read(text: Buffer, cuts: readonly number[] = [], blockBytes?: number): unknown {
  const reader = new JsonReader(blockBytes)
  const places = [0, ...cuts.filter((cut) => cut < text.length).toSorted((a, b) => a - b), text.length]
  for (const [index, place] of places.slice(1).entries()) reader.push(text.subarray(places[index], place))
  return reader.end()
}

const outcome = (work: () => unknown): unknown => {
  try {
    return { value: work() }
  } catch {
    return 'refused'
  }
}
const parsed = (text: string) => (/^[ \t\r\n]*$/.test(text) ? undefined : JSON.parse(text))

/** Names and strings with what is difficult: escapes, halves of characters, `__proto__`, numbers as names. */
const strings = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom('__proto__', '7', '', '\\', '"', '\ud83d', '😀'.repeat(9), '\\"'.repeat(20), 'x'.repeat(90)),
)
const { json } = fc.letrec((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    strings,
    fc.double({ noNaN: true }),
    fc.constantFrom(true, false, null, 0, -1),
    fc.array(tie('json'), { maxLength: 9 }),
    fc.dictionary(strings, tie('json'), { maxKeys: 9 }),
  ),
}))
const spaces = fc.constantFrom(undefined, ' ', '\t', 3, 10)
const cuts = fc.array(fc.nat(3000), { maxLength: 60 })
const blocks = fc.integer({ min: 16, max: 200 })

describe('JSON that arrives in chunks', () => {
  it('is what JSON.parse makes of the whole, wherever it is cut', () => {
    fc.assert(
      fc.property(json, spaces, fc.boolean(), cuts, blocks, (value, space, escaped, places, blockBytes) => {
        const plain = JSON.stringify(value, null, space)
        const text = escaped
          ? plain.replace(/[^\x20-\x7e\s]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
          : plain
        // A name may not be longer than a quarter of a block.
        const most = Math.max(
          blockBytes,
          4 * Math.max(0, ...[...text.matchAll(/"(?:[^"\\]|\\.)*"\s*:/g)].map(([name]) => Buffer.byteLength(name))),
        )
        expect(read(Buffer.from(text), places, most)).toEqual(JSON.parse(Buffer.from(text).toString()))
      }),
      { numRuns: inputs(500, 20_000) },
    )
  })

  it('leaves the chunks to who gives them', () => {
    const reader = new JsonReader()
    const chunk = Buffer.alloc(1)
    for (const byte of Buffer.from('{"a":[1,2]}')) {
      chunk[0] = byte
      reader.push(chunk)
    }
    expect(reader.end()).toEqual({ a: [1, 2] })
  })

  it('may have white space without end', () => {
    const spaces = ' \n\t\r'.repeat(5000)
    expect(
      read(Buffer.from(`${spaces}{${spaces}"a"${spaces}:${spaces}[1${spaces},2]${spaces}}${spaces}`), [], 100),
    ).toEqual({ a: [1, 2] })
    expect(() => read(Buffer.from(`[1${spaces}2]`), [], 100)).toThrow('not valid JSON')
    expect(() => read(Buffer.from('1'.repeat(20_000)), [], 100)).toThrow('not valid JSON')
  })

  it('is refused if and only if JSON.parse refuses the whole', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.constantFrom(...',:[]{}"\\ 1e-tn', '')), {
      minLength: 1,
      maxLength: 3,
    })
    fc.assert(
      fc.property(json, edits, cuts, fc.integer({ min: 400, max: 600 }), (value, changes, places, blockBytes) => {
        const text = [...JSON.stringify(value)]
        for (const [at, by] of changes) text.splice(at % text.length, at % 2, by)
        const changed = Buffer.from(text.join(''))
        expect(outcome(() => read(changed, places, blockBytes))).toEqual(outcome(() => parsed(changed.toString())))
      }),
      { numRuns: inputs(1000, 50_000) },
    )
  })
})
