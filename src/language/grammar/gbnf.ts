import { OrielError } from '../../errors.ts'

/** A grammar by its rules: each has one or several ways, and a way is a sequence of elements. */
export type Grammar = ReadonlyMap<string, Ways>
export type Ways = readonly (readonly Element[])[]

export interface Element {
  readonly part: Part
  /** How often it is repeated. `most` may be Infinity. */
  readonly least: number
  readonly most: number
}

export type Part =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'class'; readonly ranges: readonly Range[] }
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'group'; readonly ways: Ways }
  /** A token of the vocabulary, by its id or its text, which has the brackets as in llama.cpp, or any other token. */
  | { readonly kind: 'token'; readonly token: number | string; readonly except: boolean }

/** Code points, both ends included. */
export type Range = readonly [first: number, last: number]

/** Bounds of the text. A grammar is read and written as a network in one piece: 10 to 30 ms at these. */
const most = { characters: 120_000, nesting: 200 }

/**
 * Reads GBNF, the notation of llama.cpp (grammars/README.md). A rule may go on in the next line.
 * @throws OrielError `invalid`, code `invalid_grammar`, param `grammar`
 */
export function readGrammar(text: string): Grammar {
  if (text.length > most.characters) throw refused(`has ${text.length} characters; the maximum is ${most.characters}`)
  return new Reader(text).read()
}

/** The error of a grammar that cannot be used. @param why a predicate: `has 3 characters` */
export const refused = (why: string): OrielError =>
  new OrielError('invalid', `The grammar ${why}.`, { param: 'grammar', code: 'invalid_grammar' })

