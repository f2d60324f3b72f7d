import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Engine } from '../../src/engine/index.ts'
import { integersBetween, numbersBetween } from '../../src/language/grammar/schema/numbers.ts'
import { patternRule } from '../../src/language/grammar/schema/pattern.ts'
import { answerOf, ask, greedy, requestOf, startPocket } from '../support/pocket.ts'

const schemas: [string, object][] = [
  ['an empty schema', {}],
  ['a strict object', object({ name: { type: 'string', maxLength: 12 }, age: { type: 'integer', minimum: 0 } })],
  [
    'optional members, one of them needed',
    {
      ...object({ a: { type: 'boolean' }, b: { type: 'null' }, c: { const: 'x"\\y' }, d: { enum: [1, 'two', null] } }),
      required: ['c'],
    },
  ],
  ['nullable types', object({ x: { type: ['integer', 'null'] }, y: { anyOf: [{ type: 'boolean' }, { const: 7 }] } })],
  ['bounded arrays', { type: 'array', items: { type: 'boolean' }, minItems: 2, maxItems: 4 }],
  ['no more than one item', { type: 'array', items: { type: 'null' }, maxItems: 1 }],
  ['tuples', { type: 'array', prefixItems: [{ const: 1 }, { const: 2 }], items: false, minItems: 1 }],
  ['tuples and more', { type: 'array', prefixItems: [{ const: 1 }], items: { type: 'boolean' }, maxItems: 3 }],
  ['numbers between', { type: 'number', minimum: -2, exclusiveMaximum: 13 }],
  ['whole numbers between', { type: 'integer', exclusiveMinimum: -120, maximum: 45 }],
  ['patterns', object({ id: { type: 'string', pattern: '^[A-F]{2}-\\d{2,3}("|\\\\)$' } })],
  ['formats', object({ day: { type: 'string', format: 'date' }, id: { type: 'string', format: 'uuid' } })],
  [
    'references to itself',
    {
      $ref: '#/$defs/tree',
      $defs: { tree: object({ left: { anyOf: [{ $ref: '#/$defs/tree' }, { type: 'null' }] }, value: { const: 0 } }) },
    },
  ],
  ['other members', { type: 'object', properties: { ab: { const: 1 } }, additionalProperties: { type: 'boolean' } }],
  ['anyOf beside members', { ...object({ k: { const: 1 } }), description: 'd', anyOf: [{ required: ['k'] }] }],
]

function object(properties: object) {
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false }
}

describe('answers under the grammar of a JSON Schema', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await startPocket()
  })
  afterAll(() => engine.close())

  // At a high temperature the answer depends on the grammar alone.
  it.each(schemas)('match the schema: %s', async (_, schema) => {
    const ajv = new Ajv2020({ allowUnionTypes: true, strictTypes: false, strictRequired: false, strictTuples: false })
    formats.default(ajv)
    const validate = ajv.compile(schema)
    const answers = await answerOf(
      engine,
      requestOf(ask('Say something.'), {
        n: 8,
        maxTokens: 300,
        sampling: { ...greedy, temperature: 2, seed: 3, grammar: { kind: 'json_schema', schema } },
      }),
    )
    answers.texts.forEach((text, i) => {
      if (answers.reasons[i] === 'length') return
      expect(validate(JSON.parse(text)), text).toBe(true)
    })
    expect(answers.reasons).toContain('stop')
  })

  it('match all parts of a large object', async () => {
    const schema = {
      allOf: [
        { type: 'object', properties: { a: { const: 1 } }, required: ['a'] },
        { properties: { b: { const: 2 } }, required: ['b'] },
      ],
    }
    const { texts } = await answerOf(
      engine,
      requestOf(ask('Say something.'), {
        maxTokens: 400,
        sampling: { ...greedy, grammar: { kind: 'json_schema', schema } },
      }),
    )
    expect(JSON.parse(texts[0] ?? '')).toEqual({ a: 1, b: 2 })
  })
})

