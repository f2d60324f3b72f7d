import { OrielError } from '../../errors.ts'
import { mostTimes } from './rules.ts'

/** Bounds of a grammar. llama.cpp has none: beyond these it takes seconds for a token, or ends the process. */
const most = {
  characters: 200_000,
  /** Nested parentheses: llama.cpp reads them by recursion, and 10,000 of them ended the process. */
  nesting: 200,
  /** Rules that begin with each other: recursion again, and 20,000 of them ended the process. */
  depth: 1000,
  /** Alternatives at one place. Forty rules like `a ::= b | b` never finished. */
  ways: 10_000,
  /** Consecutive parts that may be empty: 320 of them took 12 s for a token, 80 took half a second. */
  empties: 64,
  /** Elements with all repetitions expanded, as llama.cpp does: 40 million took 1.6 s and 600 MB. */
  elements: 1_000_000,
}

/**
 * Refuses a GBNF grammar that would make llama.cpp slow or end the process. A grammar with a syntax error passes, since
 * llama.cpp refuses it.
 * @throws OrielError `invalid`, code `invalid_grammar`, param `grammar`
 */
export function checkGrammar(grammar: string): void {
  if (grammar.length > most.characters)
    throw refused(`has ${grammar.length} characters; the maximum is ${most.characters}`)
  // It ends a string in C, so llama.cpp would read another grammar than the one checked here.
  if (grammar.includes('\0')) throw refused('contains the character U+0000')
  const rules = readRules(grammar)
  const edges = new Edges(rules)
  for (const name of rules.keys()) edges.ofRule(name)
  for (const rule of rules.values()) checkRows(rule, edges)
  checkSize(rules)
  checkTokens(rules)
}

/** The error of a grammar that cannot be used. @param why a predicate: `has 3 characters` */
export const refused = (why: string): OrielError =>
  new OrielError('invalid', `The grammar ${why}.`, { param: 'grammar', code: 'invalid_grammar' })

type Alternatives = Element[][]

interface Element {
  part: { rule: string } | { group: Alternatives } | 'character' | 'token'
  least: number
  most: number
  /** Number of elements that llama.cpp expands it to, without the inside of a group. */
  size: number
}

const tokens =
  /\s+|#[^\r\n]*|"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|!?<[^>\s]*>|([a-zA-Z0-9_-]+)(\s*::=)?|\{[ \t]*(\d+)[ \t]*(,?)[ \t]*(\d*)[ \t]*\}|./gsu

/** Strings and classes that match nothing: llama.cpp treats an empty class like an empty string. */
const nothing = ['""', '[]', '[^]']