const space = /\s*(?:#[^\r\n]*\s*)*/y
const name = /[\w-]+/y
const tokenName = /(!?)(<(?:\[(\d{1,9})\]|[^>\r\n]*)>)/y
const repetition = /\{[ \t]*(\d{1,9})[ \t]*(?:(,)[ \t]*(?:(\d{1,9})[ \t]*)?)?\}/y
const escaped = /x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[bftnr\\"[\]]/y
const controls: Record<string, number> = { b: 8, f: 12, t: 9, n: 10, r: 13 }
const times: Record<string, readonly [number, number]> = { '*': [0, Infinity], '+': [1, Infinity], '?': [0, 1] }

/** Every character: U+0000 ends a text in too many programs, and halves of surrogate pairs are no characters. */
const everything: readonly Range[] = [
  [1, 0xd7ff],
  [0xe000, 0x10ffff],
]

class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  read(): Grammar {
    const rules = new Map<string, Ways>()
    this.#take(space)
    while (this.#at < this.#text.length) {
      const rule = this.#definition()
      if (rule === undefined) throw this.#unexpected('a rule, such as root ::= "yes" | "no"')
      this.#take(space)
      rules.set(rule, this.#ways(0))
    }
    return rules
  }

  #ways(depth: number): Ways {
    if (depth > most.nesting) throw refused(`has more than ${most.nesting} nested parentheses`)
    const ways = [this.#sequence(depth)]
    while (this.#next('|')) ways.push(this.#sequence(depth))
    return ways
  }

  #sequence(depth: number): readonly Element[] {
    const elements: Element[] = []
    for (;;) {
      const part = this.#part(depth)
      if (part === undefined) return elements
      elements.push(this.#repeated({ part, least: 1, most: 1 }))
    }
  }

  #part(depth: number): Part | undefined {
    const character = this.#text[this.#at]
    if (character === '"') return this.#literal()
    if (character === '[') return this.#class()
    if (this.#next('.')) return { kind: 'class', ranges: everything }
    if (this.#next('(')) {
      const ways = this.#ways(depth + 1)
      if (!this.#next(')')) throw this.#unexpected(')')
      return { kind: 'group', ways }
    }
    const token = this.#take(tokenName)
    if (token !== null) {
      this.#take(space)
      const [, not, text = '', id] = token
      return { kind: 'token', token: id === undefined ? text : Number(id), except: not === '!' }
    }
    const before = this.#at
    if (this.#definition() !== undefined) {
      this.#at = before
      return undefined
    }
    const rule = this.#take(name)?.[0]
    if (rule === undefined) return undefined
    this.#take(space)
    return { kind: 'rule', name: rule }
  }

  /**
   * Takes the beginning of a rule, or nothing. In steps: one expression for all of it would try every way to divide a row of
   * comments or spaces.
   */
  #definition(): string | undefined {
    const before = this.#at
    const rule = this.#take(name)?.[0]
    this.#take(space)
    if (rule !== undefined && this.#text.startsWith('::=', this.#at)) {
      this.#at += '::='.length
      return rule
    }
    this.#at = before
    return undefined
  }

  #repeated(once: Element): Element {
    let element = once
    for (;;) {
      const sign = times[this.#text[this.#at] ?? '']
      const given = sign === undefined ? this.#take(repetition) : null
      if (sign === undefined && given === null) {
        if (this.#text[this.#at] === '{') throw refused('has a repetition that is not of the form {n}, {n,} or {n,m}')
        return element
      }
      if (sign !== undefined) this.#at++
      const from = sign?.[0] ?? Number(given?.[1])
      const to = sign?.[1] ?? (given?.[2] === undefined ? from : given[3] === undefined ? Infinity : Number(given[3]))
      if (to < from) throw refused(`repeats a part at least ${from} times and at most ${to} times`)
      this.#take(space)
      // A repetition of a repetition repeats a group of it.
      const part: Part = element === once ? once.part : { kind: 'group', ways: [[element]] }
      element = { part, least: from, most: to }
    }
  }

  #literal(): Part {
    this.#at++
    let text = ''
    while (this.#text[this.#at] !== '"') text += String.fromCodePoint(this.#character('"'))
    this.#at++
    this.#take(space)
    return { kind: 'text', text }
  }

  #class(): Part {
    this.#at++
    const negated = this.#text[this.#at] === '^'
    if (negated) this.#at++
    const ranges: Range[] = []
    while (this.#text[this.#at] !== ']') {
      const first = this.#character(']')
      if (this.#text[this.#at] !== '-' || this.#text[this.#at + 1] === ']') {
        ranges.push([first, first])
        continue
      }
      this.#at++
      const last = this.#character(']')
      if (last < first) throw refused('has a range of characters that ends before it begins')
      ranges.push([first, last])
    }
    this.#at++
    this.#take(space)
    return { kind: 'class', ranges: negated ? without(ranges) : ranges }
  }

  #character(end: string): number {
    const code = this.#text.codePointAt(this.#at)
    if (code === undefined) throw this.#unexpected(end)
    this.#at += code > 0xffff ? 2 : 1
    if (code !== 0x5c) return code
    const name = this.#take(escaped)?.[0]
    if (name === undefined) throw this.#unexpected(String.raw`one of \n \r \t \" \\ \[ \] \x00 \u0000 \U00000000`)
    const value = controls[name] ?? (name.length === 1 ? name.charCodeAt(0) : Number.parseInt(name.slice(1), 16))
    if (value > 0x10ffff) throw refused('has a character beyond U+10FFFF')
    return value
  }

  #next(character: string): boolean {
    if (this.#text[this.#at] !== character) return false
    this.#at++
    this.#take(space)
    return true
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)
    if (found !== null) this.#at += found[0].length
    return found
  }

  /** Lines and columns, and no text: a grammar may contain what must not be in a log. */
  #unexpected(expected: string): OrielError {
    const before = this.#text.slice(0, this.#at).split('\n')
    const place = `line ${before.length}, column ${(before.at(-1) ?? '').length + 1}`
    return refused(`cannot be read as GBNF at ${place}: expected ${expected}`)
  }
}

/** Every character that is not in these ranges. */
export function without(ranges: readonly Range[]): Range[] {
  const left: Range[] = []
  let next = 1
  for (const [first, last] of [...ranges].sort(([a], [b]) => a - b)) {
    if (first > next) left.push([next, first - 1])
    next = Math.max(next, last + 1)
  }
  return next <= 0x10ffff ? [...left, [next, 0x10ffff]] : left
}
