import { Ajv } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { Type } from 'typebox'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Automaton } from '../../src/language/grammar/automaton.ts'
import { readGrammar } from '../../src/language/grammar/gbnf.ts'
import { type GrammarSource, writeGrammar } from '../../src/language/grammar/json-schema.ts'
import { writeNetwork } from '../../src/language/grammar/network-writer.ts'
import { finished } from '../../src/slices.ts'
import { inputs } from '../support/long.ts'
import pydantic from './pydantic.json' with { type: 'json' }

const ajv = new Ajv2020({ strict: false, allowUnionTypes: true, multipleOfPrecision: 9, logger: false })
formats.default(ajv)

const automatonOf = (source: GrammarSource): Automaton =>
  new Automaton(finished(writeNetwork(readGrammar(writeGrammar(source).grammar.text), 'root', () => -1)), Infinity)

const grammarOf = (schema: unknown): Automaton => automatonOf({ kind: 'json_schema', schema, strict: true })

function allows(automaton: Automaton, text: string): boolean {
  let state: Automaton['start'] | null = automaton.start
  for (const byte of Buffer.from(text)) if (state !== null) state = automaton.step(state, byte)
  return state?.complete ?? false
}

/** Characters that end something: more of them, the longer a text is. */
const closing = [...Buffer.from('"}]')]

/** A text that a grammar allows, chosen byte by byte. @returns undefined if it became too long */
function someText(automaton: Automaton, random: () => number): string | undefined {
  let state = automaton.start
  const bytes: number[] = []
  while (bytes.length < 4000) {
    const nexts = [...Array(256).keys()].filter((byte) => automaton.step(state, byte) !== null)
    if (state.complete && (nexts.length === 0 || random() < 0.5)) return Buffer.from(bytes).toString()
    const ends = random() < bytes.length / 300 ? nexts.filter((byte) => closing.includes(byte)) : []
    const from = ends.length > 0 ? ends : nexts
    const byte = from[Math.floor(random() * from.length)] ?? 0
    bytes.push(byte)
    state = automaton.step(state, byte) ?? state
  }
  return undefined
}

/** Numbers from 0 to 1, the same in each run. */
function numbers(seed: number): () => number {
  let last = seed
  return () => {
    last = (Math.imul(last, 1_664_525) + 1_013_904_223) >>> 0
    return last / 2 ** 32
  }
}

/** Checks texts of a schema's grammar against the schema. */
function check(
  schema: object,
  source: GrammarSource = { kind: 'json_schema', schema, strict: true },
  by: Ajv = ajv,
): void {
  const [automaton, validate, random] = [automatonOf(source), by.compile(schema), numbers(7)]
  let checked = 0
  for (let run = 0; run < inputs(25, 200); run++) {
    const text = someText(automaton, random)
    if (text === undefined) continue
    checked++
    expect(validate(JSON.parse(text)), `${text} ${ajv.errorsText(validate.errors)}`).toBe(true)
  }
  expect(checked).toBeGreaterThan(0)
}

const strict = (properties: object, more: object = {}) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...more,
})

