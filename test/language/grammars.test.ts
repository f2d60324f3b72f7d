import { createHash } from 'node:crypto'
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { BoundSampler } from '../../src/language/bound-sampler.ts'
import { type FollowedGrammar, type Grammars, openGrammars } from '../../src/language/grammar/grammars.ts'
import type { Matcher } from '../../src/language/grammar/matcher.ts'
import type { Chooser } from '../../src/language/sampler.ts'
import type { Vocabulary } from '../../src/language/vocabulary.ts'
import type { LlamaContext } from '../../src/native/index.ts'
import { openSmall } from '../support/decoder.ts'
import { pocketFolder } from '../support/pocket.ts'

const decoder = openSmall(`${pocketFolder}pocket.gguf`)
afterAll(() => decoder.close())

let grammars: Grammars
beforeEach(() => {
  grammars = openGrammars(decoder.vocabulary)
})

const follow = (text: string): FollowedGrammar => grammars.follow({ text, texts: {} }, null, new Set())

/** Grammars of five megabytes each. */
const large = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `root ::= "${i}" | "a" [acegi]{0,40000}`)

const idOf = (text: string): number => decoder.vocabulary.tokenize(text, false)[0] ?? -1

/** The place of an answer, however long it takes to find. @param slice called for each slice */
function opened(one: FollowedGrammar, slice = () => {}): Matcher {
  for (;;) {
    const matcher = one.openSlowly()
    if (matcher !== undefined) return matcher
    slice()
  }
}

function search(matcher: Matcher): void {
  const search = matcher.search()
  while (!search.run(0)) {}
}

const letters = 'abcdefghijklmnopqrstuvwxyz'
/** Tens of thousands of texts. */
const words = [
  ...['!', '0'],
  ...Array.from({ length: 30_000 }, (_, i) => {
    const bytes = createHash('sha256').update(String(i)).digest().subarray(0, 7)
    return Array.from(bytes, (byte) => letters[byte % 26]).join('')
  }),
]
const vocabularyOf = (texts: readonly string[]): Vocabulary =>
  ({
    size: texts.length,
    bytes: (token) => Buffer.from(texts[token] ?? ''),
    tokenize: (text) => Int32Array.from([texts.indexOf(text)].filter((id) => id >= 0)),
    endTokens: [],
    isEnd: () => false,
    controlIds: [],
  }) as Partial<Vocabulary> as Vocabulary

const kept = (waiting: readonly FollowedGrammar[]): number => waiting.filter((one) => one.open() !== undefined).length