/** Converts GBNF without rule names to a regular expression. */
const asRegExp = (rule: string): RegExp =>
  new RegExp(
    `^(?:${rule.replace(/"((?:[^"\\]|\\.)*)"|\[(?:[^\]\\]|\\.)*\]|\s+/g, (piece, text?: string) => {
      if (text !== undefined)
        return `(?:${(JSON.parse(`"${text}"`) as string).replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')})`
      return piece.startsWith('[') ? piece.replace(/\\U0*([0-9A-F]+)/g, '\\u{$1}') : ''
    })})$`,
    'u',
  )

describe('numbers between bounds', () => {
  const bound = fc.integer({ min: -3000, max: 3000 })
  const fraction = fc
    .tuple(fc.integer({ min: -3000, max: 3000 }), fc.constantFrom(1, 10, 100, 1000))
    .map(([a, b]) => a / b)

  it('match exactly the whole numbers between them', () => {
    fc.assert(
      fc.property(bound, bound, fc.array(bound), (a, b, others) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)]
        const rule = asRegExp(integersBetween(low, high))
        for (const n of [low - 1, low, low + 1, high - 1, high, high + 1, ...others])
          expect(rule.test(String(n)), `${n} in ${low} to ${high}`).toBe(low <= n && n <= high)
        const [from, to] = [asRegExp(integersBetween(low, Infinity)), asRegExp(integersBetween(-Infinity, low))]
        for (const n of others) expect([from.test(String(n)), to.test(String(n))]).toEqual([n >= low, n <= low])
      }),
    )
  })

  it('match exactly the fractions between them', () => {
    const value = fc.integer({ min: -40_000, max: 40_000 }).map((n) => n / 100)
    fc.assert(
      fc.property(fraction, fraction, fc.boolean(), fc.boolean(), fc.array(value), (a, b, opens, closes, others) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)]
        if (low === high) return
        const rule = asRegExp(numbersBetween({ low, opens, high, closes }) ?? '[^]{99}')
        for (const n of [low, low + 0.1, low - 0.1, high, high + 0.1, high - 0.1, ...others].map((n) =>
          Number(n.toFixed(3)),
        )) {
          const inside = (opens ? low < n : low <= n) && (closes ? n < high : n <= high)
          expect(rule.test(String(n)), `${n} in ${low} to ${high}`).toBe(inside)
        }
      }),
    )
  })
})

describe('patterns', () => {
  const texts = [
    '',
    'a',
    'ab',
    'abc',
    'A-9',
    '9',
    '99',
    'a.b',
    'foo',
    'bar',
    'foobar',
    ' ',
    'é',
    '😀',
    '{',
    'a1_',
    '\t',
    '"',
    'a\\',
    'a\nb',
    '\u00a0',
    '\u3000',
  ]
  it.each([
    '^a?b*c+$',
    '^(foo|bar)+$',
    '^[^a-z]$',
    '^\\w+$',
    '^\\d{1,2}$',
    '^a\\.b$',
    '^[A-Z]-\\d$',
    '^\\S$',
    '^\\s?$|^\\u00a0$|^\\u3000$',
    '^.{3}$',
    '^[^\\s]+$',
    '^[\\w.-]{2,}$',
    '^[\\\\"a]+$',
    '^(?:a|b)(c)?$',
    '^$',
    '^$|^a.*',
    '^ab$|o$',
    '^(?<letters>[a-z]+)$',
    'b',
  ])('%s allows what it allows as a regular expression', (pattern) => {
    const read = patternRule(pattern)
    if (read === undefined) throw new Error('not read')
    const allowed = asRegExp(read.rule.replace(/\bchar\b/g, '[^]'))
    for (const text of texts) {
      const matches = new RegExp(pattern, 'u').test(text)
      expect(allowed.test(JSON.stringify(text).slice(1, -1)), text).toBe(matches)
      if (matches) expect(read.least <= [...text].length && [...text].length <= read.most, text).toBe(true)
    }
  })

  it.each([
    ...['^[\\d-z]$', '^[\\w-z]$', '^[!-\\d]$', '^[a-\\D]$', '^[\\d--z]$', '^[\\d-]$', '^[-\\d]$', '^[^\\d-z]$'],
    ...['^[\\x30-\\x39]$', '^[a-c-e]$'],
  ])('%s has a range only between two characters', (pattern) => {
    const allowed = asRegExp(patternRule(pattern)?.rule ?? '')
    for (let code = 32; code < 127; code++) {
      const text = String.fromCharCode(code)
      expect(allowed.test(JSON.stringify(text).slice(1, -1)), text).toBe(new RegExp(pattern).test(text))
    }
  })

  it.each(['(?=a)', '(?<!a)b', '\\bx', '(a)\\1', '[b-a]', 'a{3,2}', '(', 'a**', '\\p{L}'])(
    '%s is not read',
    (pattern) => {
      expect(patternRule(pattern)).toBeUndefined()
    },
  )
})