describe('every text of the grammar matches the schema', () => {
  const zods = {
    ...{ int: z.int(), int32: z.int32(), uint32: z.uint32(), float32: z.float32(), float64: z.float64() },
    ...{
      positive: z.int().positive(),
      fraction: z.number().gt(0.25).max(0.95),
      negative: z.number().min(-1.5).lt(-0.125),
    },
    ...{
      cents: z.number().multipleOf(0.01).min(0),
      prices: z.number().positive().multipleOf(0.01),
      fives: z.int().multipleOf(5).min(3).max(99),
      evens: z.int().multipleOf(2),
    },
    ...{ email: z.email(), url: z.url().max(2083), uuid: z.uuid(), date: z.iso.date(), time: z.iso.time() },
    ...{ moment: z.iso.datetime(), duration: z.iso.duration(), ipv4: z.ipv4(), ipv6: z.ipv6(), cidr: z.cidrv4() },
    ...{ base64: z.base64(), jwt: z.jwt(), ulid: z.ulid(), host: z.hostname(), e164: z.e164() },
    ...{
      slug: z
        .string()
        .regex(/^[a-z-]+$/)
        .min(2)
        .max(10),
      includes: z.string().includes('x'),
      long: z.string().max(2083),
    },
    ...{ starts: z.string().startsWith('ab').min(4).max(9), ends: z.string().endsWith('z').min(3) },
    record: z.record(z.string(), z.number()),
    closedRecord: z.record(z.enum(['a', 'b']), z.boolean()),
    partialRecord: z.partialRecord(z.enum(['a', 'b']), z.boolean()),
    patternRecord: z.record(z.string().regex(/^[a-z]{2}$/), z.int()),
    tuple: z.tuple([z.string(), z.int()]),
    openTuple: z.tuple([z.boolean()], z.int()),
    union: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('a'), size: z.int() }),
      z.object({ kind: z.literal('b') }),
    ]),
    intersection: z.intersection(z.object({ a: z.boolean() }), z.object({ b: z.null() })),
    optional: z.object({ a: z.string().optional(), b: z.int().default(3), c: z.boolean().nullish() }),
    never: z.object({ a: z.never().optional(), b: z.boolean() }),
    loose: z.looseObject({ a: z.boolean() }),
    catchall: z.object({ ab: z.boolean() }).catchall(z.int()),
    json: z.json(),
    node: z.object({
      value: z.int(),
      get next() {
        return z.object({ value: z.boolean() }).nullable()
      },
    }),
  }
  it('also where parts exclude each other: what no type is left for is no way to answer', () => {
    const either = (...types: string[]) => ({ anyOf: types.map((type) => ({ type })) })
    const both = { allOf: [either('string', 'integer'), either('integer', 'boolean')] }
    check(both)
    expect([allows(grammarOf(both), '7'), allows(grammarOf(both), '{"x":null}')]).toEqual([true, false])
    check({ ...strict({ a: { type: 'integer' } }), anyOf: [{ required: ['a'] }, { type: 'null' }] })
  })

  it('also where unevaluatedProperties closes an object that other schemas give members', () => {
    const base = { type: 'object', properties: { id: { type: 'integer' } }, required: ['id'] }
    const schema = {
      $defs: { base },
      allOf: [{ $ref: '#/$defs/base' }],
      properties: { name: { enum: ['a'] } },
      required: ['name'],
      unevaluatedProperties: false,
    }
    check(schema)
    expect(someText(grammarOf(schema), numbers(1))).toMatch(/"id"/)
  })

  it('also in its length: an escaped half of a character is none', () => {
    const grammar = grammarOf({ type: 'string', minLength: 2, maxLength: 2 })
    const texts = [String.raw`"\ud83d\ude00"`, String.raw`"\u00e9\u0041"`, '"é😀"']
    expect(texts.map((text) => allows(grammar, text))).toEqual([false, true, true])
  })

  it.each(Object.entries(zods))('zod: %s', (_, schema) => check(z.toJSONSchema(schema)))

  it('zod: in draft 7 and in the form of OpenAPI', () => {
    const schema = z.object({ b: z.boolean().nullable(), c: z.int().gt(3), d: z.enum(['x', 'y']).nullable() })
    for (const target of ['draft-7', 'draft-4', 'openapi-3.0'] as const) {
      const source = { kind: 'json_schema', schema: z.toJSONSchema(schema, { target }), strict: true } as const
      check(z.toJSONSchema(schema), source)
    }
  })

  it('pydantic: every type, as far as a grammar can hold to it', () => {
    const { ignored } = writeGrammar({ kind: 'json_schema', schema: pydantic })
    expect(ignored.map((path) => path.join('.'))).toEqual(
      ['h.uniqueItems', 'x.multipleOf', 'aa.uniqueItems'].map((place) => `properties.${place}`),
    )
    const { h: _, aa: __, x: ___, ...properties } = pydantic.properties
    check({ ...pydantic, properties, required: Object.keys(properties) })
  })

  it('TypeBox', () => {
    const schema = Type.Object({
      text: Type.String({ minLength: 2, maxLength: 4 }),
      choice: Type.Union([Type.Literal('a'), Type.Literal(3), Type.Null()]),
      list: Type.Array(Type.Integer({ minimum: 0 }), { minItems: 1, maxItems: 3 }),
      pair: Type.Tuple([Type.Boolean(), Type.Number()]),
      map: Type.Record(Type.String(), Type.Boolean()),
      either: Type.Intersect([Type.Object({ x: Type.Boolean() }), Type.Object({ y: Type.Null() })]),
      partial: Type.Partial(Type.Object({ z: Type.Boolean() })),
    })
    check(schema, undefined, new Ajv({ strict: false }))
  })

  const others: [string, object][] = [
    [
      "OpenAI's example of steps",
      strict({
        steps: { type: 'array', items: strict({ explanation: { type: 'string' }, output: { type: 'string' } }) },
        final_answer: { type: 'string' },
      }),
    ],
    [
      "OpenAI's example of a linked list",
      {
        ...strict({ list: { $ref: '#/$defs/node' } }),
        $defs: {
          node: strict({ value: { type: 'number' }, next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } }),
        },
      },
    ],
    [
      "OpenAI's example of a user interface, which refers to its root",
      strict({
        type: { type: 'string', enum: ['div', 'button'] },
        children: { type: 'array', items: { $ref: '#' } },
        attributes: { type: 'array', items: strict({ name: { type: 'string' } }) },
      }),
    ],
    [
      'a reference with keywords beside it, to itself',
      { type: ['object', 'null'], properties: { a: { $ref: '#', type: 'object' } }, additionalProperties: false },
    ],
    ['types by their keywords', { minimum: 3 }],
    ['types by keywords of two of them', { minLength: 2, minItems: 1 }],
    ['an enum that a type narrows', { type: ['string', 'null'], enum: ['a', 1, null, true] }],
    [
      'allOf of bounds',
      {
        allOf: [
          { type: 'integer', minimum: 3 },
          { type: 'number', minimum: 1, maximum: 9 },
        ],
      },
    ],
    [
      'allOf that closes an object',
      { allOf: [strict({ a: { type: 'boolean' } }), { properties: { b: { type: 'null' } } }] },
    ],
    [
      'allOf of the same property',
      { allOf: [strict({ a: { type: 'number' } }), { properties: { a: { minimum: 2, maximum: 4 } } }] },
    ],
    [
      'two lists of alternatives',
      {
        type: 'integer',
        allOf: [{ anyOf: [{ maximum: 1 }, { minimum: 5 }] }, { anyOf: [{ minimum: 0, maximum: 9 }] }],
      },
    ],
    ['alternatives beside properties', { ...strict({ k: { const: 1 } }), anyOf: [{ required: ['k'] }] }],
    ['oneOf by type', { oneOf: [{ type: 'string', maxLength: 2 }, { type: 'integer' }, { type: 'object' }] }],
    ['not a type', { not: { type: ['object', 'array', 'string'] } }],
    ['not some texts', { type: 'string', not: { enum: ['no', 'never'] } }],
    [
      'unique items of an enum',
      { type: 'array', items: { enum: ['a', 'b', 'c', 'd'] }, uniqueItems: true, minItems: 2, maxItems: 3 },
    ],
    ['at most one item', { type: 'array', items: { type: 'boolean' }, uniqueItems: true, maxItems: 1 }],
    [
      'names by a pattern',
      { type: 'object', patternProperties: { '^x-': { type: 'boolean' } }, additionalProperties: false },
    ],
    [
      'names of a length',
      { type: 'object', propertyNames: { minLength: 2, maxLength: 3 }, additionalProperties: { type: 'null' } },
    ],
    [
      'a map of one to three',
      { type: 'object', additionalProperties: { type: 'boolean' }, minProperties: 1, maxProperties: 3 },
    ],
    ['an item that cannot be', { type: 'array', prefixItems: [{ type: 'null' }, false, { type: 'null' }] }],
    [
      'required members that are not listed',
      {
        type: 'object',
        properties: { a: { type: 'null' } },
        required: ['b'],
        additionalProperties: { type: 'boolean' },
      },
    ],
    [
      'optional members before and after a needed one',
      {
        type: 'object',
        properties: { a: { const: 1 }, b: { const: 2 }, c: { const: 3 }, d: { const: 4 } },
        required: ['c'],
        additionalProperties: false,
      },
    ],
  ]
  it.each(others)('%s', (_, schema) => check(schema))
})

