import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Automaton, type State, TooMuchWork } from '../../src/language/grammar/automaton.ts'
import { readGrammar } from '../../src/language/grammar/gbnf.ts'
import { writeGrammar } from '../../src/language/grammar/json-schema.ts'
import { Matcher, TokenSearch } from '../../src/language/grammar/matcher.ts'
import { writeNetwork } from '../../src/language/grammar/network-writer.ts'
import { freeText } from '../../src/language/grammar/rules.ts'
import { tokenTrie } from '../../src/language/grammar/token-trie.ts'
import { finished } from '../../src/slices.ts'

const automatonOf = (grammar: string): Automaton =>
  new Automaton(finished(writeNetwork(readGrammar(grammar), 'root', () => -1)), Infinity)

function follow(automaton: Automaton, text: string | Uint8Array): State | null {
  let state: State | null = automaton.start
  for (const byte of Buffer.from(text)) if (state !== null) state = automaton.step(state, byte)
  return state
}

const allows = (grammar: string, text: string | Uint8Array): boolean =>
  follow(automatonOf(grammar), text)?.complete ?? false

const chain = (rules: number, body: (next: string) => string): string =>
  [
    ...Array.from({ length: rules }, (_, i) => `r${i} ::= ${body(`r${i + 1}`)}`),
    `r${rules} ::= "a"`,
    'root ::= r0',
  ].join('\n')

describe('a regular expression', () => {
  const texts = ['', 'a', 'ab', 'b', 'aXb', '12', '123', 'a"b\\', 'a\nb', '\n', 'é', '😀', '2024-11-28', 'foobar', ' x']
  it.each([
    ...['a', 'a|ab', '^a$|b', 'a.b', 'a[ \\t]?b', '.*', '\\d{2,3}', '[^a]', '\\D+', '"|\\\\|a"b\\\\'],
    ...['\\d{4}-\\d{2}-\\d{2}', '(foo|bar)+', '(?:foo)(?<b>bar)', '\\u00e9|.', '(a|)b?', 'a{0}b{1}'],
  ])('%s allows what it matches as a whole', (pattern) => {
    const automaton = automatonOf(writeGrammar({ kind: 'regex', pattern }).grammar.text)
    const whole = new RegExp(`^(?:${pattern})$`, 'u')
    const check = (text: string): void => {
      expect(follow(automaton, text)?.complete ?? false, text).toBe(whole.test(text))
    }
    for (const text of texts) check(text)
    fc.assert(fc.property(fc.stringMatching(whole), check), { numRuns: 30 })
  })

  it.each([
    ['a(?=b)', 3],
    ['(?<!a)b', 2],
    ['ab\\b', 4],
    ['(a)\\1', 5],
    ['a{3,2}', 6],
    ['(ab', 3],
    ['a**', 3],
    ['a)', 1],
    ['a$b', 2],
    ['[b-a]', 4],
  ])('%s is refused, with the place: %i', (pattern, at) => {
    expect(() => writeGrammar({ kind: 'regex', pattern })).toThrow(`cannot be read beyond its character ${at}:`)
  })
})

