import { describe, expect, it } from 'vitest'
import { checkGrammar, jsonSchemaGrammar } from '../../src/language/index.ts'

const chain = (rules: number, body: (next: string) => string): string =>
  [
    ...Array.from({ length: rules }, (_, i) => `r${i} ::= ${body(`r${i + 1}`)}`),
    `r${rules} ::= "a"`,
    'root ::= r0',
  ].join('\n')

describe('grammars that are refused before llama.cpp reads them', () => {
  const hostile: [what: string, grammar: string, says: RegExp][] = [
    ['forty rules of two ways each', chain(40, (next) => `${next} | ${next}`), /more than 10000 alternatives/],
    [
      'ten thousand brackets',
      `root ::= ${'('.repeat(10_000)}"a"${')'.repeat(10_000)}`,
      /more than 200 nested parentheses/,
    ],
    ['a chain of ten thousand rules', chain(10_000, (next) => next), /more than 1000 rules/],
    ['a rule that begins with itself', 'root ::= root "a" | "b"', /the rule root may begin with itself/],
    ['the same behind what may be empty', 'root ::= c root "x" | "y"\nc ::= b?\nb ::= "b"', /left-recursive/],
    ['a hundred parts that may be empty', `root ::= ${'"a"? '.repeat(100)}`, /more than 64 parts in a row/],
    ['the same by repetition', 'root ::= "x" ("a"? "b"?){80}', /more than 64 parts in a row/],
    ['a repetition that ends before it begins', 'root ::= "a"{5,3}', /at least 5 times and at most 3/],
    ['the same with spaces', 'root ::= "a"{ 5 , 0 }', /at least 5 times and at most 0/],
    ['a repetition that cannot be read', 'root ::= "a"{5#\n,3}', /a repetition that is not/],
    ['parts that may be empty, by a repetition with spaces', 'root ::= "x" ("a"? "b"?){ 80 }', /more than 64 parts/],
    ['a long text two thousand times', `root ::= "${'a'.repeat(20_000)}"{2000}`, /more than 1000000 elements/],
    ['the same in steps', `root ::= [${'a-z'.repeat(500)}]{40}{50}`, /more than 1000000 elements/],
    [
      'brackets behind a comment that llama.cpp takes for ended',
      `root ::= #\r${'('.repeat(10_000)}"a"`,
      /200 nested parentheses/,
    ],
    ['rules behind the end of the text', 'root ::= "a"\0\nroot ::= "b"', /U\+0000/],
    ['a rule that begins with itself behind empty classes', 'root ::= c root "x" | "y"\nc ::= b\nb ::= []', /left-rec/],
    [
      'forty rules of two ways behind empty classes',
      chain(40, (next) => `[] ${next} | [^] ${next}`),
      /10000 alternatives/,
    ],
    ['a token behind a character', 'root ::= "a" !<[3]>', /token \(<\.\.\.>\) after characters/],
    ['the same by rules', 'root ::= a b\na ::= "a"? c\nb ::= d\nc ::= <[1]>\nd ::= <[2]>', /after characters/],
    ['the same by repetition', 'root ::= (<[1]> "a")+', /after characters/],
    ['megabytes', `root ::= "${'a'.repeat(300_000)}"`, /the maximum is 200000/],
    [
      'a pattern of a schema',
      jsonSchemaGrammar({ type: 'string', pattern: `^${'(a?b?)'.repeat(160)}$` }),
      /more than 64 parts in a row/,
    ],
  ]
  it.each(hostile)('%s', (_, grammar, says) => {
    expect(() => checkGrammar(grammar)).toThrow(says)
  })

  const fine: [what: string, grammar: string][] = [
    ['recursion after a bracket', 'root ::= "[" (root ("," root)*)? "]" | [0-9]+'],
    ['operators inside strings, classes and comments', 'root ::= "(((" [)("#] # ( root ::= root\n "\\""'],
    ['tokens before characters', 'root ::= <[12]> (!<[3]>)* <[3]> answer\nanswer ::= "a" [b-d]{2,30}'],
    ['tokens or characters', 'root ::= <[12]> | "a"\nother ::= <[12]> root'],
    ['any JSON', jsonSchemaGrammar({})],
    [
      'an object of sixty optional strings',
      jsonSchemaGrammar({
        type: 'object',
        properties: Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`p${i}`, { type: 'string' }])),
      }),
    ],
    ['an enum of 5,000 values', jsonSchemaGrammar({ enum: Array.from({ length: 5000 }, (_, i) => `choice ${i}`) })],
    ['a long string', jsonSchemaGrammar({ type: 'string', maxLength: 2000 })],
  ]
  it.each(fine)('does not refuse %s', (_, grammar) => {
    expect(() => checkGrammar(grammar)).not.toThrow()
  })
})