describe('a schema', () => {
  it.each<[schema: unknown, yes: unknown[], no: unknown[]]>([
    [
      { type: 'integer', minimum: -9007199254740991, maximum: 9007199254740991 },
      [0, 9007199254740991, -9007199254740991],
      [9007199254740992, 1.5],
    ],
    [{ type: 'number', minimum: 0.1, maximum: 0.25 }, [0.1, 0.2, 0.25, 0.10001], [0.09, 0.251, 0.3, 1]],
    [{ type: 'string', maxLength: 2083 }, ['', 'a'.repeat(2083)], ['a'.repeat(2084)]],
    [{ enum: ['a', 'ab', 'abc', 'b'] }, ['a', 'ab', 'abc', 'b'], ['', 'abcd', 'c']],
    [{ type: 'string', format: 'no-such-format', title: 'T', default: 3, 'x-order': 1, examples: [[]] }, ['a'], [1]],
    [
      { type: 'array', items: [{ type: 'null' }, { type: 'boolean' }], additionalItems: false },
      [[], [null], [null, true]],
      [[true], [null, true, 1]],
    ],
    [{ type: 'object', properties: { a: {} } }, [{}, { a: 1 }], [{ b: 1 }]],
    [{ $defs: { 'a/b~c%': { type: 'null' } }, $ref: '#/$defs/a~1b~0c%25' }, [null], [1]],
  ])('%j allows some values and no others', (schema, yes, no) => {
    const automaton = grammarOf(schema)
    for (const value of yes) expect(allows(automaton, JSON.stringify(value)), JSON.stringify(value)).toBe(true)
    for (const value of no) expect(allows(automaton, JSON.stringify(value)), JSON.stringify(value)).toBe(false)
  })

  it('may have names that mean something in JavaScript', () => {
    const text = '{"__proto__":true,"constructor":null}'
    const properties: unknown = JSON.parse('{"__proto__":{"type":"boolean"},"constructor":{"type":"null"}}')
    const automaton = grammarOf({ properties, required: ['__proto__', 'constructor'], additionalProperties: false })
    expect(allows(automaton, text)).toBe(true)
    expect(allows(automaton, text.replace('true', '1'))).toBe(false)
    expect(allows(automaton, '{"constructor":null}')).toBe(false)
  })

  const beyond: [string, object, string][] = [
    ['uniqueItems', { type: 'array', items: { type: 'string' }, uniqueItems: true }, 'uniqueItems'],
    ['multipleOf', { properties: { a: { type: 'number', multipleOf: 0.3 } } }, 'properties.a.multipleOf'],
    ['not', { items: { not: { minimum: 3 } } }, 'items.not'],
    ['if', { if: { minimum: 3 }, else: { maximum: 4 } }, 'if'],
    ['contains', { type: 'array', contains: { type: 'null' } }, 'contains'],
    ['dependentRequired', { properties: { a: {} }, dependentRequired: { a: ['b'] } }, 'dependentRequired'],
    ['minProperties', { properties: { a: {}, b: {} }, minProperties: 2 }, 'minProperties'],
    ['pattern', { type: 'string', pattern: '^(?=a)' }, 'pattern'],
    ['maxLength', { type: 'string', pattern: '^(ab|cd)+$', maxLength: 5 }, 'maxLength'],
    ['oneOf', { oneOf: [{ type: 'number' }, { type: 'integer' }] }, 'oneOf'],
    ['patternProperties', { properties: { a: {} }, patternProperties: { b: {} } }, 'patternProperties'],
    ['pattern', { type: 'string', pattern: `^${'(a|b)'.repeat(100_000)}$` }, 'pattern'],
    ['pattern', { allOf: [{ pattern: '^a' }, { pattern: 'b$' }] }, 'allOf.1.pattern'],
  ]
  it.each(beyond)(
    'with %s that cannot be held to is refused if strict, and otherwise named',
    (keyword, schema, place) => {
      expect(writeGrammar({ kind: 'json_schema', schema }).ignored.map((path) => path.join('.'))).toEqual([place])
      expect(() => grammarOf(schema)).toThrow(`has ${keyword}, which cannot be enforced`)
    },
  )

  it.each<[string, unknown, RegExp]>([
    ['a reference elsewhere', { $ref: 'https://example.com/x' }, /\$ref to another document/],
    ['a reference to nothing', { $ref: '#/$defs/x' }, /\$ref to a place that does not exist/],
    ['a reference that is not encoded', { $ref: '#/%' }, /\$ref to a place that does not exist/],
    [
      'an unknown type',
      { type: 'object', properties: { a: { type: 'text' } } },
      /\$\.properties\.a\.type is not valid/,
    ],
    ['an impossible number', { type: 'integer', minimum: 2, maximum: 1 }, /allows no number/],
    ['a number that no double is', { type: 'integer', minimum: 1e17 }, /more than 16 digits/],
    ['nothing', { not: {} }, /\$ allows nothing/],
    [
      'a member that is needed and impossible',
      { properties: { a: false }, required: ['a'] },
      /\$\.properties\.a is required and allows nothing/,
    ],
    [
      'a circle',
      { $defs: { a: { allOf: [{ $ref: '#/$defs/a' }] } }, $ref: '#/$defs/a' },
      /refers to itself with nothing in between/,
    ],
    [
      'a circle of alternatives',
      { anyOf: [{ type: 'null' }, { $ref: '#' }] },
      /refers to itself with nothing in between/,
    ],
    ['arrays in arrays', nested(5000, (items) => ({ type: 'array', items })), /nested more than 128 deep/],
    ['a constant', { const: nested(20_000, (inner) => [inner]) }, /nested more than 128 deep/],
    ['an annotation', { default: nested(100_000, (a) => ({ a })) }, /nested more than 128 deep/],
    [
      'twenty thousand members',
      { properties: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`p${i}`, {}])) },
      /more than 20000 objects/,
    ],
    [
      'a long name',
      { properties: { ['a'.repeat(100_000)]: {} }, additionalProperties: true },
      /more than 500 characters/,
    ],
    ['very many alternatives by references', doubling(30), /is too large/],
    ['a million values', { enum: Array.from({ length: 1_000_000 }, (_, i) => i) }, /enum has more than 30000 values/],
    [
      'large parts that are merged again and again',
      {
        $defs: { a: large('a'), b: large('b') },
        allOf: Array.from({ length: 1000 }, (_, i) => ref(i % 2 ? 'a' : 'b')),
      },
      /is too large/,
    ],
    [
      'patterns that take long to read',
      { properties: members(2000, (i) => ({ type: 'string', pattern: `^${'[a-z]?'.repeat(50)}${i}$` })) },
      /is too large/,
    ],
    ['a text of megabytes', { enum: ['x'.repeat(15_000_000)] }, /more than 1000000 characters together/],
    [
      'a description of megabytes',
      nested(60, (a) => ({ ...ref('x'), properties: { a }, description: 'x'.repeat(200_000) })),
      /more than 1000000 characters together/,
    ],
    [
      'a required name that is repeated, whose value is a long text',
      {
        oneOf: [
          { type: 'object', required: Array(20_000).fill('a'), properties: { a: { const: long } } },
          { type: 'object', required: Array(20_000).fill('a'), properties: { a: { const: 'b' } } },
        ],
      },
      /is too large/,
    ],
    [
      'alternatives that refer to a long text',
      { $defs: { x: { enum: [long] } }, oneOf: refs(128, ['x']) },
      /is too large/,
    ],
    [
      'alternatives that refer to an object with a long text',
      {
        $defs: { x: { type: 'object', required: ['a'], properties: { a: { const: long } } } },
        oneOf: refs(128, ['x']),
      },
      /is too large/,
    ],
    [
      'long texts that are merged again and again',
      { $defs: { a: { enum: [long, 'a'] }, b: { enum: [long, 'b'] } }, allOf: refs(2800, ['a', 'b']) },
      /is too large/,
    ],
    [
      'thousands of members that are compared with one that has as many',
      {
        allOf: [
          { properties: members(7000, () => ({})) },
          { additionalProperties: members(7000, (i) => ({ default: i })) },
        ],
      },
      /is too large/,
    ],
    [
      'a large part that is merged at each level',
      {
        $defs: { x: {} },
        ...nested(60, (a) => ({ ...ref('x'), properties: { a, b: { title: long.slice(0, 9000) } } })),
      },
      /is too large/,
    ],
    [
      'a long pattern above much that is ignored',
      {
        patternProperties: {
          [long]: { properties: members(2500, () => ({ type: 'array', items: {}, uniqueItems: true })) },
        },
      },
      /is too large/,
    ],
  ])('with %s is refused', (_, schema, says) => {
    expect(() => writeGrammar({ kind: 'json_schema', schema })).toThrow(says)
  })

  it('is read up to its first fault', () => {
    const schema = { required: Array(30_000).fill(0) }
    const schemas = Object.fromEntries(
      Array.from({ length: 60 }, (_, i) => [`t${i}`, { schema: { ...schema }, otherwise: 'object' as const }]),
    )
    expect(writeGrammar({ kind: 'composed', text: 'root ::= t0', schemas, texts: {} }).ignored[0]).toEqual(['t0'])
    expect(() => writeGrammar({ kind: 'json_schema', schema })).toThrow(/\$\.required\.0 is not valid/)
  })

  it('may have long texts, where they are written once', () => {
    const text = 'x'.repeat(20_000)
    const automaton = grammarOf({
      description: text.repeat(10),
      oneOf: [
        { type: 'object', required: ['a', 'a'], properties: { a: { const: text } }, additionalProperties: false },
        { type: 'object', required: ['a'], properties: { a: { const: 'b' } }, additionalProperties: false },
      ],
    })
    expect(allows(automaton, JSON.stringify({ a: text }))).toBe(true)
    expect(allows(automaton, JSON.stringify({ a: `${text}x` }))).toBe(false)
  })

  it('is refused with the place and the reason as data', () => {
    const schema = { anyOf: [{}, { properties: { a: { type: 'text' } } }] }
    expect(() => writeGrammar({ kind: 'json_schema', schema })).toThrow(
      expect.objectContaining({
        param: 'grammar',
        code: 'invalid_json_schema',
        schemaFault: {
          path: ['anyOf', '1', 'properties', 'a', 'type'].map((part) => (part === '1' ? 1 : part)),
          reason: expect.stringMatching(/^is not valid/),
        },
      }),
    )
  })

  it('may be one of several in a composed grammar, and give way to what is allowed otherwise', () => {
    const source: GrammarSource = {
      kind: 'composed',
      text: 'root ::= a "," b "," c',
      schemas: {
        a: { schema: { $ref: '#/$defs/x', $defs: { x: { type: 'null' } } } },
        whole: { schema: { $defs: { x: { type: 'boolean' } }, properties: { p: { $ref: '#/$defs/x' } } } },
        b: { of: 'whole', at: ['properties', 'p'] },
        c: { schema: { type: 'no-type' }, otherwise: 'object' },
      },
      texts: {},
    }
    expect(writeGrammar(source).ignored).toEqual([['c']])
    expect(allows(automatonOf(source), 'null,true,{"a":1}')).toBe(true)
    expect(allows(automatonOf(source), 'true,true,{}')).toBe(false)
  })
})

const ref = (name: string) => ({ $ref: `#/$defs/${name}` })

/** References to some definitions in turn. */
const refs = (count: number, names: readonly string[]) =>
  Array.from({ length: count }, (_, i) => ref(names[i % names.length] ?? ''))

/** Nearly all that a schema may have. */
const long = 'x'.repeat(400_000)

const members = (count: number, of: (index: number) => object) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, of(i)]))

const large = (title: string) => ({ properties: members(5000, () => ({ title })) })

function nested(depth: number, around: (inner: object) => object): object {
  let schema: object = {}
  for (let i = 0; i < depth; i++) schema = around(schema)
  return schema
}

/** Definitions of which each names the next one twice. */
const doubling = (count: number) => ({
  $ref: '#/$defs/a0',
  $defs: Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      const next = { allOf: [{ title: 'x' }, { $ref: `#/$defs/a${i + 1}`, description: String(i) }] }
      return [`a${i}`, i === count - 1 ? { type: 'null' } : { anyOf: [next, { ...next, maximum: i }] }]
    }),
  ),
})
