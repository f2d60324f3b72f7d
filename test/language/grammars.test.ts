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
})
