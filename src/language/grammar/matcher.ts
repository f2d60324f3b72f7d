import type { Vocabulary } from '../vocabulary.ts'
import { type Automaton, type State, TooMuchWork } from './automaton.ts'
import { refused } from './gbnf.ts'
import type { TokenTrie } from './token-trie.ts'

/** Work for one token that is done at once: less than a millisecond. What takes more is done in slices. */
export const workAtOnce = 3000

/** Work for one byte, about 10 ms. An ambiguous grammar such as `s ::= "a" s s | "a"` needs more for each byte. */
export const mostForByte = 20_000

/** Work to find all tokens that may come next, about 2 s. JSON takes up to 20,000. */
const mostForTokens = 10_000_000

/** Nodes of the vocabulary's tree between two looks at the clock. */
const nodesAtOnce = 2000

/** What matchers of one model share. */
export interface MatcherVocabulary extends Pick<Vocabulary, 'size' | 'bytes' | 'endTokens' | 'isEnd'> {
  readonly trie: TokenTrie
  /** Ids of control tokens: a grammar's text is matched only by those that the answer shows. */
  readonly controls: ReadonlySet<number>
}

/** The place of one answer in its grammar. */
export class Matcher {
  readonly #automaton: Automaton
  readonly #vocabulary: MatcherVocabulary
  readonly #shown: ReadonlySet<number>
  #state: State

  constructor(automaton: Automaton, vocabulary: MatcherVocabulary, shown: ReadonlySet<number>) {
    this.#automaton = automaton
    this.#vocabulary = vocabulary
    this.#shown = shown
    this.#state = automaton.start
  }

  /** Work so far for the grammar, in edges of its network. */
  get work(): number {
    return this.#automaton.work
  }

  /** Goes on to the place after a token, if it may come next. @returns undefined if that takes longer than it may */
  accept(token: number): boolean | undefined {
    try {
      return this.#accept(token, workAtOnce)
    } catch (error) {
      if (error instanceof TooMuchWork) return undefined
      throw error
    }
  }

  /** As `accept`, however long it takes. @throws OrielError `invalid`, param `grammar`, for an ambiguous grammar */
  acceptSlowly(token: number): boolean {
    return orRefused(() => this.#accept(token, mostForByte))
  }

  #accept(token: number, work: number): boolean {
    if (this.#vocabulary.isEnd(token)) return this.#state.complete
    this.#automaton.limit = this.#automaton.work + work
    const next = this.#after(token)
    if (next === null) return false
    this.#state = next
    return true
  }

  #after(token: number): State | null {
    const { bytes, controls } = this.#vocabulary
    const state = this.#state
    const text = controls.has(token) && !this.#shown.has(token) ? nothing : bytes(token, true)
    let plain: State | null = text.length === 0 ? null : state
    for (let i = 0; i < text.length && plain !== null; i++) plain = this.#automaton.step(plain, text[i] as number)
    return this.#automaton.stepToken(state, token, plain)
  }

