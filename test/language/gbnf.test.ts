import { describe, expect, it } from 'vitest'
import { checkGrammar, jsonSchemaGrammar } from '../../src/language/index.ts'

const chain = (rules: number, body: (next: string) => string): string =>
  [
    ...Array.from({ length: rules }, (_, i) => `r${i} ::= ${body(`r${i + 1}`)}`),
    `r${rules} ::= "a"`,
    'root ::= r0',
  ].join('\n')

describe('a grammar is refused before llama.cpp sees it', () => {
  const hostile: [what: string, grammar: string, says: RegExp][] = [
    ['forty rules of two ways each', chain(40, (next) => `${next} | ${next}`), /more than 10000 ways/],
    ['ten thousand brackets', `root ::= ${'('.repeat(10_000)}"a"${')'.repeat(10_000)}`, /more than 200 brackets/],
    ['a chain of ten thousand rules', chain(10_000, (next) => next), /more than 1000 rules/],
    ['a rule that begins with itself', 'root ::= root "a" | "b"', /root may begin with itself/],
    ['the same behind what may be empty', 'root ::= c root "x" | "y"\nc ::= b?\nb ::= "b"', /left-recursive/],
    ['a hundred parts that may be empty', `root ::= ${'"a"? '.repeat(100)}`, /more than 64 parts in a row/],
    ['the same by repetition', 'root ::= "x" ("a"? "b"?){80}', /more than 64 parts in a row/],
    ['megabytes', `root ::= "${'a'.repeat(300_000)}"`, /200000 are allowed/],
    [
      'a pattern of a schema',
      jsonSchemaGrammar({ type: 'string', pattern: `^${'(a?b?)'.repeat(160)}$` }),
      /more than 64 parts in a row/,
    ],
  ]
  it.each(hostile)('%s', (_, grammar, says) => {
    const start = performance.now()
    expect(() => checkGrammar(grammar)).toThrow(says)
    expect(performance.now() - start).toBeLessThan(2000)
  })

  const fine: [what: string, grammar: string][] = [
    ['recursion behind a bracket', 'root ::= "[" (root ("," root)*)? "]" | [0-9]+'],
    [
      'strings, classes and comments with signs in them',
      'root ::= "(((" [)("#] # ( root ::= root\n "\\"" <[12]> !<[3]>',
    ],
    ['any JSON', jsonSchemaGrammar({})],
    [
      'an object of sixty strings, none of which must be there',
      jsonSchemaGrammar({
        type: 'object',
        properties: Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`p${i}`, { type: 'string' }])),
      }),
    ],
    ['a choice of 5,000', jsonSchemaGrammar({ enum: Array.from({ length: 5000 }, (_, i) => `choice ${i}`) })],
    ['a long string', jsonSchemaGrammar({ type: 'string', maxLength: 2000 })],
  ]
  it.each(fine)('and not %s', (_, grammar) => {
    expect(() => checkGrammar(grammar)).not.toThrow()
  })
})