describe('the grammars of answers', () => {
  it('are few megabytes for all answers that wait', () => {
    const waiting = large(20).map(follow)
    expect(kept(waiting)).toBeGreaterThan(0)
    expect(kept(waiting)).toBeLessThan(5)
  })

  it('are found again when the answers begin', () => {
    const [first] = large(20).map(follow)
    expect(first?.open()).toBeUndefined()
    expect(first && opened(first).accept(idOf('a'))).toBe(true)
    expect(first?.open()?.accept(idOf('b'))).toBe(false)
  })

  it('are written in slices, before their answers wait and again when they begin', () => {
    const [text = ''] = large(1)
    let slices = 0
    for (const _ of grammars.read({ text, texts: {} }, null)) slices++
    expect(slices).toBeGreaterThan(8)
    const first = follow(text)
    expect(first.open()).toBeDefined()
    const [, second] = large(20).map(follow)
    let again = 0
    if (second !== undefined) opened(second, () => again++)
    expect(again).toBe(slices)
    // It is not written if it is known.
    expect([...grammars.read({ text, texts: {} }, null)]).toEqual([])
  })

  it('are refused by the slice that finds the fault', () => {
    const work = grammars.read({ text: 'root ::= "a"{0,99999} "b"{0,99999}', texts: {} }, null)
    expect(() => [...work]).toThrow(/more than 100000 states/)
  })

  it('name tokens by their texts with the brackets', () => {
    const texts = ['think', '<think>', 'a']
    grammars = openGrammars(vocabularyOf(texts))
    const allowedBy = (grammar: string): string[] => {
      const matcher = opened(follow(grammar))
      search(matcher)
      return texts.filter((_, id) => ((matcher.allowed?.bits[0] ?? 0) >>> id) & 1)
    }
    expect(allowedBy('root ::= <think>')).toEqual(['<think>'])
    expect(allowedBy('root ::= !<think>')).toEqual(['think', 'a'])
    expect(() => follow('root ::= <a>')).toThrow(/names a token that the model does not have/)
  })

  it('that name many tokens are written in slices, and each name is looked up once', () => {
    const tokenize = vi.fn(() => Int32Array.of(0))
    grammars = openGrammars({ ...vocabularyOf(['<a>']), tokenize })
    const slicesOf = (names: readonly string[]): number =>
      [...grammars.read({ text: `root ::= ${names.map((name) => `<${name}>`).join('')}`, texts: {} }, null)].length
    expect(slicesOf(Array.from({ length: 20_000 }, () => 'a'))).toBeGreaterThan(4)
    expect(tokenize).toHaveBeenCalledTimes(1)
    expect(slicesOf(Array.from({ length: 10_000 }, (_, i) => i.toString(36)))).toBeGreaterThan(20)
  })

  it('are shared by answers with equal ones', () => {
    const text = 'root ::= "a" | "b"'
    const [one, other] = [follow(text), follow(text)]
    search(opened(one))
    expect(other.open()?.allowed).toBeDefined()
    expect(follow(`${text} | "c"`).open()?.allowed).toBeUndefined()
  })

  it('stay known for later answers, however many others wait', () => {
    const text = 'root ::= "a" | "b"'
    const first = follow(text)
    search(opened(first))
    first.close()
    for (const other of large(20)) follow(other)
    expect(follow(text).open()?.allowed).toBeDefined()
  })

  it('are kept up to a number of bytes when the answers are over', () => {
    const texts = large(30)
    const later = texts.map(follow)
    for (const one of texts.map(follow)) {
      opened(one)
      one.close()
    }
    expect(later.at(-1)?.open()).toBeDefined()
    expect(kept(later)).toBeGreaterThan(5)
    expect(kept(later)).toBeLessThan(20)
  })

  it('forget what is known of the largest when together they know too much', () => {
    const [small, big, bigToo] = ['root ::= "a" | "b"', 'root ::= "a"{0,60000}', 'root ::= "a"{0,60000}'].map(follow)
    if (small === undefined || big === undefined || bigToo === undefined) throw new Error('they are three')
    for (const one of [small, bigToo]) search(opened(one))
    const matcher = opened(big)
    for (let i = 0; i < 40_000; i++) {
      expect(matcher.accept(idOf('a'))).toBe(true)
      big.trim()
    }
    expect(bigToo.open()?.allowed).toBeUndefined()
    expect(small.open()?.allowed).toBeDefined()
  })

  it('forget also while tokens are searched for', () => {
    grammars = openGrammars(vocabularyOf(words))
    const endings = [...letters].map((letter) => `"${letter}" [a-z]{10}`)
    const text = `root ::= "0" "aa" | [a-z]* (${endings.join(' | ')})`
    const [known, searched] = [follow(text), follow(text)]
    const place = opened(known)
    place.acceptSlowly(words.indexOf('0'))
    search(place)
    expect(place.allowed).toBeDefined()
    const chooser: Chooser = {
      draws: true,
      choose: () => words.indexOf('!'),
      others: () => [],
      chooseOf: () => null,
      accept() {},
      free() {},
    }
    const sampler = new BoundSampler(chooser, searched)
    const found = sampler.sample({} as LlamaContext, 0, () => new Float32Array(words.length))
    if (typeof found !== 'object' || found === null) throw new Error('it takes no search')
    // Nobody begins a token meanwhile.
    while (place.allowed !== undefined && found.run(0) === undefined) {}
    expect(place.allowed).toBeUndefined()
    sampler.free()
  })
})
