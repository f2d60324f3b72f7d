import type { Slices } from '../../slices.ts'
import { type Element, type Grammar, type Part, type Range, refused, type Ways, without } from './gbnf.ts'
import { EdgeKind, Network, Numbers } from './network.ts'
import { byteRanges } from './utf8.ts'

/** A grammar with as many states or edges takes 10 to 30 ms to write, and up to 6 MB. */
const most = { states: 100_000, edges: 250_000 }

/** States that are written at once: about a millisecond. */
const statesAtOnce = 5000

/** States that take as long as to find a token by its text. */
const statesOfToken = 20

/**
 * Writes a grammar as a network, in slices of a few ms. Alternatives that begin with the same text share its states, as in a prefix tree, so that
 * an enum of thousands of values costs no more than one of few.
 * @param start name of the first rule
 * @param tokenOf the id of a token's text, -1 if there is none
 * @throws OrielError `invalid`, code `invalid_grammar`, param `grammar`
 */
export const writeNetwork = (grammar: Grammar, start: string, tokenOf: (text: string) => number): Slices<Network> =>
  new NetworkWriter(grammar, tokenOf).write(start)

type SimplePart = Exclude<Part, { kind: 'group' }>

/** What only the writing of a network needs. */
class NetworkWriter {
  readonly #firsts = new Numbers()
  readonly #edges = new Numbers()
  /** First and last states of the rules. */
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #grammar: Grammar
  readonly #tokenOf: (text: string) => number
  /** By their texts: to tokenize one takes microseconds, and a grammar may name it thousands of times. */
  readonly #tokens = new Map<string, number>()
  readonly #rules = new Map<string, number>()
  readonly #groups = new Map<Ways, number>()
  /** By their ranges, and by those as a text: to compare texts for each repetition would take long. */
  readonly #classes = new Map<readonly Range[] | string, ClassPlan>()
  /** The number of states, and of what takes as long, at which others have their turn. */
  #sliceEnd = statesAtOnce
  readonly #unwritten: { rule: number; ways: Ways }[] = []

  constructor(grammar: Grammar, tokenOf: (text: string) => number) {
    this.#grammar = grammar
    this.#tokenOf = tokenOf
  }