/** Reads rules. Anything that is not understood counts as a character. */
function readRules(grammar: string): Map<string, Alternatives> {
  const rules = new Map<string, Alternatives>()
  let open: Alternatives[] = [[[]]]
  for (const [text, name, starts, least, comma, up] of grammar.matchAll(tokens)) {
    const alternatives = open.at(-1) ?? [[]]
    const sequence = alternatives.at(-1) ?? []
    const add = (part: Element['part'], size = 1) => sequence.push({ part, least: 1, most: 1, size })
    if (/^[\s#]/.test(text) || nothing.includes(text)) continue
    if (name !== undefined && starts !== undefined) {
      const body: Alternatives = [[]]
      rules.set(name, body)
      open = [body]
    } else if (name !== undefined) add({ rule: name })
    else if (text === '|') alternatives.push([])
    else if (text === '(') {
      if (open.length > most.nesting) throw refused(`has more than ${most.nesting} nested parentheses`)
      const group: Alternatives = [[]]
      add({ group })
      open.push(group)
    } else if (text === ')') {
      if (open.length > 1) open.pop()
    } else if (least !== undefined)
      repeat(sequence, Number(least), comma === '' ? Number(least) : Number(up || noBound))
    else if (text === '*') repeat(sequence, 0, noBound)
    else if (text === '+') repeat(sequence, 1, noBound)
    else if (text === '?') repeat(sequence, 0, 1)
    else if (text === '{') throw refused('has a repetition that is not of the form {n}, {n,} or {n,m}')
    else if (/^!?<./.test(text)) add('token')
    else add('character', text.length)
  }
  return rules
}

const noBound = 1e9

function repeat(sequence: Element[], least: number, up: number): void {
  // llama.cpp would count from one to the other without end.
  if (up < least) throw refused(`repeats a part at least ${least} times and at most ${up} times`)
  const last = sequence.at(-1)
  if (last === undefined) return
  const times = up <= mostTimes ? up : Math.min(least, mostTimes) + 1
  last.size = (last.size + 3) * times
  last.least *= least
  last.most *= up
}

/** How a match of a part may begin. */
interface Edge {
  /** Number of ways to begin with a character. */
  ways: number
  /** Number of consecutive parts that may be empty if the whole may be; otherwise 0. */
  empties: number
}

/** Computes how rules and their parts may begin. */
class Edges {
  readonly #rules: ReadonlyMap<string, Alternatives>
  /** Results for rules and groups, which are needed at every place that refers to them. */
  readonly #known = new Map<Alternatives, Edge>()
  readonly #open = new Set<string>()

  constructor(rules: ReadonlyMap<string, Alternatives>) {
    this.#rules = rules
  }

  ofRule(name: string): Edge {
    const body = this.#rules.get(name) ?? []
    const known = this.#known.get(body)
    if (known !== undefined) return known
    if (this.#open.has(name)) throw refused(`is left-recursive: the rule ${name} may begin with itself`)
    if (this.#open.size >= most.depth) throw refused(`has more than ${most.depth} rules that begin with each other`)
    this.#open.add(name)
    const edge = this.#ofAlternatives(body)
    this.#open.delete(name)
    return edge
  }

  ofElement({ part, least, most: up }: Element): Edge {
    if (typeof part === 'string') return { ways: 1, empties: least === 0 ? 1 : 0 }
    const { ways, empties } = 'rule' in part ? this.ofRule(part.rule) : this.#ofAlternatives(part.group)
    if (empties > 0) return { ways, empties: empties * Math.min(Math.max(1, up), most.empties + 1) }
    return { ways, empties: least === 0 ? 1 : 0 }
  }

  #ofAlternatives(alternatives: Alternatives): Edge {
    const known = this.#known.get(alternatives)
    if (known !== undefined) return known
    const edges = alternatives.map((sequence) => this.#ofSequence(sequence))
    const ways = edges.reduce((sum, edge) => sum + edge.ways, 0)
    if (ways > most.ways) throw refused(`has more than ${most.ways} alternatives at one place`)
    const edge = { ways, empties: edges.reduce((most, { empties }) => Math.max(most, empties), 0) }
    this.#known.set(alternatives, edge)
    return edge
  }

  #ofSequence(sequence: readonly Element[]): Edge {
    let [ways, empties] = [0, 0]
    for (const element of sequence) {
      const edge = this.ofElement(element)
      ways += edge.ways
      if (edge.empties === 0) return { ways, empties: 0 }
      empties += edge.empties
    }
    // A sequence without elements counts as one empty part.
    return { ways, empties: Math.max(1, empties) }
  }
}

/** Counts consecutive parts that may be empty at every place, not only at the beginning. */
function checkRows(alternatives: Alternatives, edges: Edges): void {
  for (const sequence of alternatives) {
    let row = 0
    for (const element of sequence) {
      const { empties } = edges.ofElement(element)
      row = empties === 0 ? 0 : row + empties
      if (row > most.empties) throw refused(`has more than ${most.empties} parts in a row that may be empty`)
      if (typeof element.part !== 'string' && 'group' in element.part) checkRows(element.part.group, edges)
    }
  }
}

/** Calls `visit` with every element of a rule, those in groups too. */
function visitElements(alternatives: Alternatives, visit: (element: Element) => void): void {
  for (const element of alternatives.flat()) {
    visit(element)
    const { part } = element
    if (typeof part !== 'string' && 'group' in part) visitElements(part.group, visit)
  }
}

function checkSize(rules: ReadonlyMap<string, Alternatives>): void {
  let size = 0
  for (const rule of rules.values())
    visitElements(rule, (element) => {
      size += element.size
    })
  if (size > most.elements) throw refused(`has more than ${most.elements} elements when its repetitions are expanded`)
}

/** Whether a part contains characters, and tokens such as `<think>`. */
interface Kinds {
  characters: boolean
  tokens: boolean
}

/**
 * Refuses tokens after characters. If a token of the model continues past those characters, llama.cpp accepts it for the
 * grammar's token and then cannot follow it, which ended the process.
 */
function checkTokens(rules: ReadonlyMap<string, Alternatives>): void {
  const withTokens = rulesWith(rules, 'token')
  if (withTokens.size === 0) return
  const withCharacters = rulesWith(rules, 'character')
  const ofElement = ({ part }: Element): Kinds => {
    if (typeof part === 'string') return { characters: part === 'character', tokens: part === 'token' }
    if ('group' in part) return ofAlternatives(part.group)
    return { characters: withCharacters.has(part.rule), tokens: withTokens.has(part.rule) }
  }
  const ofAlternatives = (alternatives: Alternatives): Kinds => {
    const all = { characters: false, tokens: false }
    for (const sequence of alternatives) {
      let before = false
      for (const element of sequence) {
        const { characters, tokens } = ofElement(element)
        if (tokens && (before || (characters && element.most > 1)))
          throw refused('has a token (<...>) after characters; tokens are allowed only before them')
        before ||= characters
        all.characters ||= characters
        all.tokens ||= tokens
      }
    }
    return all
  }
  for (const rule of rules.values()) ofAlternatives(rule)
}

/** Names of the rules that contain such a part, directly or through other rules. */
function rulesWith(rules: ReadonlyMap<string, Alternatives>, kind: 'character' | 'token'): ReadonlySet<string> {
  const found = new Set<string>()
  const users = new Map<string, string[]>()
  for (const [name, rule] of rules)
    visitElements(rule, ({ part }) => {
      if (part === kind) found.add(name)
      if (typeof part === 'string' || !('rule' in part)) return
      const known = users.get(part.rule)
      if (known === undefined) users.set(part.rule, [name])
      else known.push(name)
    })
  // Iterating over a set includes what is added meanwhile.
  for (const name of found) for (const user of users.get(name) ?? []) found.add(user)
  return found
}