  /** The tokens that may come next, if they are known. */
  get allowed(): AllowedTokens | undefined {
    const bits = this.#state.allowed
    if (bits === undefined) return undefined
    const state = this.#state
    const { endTokens } = this.#vocabulary
    return {
      bits,
      others: [...(state.complete ? endTokens : []), ...[...this.#shown].filter((token) => this.#allows(token))],
    }
  }

  #allows(token: number): boolean {
    if (this.#vocabulary.isEnd(token)) return false
    this.#automaton.limit = this.#automaton.work + mostForByte
    return orRefused(() => this.#after(token)) !== null
  }

  /** Begins to find the tokens that may come next. */
  search(): TokenSearch {
    return new TokenSearch(this.#automaton, this.#vocabulary, this.#state)
  }
}

export interface AllowedTokens {
  /** A bit for each token with bytes of its own. */
  readonly bits: Uint32Array
  /** Tokens that end the answer, and control tokens. */
  readonly others: readonly number[]
}

/** Calls a function with each allowed token; with a few of the `others` twice. */
export function eachAllowed({ bits, others }: AllowedTokens, act: (token: number) => void): void {
  for (let word = 0; word < bits.length; word++)
    for (let left = bits[word] as number; left !== 0; left &= left - 1) act(word * 32 + 31 - Math.clz32(left & -left))
  for (const token of others) act(token)
}

/** Walks through the vocabulary, and leaves out what is below bytes that cannot come next. */
export class TokenSearch {
  readonly #automaton: Automaton
  readonly #vocabulary: MatcherVocabulary
  readonly #start: State
  readonly #bits: Uint32Array
  /** States after each byte of the current node. */
  readonly #path: State[]
  #node = 0
  #work = 0
  /** How often the automaton had forgotten its states when the path was last looked at. */
  #forgotten: number

  constructor(automaton: Automaton, vocabulary: MatcherVocabulary, start: State) {
    this.#automaton = automaton
    this.#vocabulary = vocabulary
    this.#start = start
    this.#bits = new Uint32Array(Math.ceil(vocabulary.size / 32))
    this.#path = [start]
    this.#forgotten = automaton.forgotten
  }

  /**
   * @param until time of `performance.now()` at which to stop
   * @returns whether it is done @throws OrielError `invalid`, param `grammar`, for a grammar that takes too long
   */
  run(until: number): boolean {
    // Another answer at the same place may have found them.
    if (this.#start.allowed !== undefined) return true
    if (this.#forgotten !== this.#automaton.forgotten) this.#forget()
    const { trie } = this.#vocabulary
    const before = this.#automaton.work
    while (this.#node < trie.size) {
      orRefused(() => this.#walk(Math.min(trie.size, this.#node + nodesAtOnce)))
      if (this.#work + this.#automaton.work - before > mostForTokens)
        throw refused('is too slow to follow: there are too many ways to continue the answer')
      if (performance.now() >= until) break
    }
    this.#work += this.#automaton.work - before
    if (this.#node < trie.size) return false
    this.#addNamed()
    this.#start.allowed = this.#bits
    this.#automaton.knownBytes += this.#bits.byteLength
    return true
  }

  /** The path goes on, but nobody else's states are reached from it: the automaton does not know it any more, nor count it. */
  #forget(): void {
    this.#forgotten = this.#automaton.forgotten
    this.#path.length = this.#vocabulary.trie.depths[this.#node] ?? 1
    for (const state of this.#path) state.next.fill(undefined)
  }

  /** @param to a node at which to stop, or later */
  #walk(to: number): void {
    const { bytes, depths, ends, tokens, firsts } = this.#vocabulary.trie
    const [path, automaton] = [this.#path, this.#automaton]
    const patience = automaton.work + workAtOnce
    while (this.#node < to && automaton.work < patience) {
      const node = this.#node
      const depth = depths[node] as number
      const before = path[depth - 1] as State
      let next = before.next[bytes[node] as number]
      if (next === undefined) {
        automaton.limit = automaton.work + mostForByte
        next = automaton.step(before, bytes[node] as number)
      }
      if (next === null) {
        this.#node = ends[node] as number
        continue
      }
      path[depth] = next
      for (let i = firsts[node] as number; i < (firsts[node + 1] as number); i++) this.#add(tokens[i] as number)
      this.#node = node + 1
    }
  }

  /** Adds the tokens that the grammar names as such. As in llama.cpp, one that ends the answer never goes on with it. */
  #addNamed(): void {
    const { size, isEnd } = this.#vocabulary
    for (const { token, except } of this.#automaton.namedTokens(this.#start)) {
      if (except) for (let other = 0; other < size; other++) if (other !== token && !isEnd(other)) this.#add(other)
      if (!except && token < size && !isEnd(token)) this.#add(token)
    }
  }

  #add(token: number): void {
    this.#bits[token >>> 5] = (this.#bits[token >>> 5] as number) | (1 << (token & 31))
  }
}

const nothing = new Uint8Array(0)

/** @throws OrielError `invalid`, param `grammar`, for too much work */
export function orRefused<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof TooMuchWork)
      throw refused('is too ambiguous: there are too many ways to match one character of the answer')
    throw error
  }
}
