import { escaped, literal, mostTimes, repeated } from './rules.ts'

/**
 * A regular expression as GBNF for the inside of a JSON string. Supported is the common part of ECMA-262: classes, groups,
 * alternatives, quantifiers, and anchors at both ends.
 * @returns undefined for one with other syntax: look-around, back references, word boundaries
 */
export function patternRule(pattern: string): string | undefined {
  try {
    return new PatternReader(pattern).read()
  } catch (error) {
    if (error instanceof Unreadable) return undefined
    throw error
  }
}

class Unreadable extends Error {}

type Range = readonly [first: number, last: number]

const digits: Range[] = [[48, 57]]
const words: Range[] = [...digits, [65, 90], [95, 95], [97, 122]]
const spaces: Range[] = [
  [9, 10],
  [12, 13],
  [32, 32],
]
const named: Record<string, Range[]> = { d: digits, w: words, s: spaces }
const controls: Record<string, number> = { n: 10, r: 13, t: 9, f: 12 }
const anything = 'char'

class PatternReader {
  #rest: string[]

  constructor(pattern: string) {
    this.#rest = [...pattern]
  }

  read(): string {
    const starts = this.#take('^')
    const body = this.#alternatives()
    const ends = this.#take('$')
    if (this.#rest.length > 0) throw new Unreadable()
    return `${starts ? '' : `${anything}* `}(${body})${ends ? '' : ` ${anything}*`}`
  }

  #take(character: string): boolean {
    if (this.#rest[0] !== character) return false
    this.#rest.shift()
    return true
  }

  #next(): string {
    const character = this.#rest.shift()
    if (character === undefined) throw new Unreadable()
    return character
  }

  #alternatives(): string {
    const ways = [this.#sequence()]
    while (this.#take('|')) ways.push(this.#sequence())
    return ways.join(' | ')
  }

  #sequence(): string {
    const parts: string[] = []
    while (this.#rest.length > 0 && !['|', ')', '$'].includes(this.#rest[0] ?? '')) parts.push(this.#quantified())
    return parts.length === 0 ? '""' : parts.join(' ')
  }

  #quantified(): string {
    const atom = this.#atom()
    const [least, most] = this.#quantifier()
    // Lazy and greedy quantifiers match the same texts.
    if (least !== 1 || most !== 1) this.#take('?')
    return least === 1 && most === 1 ? atom : repeated(atom, least, most)
  }

  #quantifier(): Range {
    if (this.#take('*')) return [0, Number.POSITIVE_INFINITY]
    if (this.#take('+')) return [1, Number.POSITIVE_INFINITY]
    if (this.#take('?')) return [0, 1]
    if (!this.#take('{')) return [1, 1]
    const end = this.#rest.indexOf('}')
    const inside = this.#rest
      .splice(0, end + 1)
      .slice(0, -1)
      .join('')
    const bounds = /^(\d{1,4})(?:(,)(\d{1,4})?)?$/.exec(inside)
    if (end < 0 || bounds === null) throw new Unreadable()
    const least = Number(bounds[1])
    const most = bounds[2] === undefined ? least : Number(bounds[3] ?? Number.POSITIVE_INFINITY)
    // llama.cpp reads a larger number of repetitions as unbounded.
    if (most < least || least > mostTimes || (most > mostTimes && most < Infinity)) throw new Unreadable()
    return [least, most]
  }

  #atom(): string {
    const character = this.#next()
    if (character === '.') return anything
    if (character === '[') return this.#class()
    if (character === '(') return this.#group()
    if (character === '\\') return oneOf(this.#escape())
    if (['^', '*', '+', '?', '{', '}', ']'].includes(character)) throw new Unreadable()
    return oneOf(single(character))
  }

  #group(): string {
    if (this.#take('?') && !this.#take(':')) throw new Unreadable()
    const body = this.#alternatives()
    if (!this.#take(')')) throw new Unreadable()
    return `(${body})`
  }

  #class(): string {
    const negated = this.#take('^')
    const ranges: Range[] = []
    while (!this.#take(']')) {
      const from = this.#member()
      const [first] = from
      if (from.length > 1 || first === undefined || this.#rest[0] !== '-' || this.#rest[1] === ']') {
        ranges.push(...from)
        continue
      }
      this.#take('-')
      const [last, more] = this.#member()
      if (last === undefined || more !== undefined || last[0] < first[0]) throw new Unreadable()
      ranges.push([first[0], last[0]])
    }
    return oneOf(negated ? complement(ranges) : ranges)
  }

  #member(): readonly Range[] {
    const character = this.#next()
    return character === '\\' ? this.#escape() : single(character)
  }

  #escape(): readonly Range[] {
    const character = this.#next()
    const set = named[character.toLowerCase()]
    if (set !== undefined) return character === character.toLowerCase() ? set : complement(set)
    const control = controls[character]
    if (control !== undefined) return [[control, control]]
    if (character === 'x' || character === 'u') {
      const code = this.#rest.splice(0, character === 'x' ? 2 : 4).join('')
      if (!/^([0-9a-f]{2}){1,2}$/i.test(code)) throw new Unreadable()
      return single(String.fromCharCode(Number.parseInt(code, 16)))
    }
    if (/[A-Za-z0-9]/.test(character)) throw new Unreadable()
    return single(character)
  }
}

function single(character: string): Range[] {
  const code = character.codePointAt(0) ?? 0
  return [[code, code]]
}

function complement(ranges: readonly Range[]): Range[] {
  const left: Range[] = []
  let next = 0
  for (const [first, last] of [...ranges].sort(([a], [b]) => a - b)) {
    if (first > next) left.push([next, first - 1])
    next = Math.max(next, last + 1)
  }
  return next <= 0x10ffff ? [...left, [next, 0x10ffff]] : left
}

/** JSON's escapes of characters that a string may not contain. */
const inJson: Record<number, string> = { 8: '\\b', 9: '\\t', 10: '\\n', 12: '\\f', 13: '\\r', 34: '\\"', 92: '\\\\' }

/** One character of these ranges, in a JSON string. */
function oneOf(ranges: readonly Range[]): string {
  const ways = Object.entries(inJson)
    .filter(([code]) => ranges.some(([first, last]) => first <= Number(code) && Number(code) <= last))
    .map(([, text]) => literal(text))
  const barred: Range[] = [
    [0, 31],
    [34, 34],
    [92, 92],
    [127, 127],
    [0xd800, 0xdfff],
  ]
  const plain = without(ranges, barred)
  if (plain.length > 0) {
    const inside = plain.map(([a, b]) => (a === b ? escaped(a) : `${escaped(a)}-${escaped(b)}`))
    ways.push(`[${inside.join('')}]`)
  }
  if (ways.length === 0) throw new Unreadable()
  return ways.length === 1 ? ways.join() : `(${ways.join(' | ')})`
}

const without = (ranges: readonly Range[], barred: readonly Range[]): Range[] =>
  barred.reduce<Range[]>(
    (left, [from, to]) =>
      left.flatMap(([first, last]): Range[] => [
        ...(first < from ? [[first, Math.min(last, from - 1)] as const] : []),
        ...(last > to ? [[Math.max(first, to + 1), last] as const] : []),
      ]),
    [...ranges],
  )
