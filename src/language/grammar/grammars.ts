import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { finished, type Slices } from '../../slices.ts'
import type { Vocabulary } from '../vocabulary.ts'
import { Automaton } from './automaton.ts'
import { readGrammar, refused } from './gbnf.ts'
import { Matcher, type MatcherVocabulary, mostForByte, orRefused } from './matcher.ts'
import { writeNetwork } from './network-writer.ts'
import { type FreeText, freeText } from './rules.ts'
import { tokenTrie } from './token-trie.ts'

/** The rule of what comes before an answer that follows a grammar. No rule of GBNF can have its name. */
const thought = '(thought)'

/** Bytes of grammars that no answer has followed yet. A queue full of others does not drive out those in `mostIdle`. */
const mostFresh = 16e6

/** Bytes of grammars that answers have followed and others may follow again. One may have a quarter of it. */
const mostIdle = 64e6

/** Bytes of what is known of the grammars that answers follow. Beyond it, that of the largest is forgotten. */
const mostKnown = 64e6

/** A grammar to follow. */
export interface Grammar {
  /** GBNF with a rule named root. */
  readonly text: string
  /** Further rules, of free text. */
  readonly texts: Readonly<Record<string, FreeText>>
}

/**
 * How one answer follows a grammar. Until it is opened it holds no more than the grammar's text: thousands of answers may
 * wait, and what it takes to follow a grammar may have megabytes.
 */
export interface FollowedGrammar {
  /** The answer's place in the grammar; undefined if it takes long to find. */
  open(): Matcher | undefined
  /** As `open`, a slice of it. @returns undefined if it is not done */
  openSlowly(): Matcher | undefined
  /** Keeps the memory within its bound. */
  trim(): void
  close(): void
}

/** A grammar that answers follow. */
interface Followed {
  readonly automaton: Automaton
  answers: number
  /** Bytes of what is known of it, as far as they are a part of the sum. */
  counted: number
}

export type Grammars = ReturnType<typeof openGrammars>

/** The grammars of a model's answers. Answers with the same grammar share what is known of it. */
export function openGrammars(vocabulary: Vocabulary) {
  const fresh = keptGrammars(mostFresh)
  const idle = keptGrammars(mostIdle)
  const followed = new Map<string, Followed>()
  /** Bytes of what is known of all that are followed. */
  let known = 0
  const controls = new Set(vocabulary.controlIds)
  /** The first grammar needs it, and a model without one does not wait for it. */
  let shared: MatcherVocabulary | undefined
  const making = tokenTrie(textTokens(vocabulary, controls))
  const tokenOf = (text: string): number => {
    const [token = -1, ...more] = vocabulary.tokenize(text, true)
    return more.length === 0 ? token : -1
  }

  /** Whoever needs it does a part of the work. */
  function* makeShared(): Slices<MatcherVocabulary> {
    while (shared === undefined) {
      const { done, value: trie } = making.next()
      if (done) shared = { ...vocabulary, trie, controls }
      else yield
    }
    return shared
  }

  function* write(grammar: Grammar, after: string | null): Slices<Automaton> {
    const rules = new Map(readGrammar(grammar.text))
    yield
    if (!rules.has('root')) throw refused('has no rule named root')
    const texts: Grammar['texts'] =
      after === null ? grammar.texts : { ...grammar.texts, [thought]: { marks: [[after, 'root']] } }
    for (const [name, text] of Object.entries(texts))
      for (const [rule, ways] of freeText(name, text)) rules.set(rule, ways)
    const network = yield* writeNetwork(rules, after === null ? 'root' : thought, tokenOf)
    return orRefused(() => new Automaton(network, mostForByte))
  }

  const find = (key: string): Automaton | undefined => followed.get(key)?.automaton ?? idle.get(key) ?? fresh.get(key)

  function begin(key: string, automaton: Automaton): Followed {
    fresh.delete(key)
    idle.delete(key)
    const one = followed.get(key) ?? { automaton, answers: 0, counted: 0 }
    one.answers++
    followed.set(key, one)
    return one
  }

  function end(key: string, one: Followed): void {
    if (--one.answers > 0) return
    followed.delete(key)
    known -= one.counted
    if (one.automaton.bytes > mostIdle / 4) one.automaton.forget()
    idle.set(key, one.automaton)
  }

  function trim(one: Followed): void {
    count(one)
    if (known <= mostKnown) return
    const largest = [...followed.values()].reduce((a, b) => (b.counted > a.counted ? b : a))
    largest.automaton.forget()
    count(largest)
  }

  function count(one: Followed): void {
    known += one.automaton.knownBytes - one.counted
    one.counted = one.automaton.knownBytes
  }

  return {
    /**
     * Reads a grammar in slices of a few ms, so that `follow` finds it.
     * @param after the grammar applies to what follows this text; null: to the whole answer
     * @throws OrielError `invalid`, code `invalid_grammar`, param `grammar`
     */
    *read(grammar: Grammar, after: string | null): Slices<void> {
      const key = keyOf(grammar, after)
      yield* makeShared()
      if (find(key) === undefined) fresh.set(key, yield* write(grammar, after))
    },

    /**
     * @param after as in `read`
     * @param shown control tokens that may match the grammar's text
     * @throws OrielError `invalid`, code `invalid_grammar`, param `grammar`
     */
    follow(grammar: Grammar, after: string | null, shown: ReadonlySet<number>): FollowedGrammar {
      const key = keyOf(grammar, after)
      let own: { readonly one: Followed; readonly matcher: Matcher } | undefined
      let writing: Slices<Automaton> | undefined
      const enter = (automaton: Automaton): Matcher => {
        writing = undefined
        own = { one: begin(key, automaton), matcher: new Matcher(automaton, finished(makeShared()), shown) }
        return own.matcher
      }
      const open = (): Matcher | undefined => {
        if (own !== undefined) return own.matcher
        const automaton = find(key)
        return automaton && enter(automaton)
      }
      // One that cannot be used is refused before its answer waits.
      if (find(key) === undefined) fresh.set(key, finished(write(grammar, after)))
      return {
        open,
        openSlowly() {
          const opened = open()
          if (opened !== undefined) return opened
          writing ??= write(grammar, after)
          const { done, value } = writing.next()
          return done ? enter(value) : undefined
        },
        trim() {
          if (own !== undefined) trim(own.one)
        },
        close() {
          if (own !== undefined) end(key, own.one)
          own = undefined
          writing = undefined
        },
      }
    },
  }
}

/** A grammar may have 120,000 characters. */
const keyOf = (grammar: Grammar, after: string | null): string =>
  createHash('sha256')
    .update(JSON.stringify([after, grammar]))
    .digest('base64')

/** Those that were used last, by what they are of. */
const keptGrammars = (maxSize: number) =>
  new LRUCache<string, Automaton>({ maxSize, sizeCalculation: ({ bytes }) => bytes })

function* textTokens({ size, bytes, isEnd }: Vocabulary, controls: ReadonlySet<number>) {
  for (let token = 0; token < size; token++)
    if (!controls.has(token) && !isEnd(token)) yield [token, bytes(token, true)] as const
}
