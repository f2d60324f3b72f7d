import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { type FollowedGrammar, type Grammars, openGrammars } from '../../src/language/grammar/grammars.ts'
import type { Matcher } from '../../src/language/grammar/matcher.ts'
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

function search(matcher: Matcher): void {
  const search = matcher.search()
  while (!search.run(0)) {}
}

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
    expect(first?.openSlowly().accept(idOf('a'))).toBe(true)
    expect(first?.open()?.accept(idOf('b'))).toBe(false)
  })

  it('are shared by answers with equal ones', () => {
    const text = 'root ::= "a" | "b"'
    const [one, other] = [follow(text), follow(text)]
    search(one.openSlowly())
    expect(other.open()?.allowed).toBeDefined()
    expect(follow(`${text} | "c"`).open()?.allowed).toBeUndefined()
  })

  it('stay known for later answers, however many others wait', () => {
    const text = 'root ::= "a" | "b"'
    const first = follow(text)
    search(first.openSlowly())
    first.close()
    for (const other of large(20)) follow(other)
    expect(follow(text).open()?.allowed).toBeDefined()
  })

  it('are kept up to a number of bytes when the answers are over', () => {
    const texts = large(30)
    const later = texts.map(follow)
    for (const one of texts.map(follow)) {
      one.openSlowly()
      one.close()
    }
    expect(later.at(-1)?.open()).toBeDefined()
    expect(kept(later)).toBeGreaterThan(5)
    expect(kept(later)).toBeLessThan(20)
  })

  it('forget what is known of the largest when together they know too much', () => {
    const [small, big, bigToo] = ['root ::= "a" | "b"', 'root ::= "a"{0,60000}', 'root ::= "a"{0,60000}'].map(follow)
    if (small === undefined || big === undefined || bigToo === undefined) throw new Error('they are three')
    for (const one of [small, bigToo]) search(one.openSlowly())
    const matcher = big.openSlowly()
    for (let i = 0; i < 40_000; i++) {
      expect(matcher.accept(idOf('a'))).toBe(true)
      big.trim()
    }
    expect(bigToo.open()?.allowed).toBeUndefined()
    expect(small.open()?.allowed).toBeDefined()
  })
})
