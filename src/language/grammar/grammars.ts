import type { Vocabulary } from '../vocabulary.ts'
import { Automaton } from './automaton.ts'
import { readGrammar, refused } from './gbnf.ts'
import { Matcher, type MatcherVocabulary, mostForByte, orRefused } from './matcher.ts'
import { writeNetwork } from './network-writer.ts'
import { type FreeText, freeText } from './rules.ts'
import { tokenTrie } from './token-trie.ts'

/** Grammars without an answer that are kept. */
const mostIdle = 16

/** Bytes of what is known of all grammars before it is forgotten: no grammar may fill the memory. */
const mostBytes = 64e6

/** A grammar to follow. */
export interface Grammar {
  /** GBNF with a rule named root. */
  readonly text: string
  /** Further rules, of free text. */
  readonly texts: Readonly<Record<string, FreeText>>
}

interface Kept {
  readonly automaton: Automaton
  /** Answers that follow it. */
  users: number
}

export type Grammars = ReturnType<typeof openGrammars>

/** The grammars of a model's answers. Answers with the same grammar share what is known of it. */
export function openGrammars(vocabulary: Vocabulary) {
  /** The most recently used one is the last. */
  const kept = new Map<string, Kept>()
  const controls = new Set(vocabulary.controlIds)
  const trie = tokenTrie(textTokens(vocabulary, controls))
  const shared: MatcherVocabulary = { ...vocabulary, trie, controls }
  const tokenOf = (text: string): number => {
    const [token = -1, ...more] = vocabulary.tokenize(text, true)
    return more.length === 0 ? token : -1
  }

  return {
    /**
     * @param after the grammar applies to what follows this text; null: to the whole answer
     * @throws OrielError `invalid`, code `invalid_grammar`, param `grammar`
     */
    open(grammar: Grammar, after: string | null): Automaton {
      const key = JSON.stringify([after, grammar])
      let found = kept.get(key)
      if (found === undefined) {
        const rules = new Map(readGrammar(grammar.text))
        if (!rules.has('root')) throw refused('has no rule named root')
        const texts: Grammar['texts'] =
          after === null ? grammar.texts : { ...grammar.texts, answer: { marks: [[after, 'root']] } }
        for (const [name, text] of Object.entries(texts))
          for (const [rule, ways] of freeText(name, text)) rules.set(rule, ways)
        const network = writeNetwork(rules, after === null ? 'root' : 'answer', tokenOf)
        found = { automaton: orRefused(() => new Automaton(network, mostForByte)), users: 0 }
      }
      found.users++
      kept.delete(key)
      kept.set(key, found)
      return found.automaton
    },
    matcher: (automaton: Automaton, shown: ReadonlySet<number>): Matcher => new Matcher(automaton, shared, shown),
    /** An answer that followed a grammar is over. */
    close(automaton: Automaton): void {
      const idle = [...kept].filter(([, one]) => {
        if (one.automaton === automaton) one.users--
        return one.users === 0
      })
      for (const [key] of idle.slice(0, -mostIdle)) kept.delete(key)
    },
    /** Keeps the memory within its bound. */
    trim(): void {
      let bytes = 0
      for (const { automaton } of kept.values()) bytes += automaton.bytes
      if (bytes > mostBytes) for (const { automaton } of kept.values()) automaton.forget()
    },
  }
}

function* textTokens({ size, bytes, isEnd }: Vocabulary, controls: ReadonlySet<number>) {
  for (let token = 0; token < size; token++)
    if (!controls.has(token) && !isEnd(token)) yield [token, bytes(token, true)] as const
}