  *write(start: string): Slices<Network> {
    const root = this.#ruleOf(start)
    for (let next = this.#unwritten.pop(); next !== undefined; next = this.#unwritten.pop())
      yield* this.#writeWays(next.ways, this.#starts[next.rule] as number, this.#ends[next.rule] as number)
    yield
    const finals = new Uint8Array(this.#firsts.length)
    for (const end of this.#ends) finals[end] = 1
    const order = Int32Array.from(this.#sorted(finals))
    yield
    return new Network(
      { firsts: this.#firsts.trim(), edges: this.#edges.trim() },
      { root, starts: Int32Array.from(this.#starts), order, finals },
    )
  }

  #ruleOf(name: string): number {
    const known = this.#rules.get(name)
    if (known !== undefined) return known
    const ways = this.#grammar.get(name)
    if (ways === undefined) throw refused(`names the rule ${name.slice(0, 64)}, which it does not have`)
    const rule = this.#newRule(ways)
    this.#rules.set(name, rule)
    return rule
  }

  #newRule(ways: Ways): number {
    const rule = this.#starts.length
    const end = this.#state()
    this.#starts.push(this.#state())
    this.#ends.push(end)
    this.#unwritten.push({ rule, ways })
    return rule
  }

  #state(): number {
    if (this.#firsts.length >= most.states) throw refused(`is too large: it has more than ${most.states} states`)
    this.#firsts.push(-1)
    return this.#firsts.length - 1
  }

  #edge(from: number, kind: EdgeKind, a: number, b: number, to: number): void {
    if (this.#edges.length >= 5 * most.edges)
      throw refused(`is too large: it has more than ${most.edges} edges between its states`)
    const next = this.#firsts.at(from)
    this.#firsts.set(from, this.#edges.length)
    this.#edges.push(kind)
    this.#edges.push(a)
    this.#edges.push(b)
    this.#edges.push(to)
    this.#edges.push(next)
  }

  #isSliceOver(): boolean {
    const done = this.#firsts.length + statesOfToken * this.#tokens.size
    if (done < this.#sliceEnd) return false
    this.#sliceEnd = done + statesAtOnce
    return true
  }

  #skip(from: number, to: number): void {
    this.#edge(from, EdgeKind.empty, 0, 0, to)
  }

  *#writeWays(ways: Ways, from: number, to: number): Slices<void> {
    for (const way of ways) {
      if (this.#isSliceOver()) yield
      let [state, at] = [from, 0]
      for (; at < way.length; at++) {
        const text = onceText(way[at])
        if (text === undefined) break
        for (const byte of Buffer.from(text)) state = this.#branch(state, byte)
      }
      for (; at < way.length; at++) {
        if (this.#isSliceOver()) yield
        state = yield* this.#write(way[at] as Element, state)
      }
      this.#skip(state, to)
    }
  }

  #branch(from: number, byte: number): number {
    for (let edge = this.#firsts.at(from); edge >= 0; edge = this.#edges.at(edge + 4))
      if (this.#edges.at(edge) === EdgeKind.branch && this.#edges.at(edge + 1) === byte) return this.#edges.at(edge + 3)
    const to = this.#state()
    this.#edge(from, EdgeKind.branch, byte, byte, to)
    return to
  }

  /** @returns the state after an element with all its repetitions */
  *#write({ part, least, most }: Element, from: number): Slices<number> {
    if (least === 1 && most === 1)
      return part.kind === 'group' ? yield* this.#writeGroup(part.ways, from) : this.#writePart(part, from)
    const once = this.#callable(part)
    let state = from
    for (let i = 0; i < least; i++) {
      if (this.#isSliceOver()) yield
      state = this.#writePart(once, state)
    }
    const end = this.#state()
    if (most === Infinity) {
      this.#skip(state, end)
      this.#skip(this.#writePart(once, end), end)
      return end
    }
    for (let i = least; i < most; i++) {
      if (this.#isSliceOver()) yield
      this.#skip(state, end)
      state = this.#writePart(once, state)
    }
    this.#skip(state, end)
    return end
  }

  /** Repetitions of a group call it, so that repetitions within repetitions add up and do not multiply. */
  #callable(part: Part): SimplePart | number {
    if (part.kind !== 'group') return part
    const known = this.#groups.get(part.ways) ?? this.#newRule(part.ways)
    this.#groups.set(part.ways, known)
    return known
  }

  *#writeGroup(ways: Ways, from: number): Slices<number> {
    // The states of a prefix tree must have no other edges.
    const [start, to] = [this.#state(), this.#state()]
    this.#skip(from, start)
    yield* this.#writeWays(ways, start, to)
    return to
  }

  #writePart(part: SimplePart | number, from: number): number {
    if (typeof part === 'number') return this.#writeCall(part, from)
    switch (part.kind) {
      case 'rule':
        return this.#writeCall(this.#ruleOf(part.name), from)
      case 'text': {
        let state = from
        for (const byte of Buffer.from(part.text)) {
          const to = this.#state()
          this.#edge(state, EdgeKind.bytes, byte, byte, to)
          state = to
        }
        return state
      }
      case 'class':
        return this.#writeClass(part.ranges, from)
      case 'token': {
        const id = typeof part.token === 'number' ? part.token : this.#tokenNamed(part.token)
        if (id < 0) throw refused('names a token that the model does not have')
        const to = this.#state()
        this.#edge(from, part.except ? EdgeKind.otherToken : EdgeKind.token, id, 0, to)
        return to
      }
    }
  }

  #tokenNamed(text: string): number {
    const id = this.#tokens.get(text) ?? this.#tokenOf(text)
    this.#tokens.set(text, id)
    return id
  }

  #writeCall(rule: number, from: number): number {
    const to = this.#state()
    this.#edge(from, EdgeKind.call, rule, 0, to)
    return to
  }

  #writeClass(ranges: readonly Range[], from: number): number {
    // As in llama.cpp, an empty class is an empty text.
    if (ranges.length === 0) return from
    const plan = this.#classes.get(ranges) ?? this.#planOf(ranges)
    const first = this.#firsts.length
    for (let i = 0; i < plan.states; i++) this.#state()
    for (const { at, least, most, to } of plan.edges)
      this.#edge(at < 0 ? from : first + at, EdgeKind.bytes, least, most, first + to)
    return first
  }

  #planOf(ranges: readonly Range[]): ClassPlan {
    const key = ranges.join()
    const plan = this.#classes.get(key) ?? planClass(ranges)
    this.#classes.set(key, plan)
    this.#classes.set(ranges, plan)
    return plan
  }

  /** Finds which rules may begin with which others. @returns their order @throws OrielError if one may begin with itself */
  #sorted(finals: Uint8Array): number[] {
    const begins = this.#beginnings(finals)
    const order: number[] = []
    const open = new Set<number>()
    let last = this.#starts.length
    for (const first of this.#starts.keys()) {
      const path = order[first] === undefined ? [{ rule: first, next: 0 }] : []
      for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
        const called = begins[top.rule]?.[top.next++]
        open.add(top.rule)
        if (called === undefined) {
          order[top.rule] = --last
          open.delete(top.rule)
          path.pop()
        } else if (open.has(called))
          throw refused(`is left-recursive: the rule ${this.#nameOf(called)} may begin with itself`)
        else if (order[called] === undefined) path.push({ rule: called, next: 0 })
      }
    }
    return order
  }

  /** For each rule, the rules that may be called before anything is read. */
  #beginnings(finals: Uint8Array): number[][] {
    const begins = this.#starts.map((): number[] => [])
    const maybeEmpty = new Set<number>()
    /** For each rule, the states after calls of it, which are reached if it may be empty. */
    const after = this.#starts.map((): number[] => [])
    const ruleAt = new Int32Array(this.#firsts.length).fill(-1)
    const reached: number[] = []
    const reach = (state: number, rule: number): void => {
      if (ruleAt[state] !== -1) return
      ruleAt[state] = rule
      reached.push(state)
    }
    for (const [rule, start] of this.#starts.entries()) reach(start, rule)
    for (let state = reached.pop(); state !== undefined; state = reached.pop()) {
      const rule = ruleAt[state] as number
      for (let edge = this.#firsts.at(state); edge >= 0; edge = this.#edges.at(edge + 4)) {
        const [kind, called, next] = [this.#edges.at(edge), this.#edges.at(edge + 1), this.#edges.at(edge + 3)]
        if (kind === EdgeKind.empty) reach(next, rule)
        if (kind !== EdgeKind.call) continue
        begins[rule]?.push(called)
        if (maybeEmpty.has(called)) reach(next, rule)
        else after[called]?.push(next, rule)
      }
      if (finals[state] === 0 || maybeEmpty.has(rule)) continue
      maybeEmpty.add(rule)
      const waiting = after[rule] ?? []
      for (let i = 0; i < waiting.length; i += 2) reach(waiting[i] as number, waiting[i + 1] as number)
    }
    return begins
  }

  #nameOf(rule: number): string {
    for (const [name, known] of this.#rules) if (known === rule) return name.slice(0, 64)
    return 'of a group'
  }
}

/** The states of a class of characters: the last one is 0, and the first one, which it does not have, is -1. */
interface ClassPlan {
  readonly states: number
  readonly edges: readonly { at: number; least: number; most: number; to: number }[]
}

function planClass(ranges: readonly Range[]): ClassPlan {
  const edges: { at: number; least: number; most: number; to: number }[] = []
  /** States by the bytes that are missing: characters with the same last bytes share them. */
  const states = new Map([['', 0]])
  // What a class leaves out of all that it leaves out is the class, sorted, with nothing twice.
  for (const character of without(without(ranges)).flatMap(byteRanges)) {
    let at = -1
    for (const [i, [least, most]] of character.entries()) {
      const rest = character.slice(i + 1).join()
      const known = states.get(rest)
      const to = known ?? states.size
      edges.push({ at, least, most, to })
      // The edges behind a state were made with it.
      if (known !== undefined) break
      states.set(rest, to)
      at = to
    }
  }
  return { states: states.size, edges }
}

/** The text of an element that is a text, once. */
const onceText = (element: Element | undefined): string | undefined =>
  element?.part.kind === 'text' && element.least === 1 && element.most === 1 ? element.part.text : undefined