describe('a grammar', () => {
  it.each<[grammar: string, yes: string[], no: string[]]>([
    ['root ::= "yes" | "no"', ['yes', 'no'], ['', 'ye', 'yesno', 'noo']],
    ['root ::= "a" "b"? [c-e]* "\\n"', ['a\n', 'abcde\n'], ['a', 'b\n', 'abf\n']],
    ['root ::= [^a-y\\]"]{2,3}', ['zé', '😀ä€'], ['z', 'zzzz', 'az', ']z']],
    ['root ::= . [\\u00E9\\x41\\U0001F600]', ['\né', 'aA', '€😀'], ['a', 'aB', '\0A']],
    ['# first\nroot ::= # second\n  (a\n  | b)\nb ::= "b" # third', ['b'], []],
    ['root ::= "[" (root ("," root)*)? "]"', ['[]', '[[],[[]]]'], ['[', '[,]', '[]]']],
    ['root ::= list\nlist ::= item | item "," list\nitem ::= [0-9]+', ['1', '1,22,3'], ['1,', ',1']],
    ['root ::= ("a"{2}){2,}', ['aaaa', 'aaaaaa'], ['aa', 'aaaaa']],
    ['root ::= "a"{0,2083}', ['', 'a'.repeat(2083)], ['a'.repeat(2084)]],
    ['root ::= a b a\na ::= "x"?\nb ::= a a', ['', 'xxxx'], ['xxxxx']],
    ['root ::= "" [] "x" | "y" ""', ['x', 'y'], ['']],
    ['root ::= "-" root "a" | "-" root "b" | "-"', ['-', '---ab'], ['--', '-ab']],
  ])('%s', (grammar, yes, no) => {
    const full = grammar.includes('(a\n') ? `${grammar}\na ::= "a"` : grammar
    for (const text of yes) expect(allows(full, text), text).toBe(true)
    for (const text of no) expect(allows(full, text), text).toBe(false)
  })

  it('may have a class that names characters again and again, and tens of thousands of different ones', () => {
    const others = Array.from({ length: 20_000 }, (_, i) => String.fromCodePoint(0x3400 + 2 * i)).filter(
      (character) => character < '\ud800' || character > '\uf8ff',
    )
    const automaton = automatonOf(`root ::= [${'a'.repeat(55_000)}${others.join('').repeat(3)}b-dc-e]`)
    for (const text of ['a', '\u3400', '\u3402', 'b', 'e']) expect(follow(automaton, text)?.complete, text).toBe(true)
    for (const text of ['f', '\u3401', '\u3403']) expect(follow(automaton, text), text).toBeNull()
  })

  it('is a few states and edges for a class, however often it names a character', () => {
    const size = (grammar: string) => finished(writeNetwork(readGrammar(grammar), 'root', () => -1)).size
    expect(size(`root ::= [${'aé'.repeat(1000)}]{1000}`)).toBe(size('root ::= [aé]{1000}'))
  })

  it('allows no bytes that are not UTF-8', () => {
    for (const bytes of ['c080', 'e08080', 'eda080', 'f4908080', 'ff', '00'])
      expect(follow(automatonOf('root ::= .+'), Buffer.from(bytes, 'hex'))).toBeNull()
  })

  it('allows the same texts as a regular expression', () => {
    const { rule } = fc.letrec<{ rule: { gbnf: string; regExp: string } }>((tie) => ({
      rule: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('a', 'b', 'ab', 'aba').map((text) => ({ gbnf: `"${text}"`, regExp: `(?:${text})` })),
        fc.constantFrom('[ab]', '[^a]').map((text) => ({ gbnf: text, regExp: text })),
        fc.array(tie('rule'), { minLength: 1, maxLength: 3 }).map((parts) => ({
          gbnf: `(${parts.map(({ gbnf }) => gbnf).join(' ')})`,
          regExp: `(?:${parts.map(({ regExp }) => regExp).join('')})`,
        })),
        fc.array(tie('rule'), { minLength: 2, maxLength: 3 }).map((parts) => ({
          gbnf: `(${parts.map(({ gbnf }) => gbnf).join(' | ')})`,
          regExp: `(?:${parts.map(({ regExp }) => regExp).join('|')})`,
        })),
        fc
          .tuple(tie('rule'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{2,}'))
          .map(([{ gbnf, regExp }, times]) => ({
            gbnf: gbnf + times,
            regExp: `(?:${regExp})${times}`,
          })),
      ),
    }))
    fc.assert(
      fc.property(rule, fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 7 })), (made, texts) => {
        const automaton = automatonOf(`root ::= ${made.gbnf}`)
        for (const text of texts)
          expect(follow(automaton, text)?.complete ?? false, text).toBe(new RegExp(`^${made.regExp}$`).test(text))
      }),
    )
  })

  it('follows text up to one of some marks', () => {
    const marks = [
      ['<a>', 'one'],
      ['<b<c>', 'two'],
      ['b<d', 'two'],
    ] as const
    const rules = new Map([...readGrammar('one ::= "1" free\ntwo ::= "2"'), ...freeText('free', { marks })])
    const automaton = new Automaton(finished(writeNetwork(rules, 'free', () => -1)), Infinity)
    for (const text of ['', 'x<', 'x<<a>1', '<a>1 y<a>1', '<b<b<c>2', '<b<d2', 'é<b'])
      expect(follow(automaton, text)?.complete, text).toBe(true)
    for (const text of ['<a>', '<a>2', '<b<c>1', '<b<d', '<b<c>22'])
      expect(follow(automaton, text)?.complete ?? false, text).toBe(false)
  })
})

describe('a grammar that cannot be used is refused', () => {
  it.each<[what: string, grammar: string, says: RegExp]>([
    ['without a rule', 'yes', /line 1, column 1: expected a rule/],
    ['with an open bracket', 'root ::= "a"\n  ("b"', /line 2, column 7: expected \)/],
    ['with an open text', 'root ::= "a', /line 1, column 12: expected "/],
    ['with an unknown escape', 'root ::= "\\q"', /expected one of \\n/],
    ['with a missing rule', 'root ::= other', /names the rule other, which it does not have/],
    ['with ten thousand brackets', `root ::= ${'('.repeat(10_000)}"a"${')'.repeat(10_000)}`, /200 nested parentheses/],
    ['with a rule that begins with itself', 'root ::= root "a" | "b"', /the rule root may begin with itself/],
    ['with the same behind what may be empty', 'root ::= c root "x" | "y"\nc ::= b?\nb ::= "b"', /left-recursive/],
    ['with a repetition that ends before it begins', 'root ::= "a"{5,3}', /at least 5 times and at most 3/],
    ['with a repetition that cannot be read', 'root ::= "a"{5#\n,3}', /a repetition that is not/],
    ['with a text repeated a million times', 'root ::= "abcdefgh"{1000000}', /more than 100000 states/],
    [
      'with a class of many ranges repeated as often',
      'root ::= [acegikmoqsuwyACEGIKMOQSUWY]{0,20000}',
      /more than 250000 edges/,
    ],
    ['with a comment of many signs', `root ::= a ${'#'.repeat(100_000)}`, /names the rule a, which/],
    ['with a comment of spaces', `root ::= a #${' '.repeat(100_000)}`, /names the rule a, which/],
    ['with comments before what is no rule', `a ${'#'.repeat(50_000)}\n${'#\n'.repeat(20_000)}"x"`, /line 1, column 1/],
    ['with an open repetition of spaces', `root ::= "a"{1,${' '.repeat(100_000)}`, /a repetition that is not/],
    ['with megabytes', `root ::= "${'a'.repeat(300_000)}"`, /the maximum is 120000/],
  ])('%s', (_, grammar, says) => {
    expect(() => automatonOf(grammar)).toThrow(says)
  })
})

/** A vocabulary of texts. The last one ends the answer. */
function vocabularyOf(texts: readonly string[]) {
  const bytes = (token: number) => Buffer.from(texts[token] ?? '')
  return {
    size: texts.length,
    bytes,
    endTokens: [texts.length - 1],
    isEnd: (token: number) => token === texts.length - 1,
    controls: new Set(texts.flatMap((text, id) => (text.startsWith('<|') ? [id] : []))),
    trie: finished(
      tokenTrie(texts.slice(0, -1).flatMap((text, id) => (text.startsWith('<|') ? [] : [[id, bytes(id)] as const]))),
    ),
  }
}

describe('the tokens that may come next', () => {
  const texts = ['a', 'ab', 'abc', 'b', 'bc', 'c', 'é', '\xc3', '<|x|>', '<|y|>', 'end']
  const allowedBy = (grammar: string, said: readonly number[] = [], shown: readonly number[] = []): string[] => {
    const vocabulary = vocabularyOf(texts)
    const matcher = new Matcher(automatonOf(grammar), vocabulary, new Set(shown))
    for (const token of said) expect(matcher.accept(token)).toBe(true)
    const search = matcher.search()
    while (!search.run(0)) {}
    const allowed = matcher.allowed
    const ids = [...texts.keys()].filter((id) => ((allowed?.bits[id >>> 5] ?? 0) >>> (id & 31)) & 1)
    return [...ids, ...(allowed?.others ?? [])].map((id) => texts[id] ?? '')
  }

  it('are those whose text goes on with the grammar', () => {
    expect(allowedBy('root ::= "abc" | "b"')).toEqual(['a', 'ab', 'abc', 'b'])
    expect(allowedBy('root ::= "abc" | "b"', [1])).toEqual(['c'])
    expect(allowedBy('root ::= "abc" | "b"', [3])).toEqual(['end'])
    expect(allowedBy('root ::= "b"*', [3])).toEqual(['b', 'end'])
  })

  it('include control tokens that the answer shows', () => {
    expect(allowedBy('root ::= "<|x|>" | "<|y|>"', [], [8])).toEqual(['<|x|>'])
  })

  it('include tokens that the grammar names', () => {
    expect(allowedBy('root ::= <[9]> | "b"')).toEqual(['b', '<|y|>'])
    expect(allowedBy('root ::= !<[9]> "c"', [3])).toEqual(['c'])
    expect(allowedBy('root ::= (!<[9]>)* <[9]> "a"', [3, 8, 9])).toEqual(['a'])
  })

  it('include a token that ends the answer only where it may end', () => {
    expect(allowedBy('root ::= !<[9]> "c"')).not.toContain('end')
    expect(allowedBy('root ::= <[10]> | "b"')).toEqual(['b'])
    expect(allowedBy('root ::= "end" "c"', [], [10])).toEqual([])
    expect(allowedBy('root ::= "end"*', [], [10])).toEqual(['end'])
  })
})

describe('the work of a grammar', () => {
  const words = Array.from({ length: 5000 }, (_, i) => i.toString(36))
  const vocabulary = vocabularyOf([
    ...words,
    ...words.map((word) => `-${word}`),
    ...words.map((word) => `"${word}`),
    'end',
  ])
  /** Work to find all tokens that may come after a text. */
  const workAfter = (grammar: string, text = ''): number => {
    const automaton = automatonOf(grammar)
    const state = follow(automaton, text)
    const before = automaton.work
    if (state === null) throw new Error('the grammar does not allow the text')
    const search = new TokenSearch(automaton, vocabulary, state)
    while (!search.run(0)) {}
    return automaton.work - before
  }

  it('does not grow with the number of alternatives', () => {
    const numbers = (count: number) => `root ::= (${Array.from({ length: count }, (_, i) => `"${i}"`).join('|')})+`
    expect(workAfter(numbers(9000))).toBeLessThan(10 * workAfter(numbers(100)))
  })

  it('is done once for equal places of an answer', () => {
    const automaton = automatonOf('root ::= "[" [a-z]* ("," [a-z]*)* "]"')
    const [first, later] = ['[ab', '[ab,,cde,fghijk'].map((text) => follow(automaton, text))
    expect(first).toBe(follow(automaton, '[abcd'))
    const before = automaton.work
    expect(follow(automaton, '[ab,,cde,fghijk,,')).toBe(follow(automaton, '[,'))
    expect(later).not.toBeNull()
    expect(automaton.work).toBe(before)
  })

  it('grows only in proportion to the answer when a grammar can be matched in many ways', () => {
    const grammar = 'root ::= "-" root "a" | "-" root "b" | "-"'
    const [short, long] = [100, 200].map((length) => workAfter(grammar, '-'.repeat(length)))
    expect(long).toBeLessThan(3 * (short ?? 0))
  })

  it('is bounded for each byte and each token', () => {
    const steep = automatonOf('root ::= "-" root root | "-"')
    steep.limit = 20_000
    expect(() => follow(steep, '-'.repeat(10_000))).toThrow(TooMuchWork)
    const many = automatonOf(`root ::= (${'[a-z]? '.repeat(5000)})*`)
    const matcher = new Matcher(many, vocabulary, new Set())
    expect(matcher.accept(500)).toBeUndefined()
    expect(() => matcher.acceptSlowly(500)).toThrow(/too ambiguous/)
  })

  it('is taken in slices', () => {
    const automaton = automatonOf('root ::= .*')
    const search = new TokenSearch(automaton, vocabulary, automaton.start)
    let slices = 1
    while (!search.run(0)) slices++
    expect(slices).toBeGreaterThan(5)
  })

  it('goes on where it was when all that is known is forgotten, and keeps nothing else', () => {
    const found = [false, true].map((forgets) => {
      const automaton = automatonOf('root ::= "." "-"? ([0-9]+ | "ab" . | "\\"" [a-z]* [0-4])')
      const start = follow(automaton, '.')
      if (start === null) throw new Error('the grammar does not allow the text')
      if (forgets) automaton.forget()
      const search = new TokenSearch(automaton, vocabulary, start)
      while (!search.run(0)) if (forgets) automaton.forget()
      return { bits: start.allowed, next: start.next.filter((state) => state !== undefined).length }
    })
    expect(found[1]?.bits).toEqual(found[0]?.bits)
    expect(found[0]?.next).toBe(38)
    expect(found[1]?.next).toBeLessThan(38)
  })

  it('is small for forty rules of two ways each', () => {
    expect(workAfter(chain(40, (next) => `${next} | ${next}`))).toBeLessThan(20_000)
    expect(() => workAfter(chain(5000, (next) => next))).toThrow(/too ambiguous/)
  })
})
