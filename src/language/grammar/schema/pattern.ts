import { OrielError } from '../../../errors.ts'
import { escaped, literal, repeated } from '../rules.ts'

/** A regular expression as GBNF, with the lengths of the texts that match it. */
export interface PatternRule {
  readonly rule: string
  readonly least: number
  readonly most: number
}

/**
 * A regular expression as GBNF for the inside of a JSON string. Supported is the common part of ECMA-262: classes, groups,
 * alternatives, quantifiers, and anchors at both ends of each alternative.
 * @param least length of the texts, as far as it can be held to; see the lengths of the result
 * @returns undefined for one with other syntax: look-around, back references, word boundaries; nor for one of more than `mostCharacters`
 */
export function patternRule(pattern: string, least = 0, most = Number.POSITIVE_INFINITY): PatternRule | undefined {
  if (pattern.length > mostCharacters) return undefined
  try {
    return new PatternReader(equivalents.get(pattern) ?? pattern, inString, least, most).read()
  } catch (error) {
    if (error instanceof Unreadable) return undefined
    throw error
  }
}

/**
 * A regular expression as GBNF of the texts that match it as a whole, with the syntax of `patternRule` and Python's named groups.
 * @throws OrielError `invalid`, code `invalid_grammar`, param `grammar`, that says where other syntax begins
 */
export function wholeText(pattern: string): string {
  if (pattern.length > mostCharacters)
    throw unusable(`it has ${pattern.length} characters; at most ${mostCharacters} are allowed`)
  const reader = new PatternReader(pattern, inText)
  try {
    return reader.read().rule
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    throw unusable(
      `it cannot be read beyond its character ${reader.place}: it may have classes, groups, alternatives, quantifiers and anchors at its ends, but no look-around, back references or word boundaries`,
    )
  }
}

const unusable = (why: string): OrielError =>
  new OrielError('invalid', `The regular expression cannot be used: ${why}.`, {
    param: 'grammar',
    code: 'invalid_grammar',
  })

/** Patterns with look-ahead, or beside a format, that zod and pydantic write, and what they allow without it. */
const equivalents = new Map([
  // z.email(), as far as its format allows it.
  [
    String.raw`^(?:[A-Za-z0-9_'+\-]+\.)*[A-Za-z0-9_'+\-]*[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$`,
    String.raw`^[A-Za-z0-9_+]{1,40}(\.[A-Za-z0-9_+]{1,20})?@([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.){1,2}[A-Za-z]{2,20}$`,
  ],
  // Decimal, of pydantic.
  [String.raw`^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$`, String.raw`^[+-]?(\d+\.?\d*|\.\d+)$`],
  // z.iso.duration()
  [
    String.raw`^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$`,
    String.raw`^P(\d+W|\d+Y(\d+M)?(\d+D)?|\d+M(\d+D)?|\d+D|(\d+Y)?(\d+M)?(\d+D)?T(\d+H(\d+M)?(\d+S)?|\d+M(\d+S)?|\d+S))$`,
  ],
  // z.hostname(): of at most four labels of 61 characters, which are less than 253.
  [
    String.raw`^(?=.{1,253}\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*\.?$`,
    String.raw`^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,59}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,59}[0-9a-zA-Z])?){0,3}$`,
  ],
])

class Unreadable extends Error {}

/** Of a pattern. */
export const mostCharacters = 2000

/** Nested groups. */
const mostDepth = 50

/** A part of a sequence. */
interface Quantified extends PatternRule {
  /** If it is a repetition of one character: that character's rule. */
  readonly single?: PatternRule
}

const sequenceOf = (parts: readonly PatternRule[]): PatternRule => ({
  rule: parts.length === 0 ? '""' : parts.map(({ rule }) => rule).join(' '),
  least: parts.reduce((sum, part) => sum + part.least, 0),
  most: parts.reduce((sum, part) => sum + part.most, 0),
})

const eitherOf = (ways: readonly PatternRule[]): PatternRule => ({
  rule: ways.length === 1 ? (ways[0]?.rule ?? '') : `(${ways.map(({ rule }) => rule).join(' | ')})`,
  least: Math.min(...ways.map(({ least }) => least)),
  most: Math.max(...ways.map(({ most }) => most)),
})

type Range = readonly [first: number, last: number]

const digits: Range[] = [[48, 57]]
const words: Range[] = [...digits, [65, 90], [95, 95], [97, 122]]
const spaces: Range[] = [
  [9, 10],
  [12, 13],
  [32, 32],
]
/** What is a space too, and is never written. */
const otherSpaces: Range[] = [
  [11, 11],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]
const lineEnds: Range[] = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
]
const named: Record<string, Range[]> = { d: digits, w: words, s: spaces }
const controls: Record<string, number> = { n: 10, r: 13, t: 9, f: 12 }

/** How the texts that match are written. */
interface Writing {
  /** Any character but, within a text, a line end. */
  readonly anything: string
  /** What `.` stands for. */
  readonly dot: string
  /** One character of these ranges. */
  oneOf(ranges: readonly Range[]): string
  /** Whether the pattern is that of the whole text, with or without anchors. */
  readonly isWhole: boolean
}

class PatternReader {
  readonly #writing: Writing
  readonly #length: number
  #rest: string[]
  readonly #least: number
  readonly #most: number
  #depth = 0

  constructor(pattern: string, writing: Writing, least = 0, most = Number.POSITIVE_INFINITY) {
    this.#writing = writing
    this.#rest = [...pattern]
    this.#length = this.#rest.length
    this.#least = least
    this.#most = most
  }

  /** Characters that have been read. */
  get place(): number {
    return this.#length - this.#rest.length
  }

  read(): PatternRule {
    const ways = [this.#anchored()]
    while (this.#take('|')) ways.push(this.#anchored())
    if (this.#rest.length > 0) throw new Unreadable()
    return eitherOf(ways)
  }

  /** An alternative with its anchors: without them, anything may be around it. */
  #anchored(): PatternRule {
    const starts = this.#take('^')
    const parts = this.#sequence()
    const ends = this.#take('$')
    const all = sequenceOf(starts || ends ? this.#tightened(parts) : parts)
    if ((starts && ends) || this.#writing.isWhole) return all
    const { anything } = this.#writing
    // What is around it fills the length.
    const least = Math.max(0, this.#least - all.least)
    const most = this.#most - all.most >= least ? this.#most - all.most : Infinity
    if (!starts && !ends) return { rule: `${anything}* ${all.rule} ${anything}*`, least: all.least, most: Infinity }
    const rest = repeated(anything, least, most)
    return {
      rule: starts ? `${all.rule} ${rest}` : `${rest} ${all.rule}`,
      least: all.least + least,
      most: all.most + most,
    }
  }

  /** Bounds the only part without an end by the length, the most frequent case of a pattern beside one: `^[a-z]+$`. */
  #tightened(parts: readonly Quantified[]): readonly PatternRule[] {
    const endless = parts.filter(({ most }) => most === Infinity)
    const single = endless[0]?.single
    if (endless.length !== 1 || single === undefined) return parts
    const others = sequenceOf(parts.filter(({ most }) => most < Infinity))
    const least = Math.max(single.least, this.#least - others.least)
    const most = this.#most - others.most
    if (most < least) return parts
    return parts.map((part) => (part === endless[0] ? { rule: repeated(single.rule, least, most), least, most } : part))
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

  #alternatives(): PatternRule {
    const ways = [sequenceOf(this.#sequence())]
    while (this.#take('|')) ways.push(sequenceOf(this.#sequence()))
    return eitherOf(ways)
  }

  #sequence(): Quantified[] {
    const parts: Quantified[] = []
    while (this.#rest.length > 0 && !['|', ')', '$'].includes(this.#rest[0] ?? '')) parts.push(this.#quantified())
    return parts
  }

  #quantified(): Quantified {
    const atom = this.#atom()
    const [least, most] = this.#quantifier()
    // Lazy and greedy quantifiers match the same texts.
    if (least !== 1 || most !== 1) this.#take('?')
    const rule = least === 1 && most === 1 ? atom.rule : repeated(atom.rule, least, most)
    const isSingle = atom.least === 1 && atom.most === 1
    return {
      rule,
      least: atom.least * least,
      most: atom.most === 0 || most === 0 ? 0 : atom.most * most,
      ...(isSingle ? { single: { rule: atom.rule, least, most } } : {}),
    }
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
    if (most < least) throw new Unreadable()
    return [least, most]
  }

  #atom(): PatternRule {
    const character = this.#next()
    if (character === '(') return this.#group()
    const one = (rule: string): PatternRule => ({ rule, least: 1, most: 1 })
    if (character === '.') return one(this.#writing.dot)
    if (character === '[') return one(this.#class())
    if (character === '\\') return one(this.#writing.oneOf(this.#escape()))
    if (['^', '*', '+', '?', '{', '}', ']'].includes(character)) throw new Unreadable()
    return one(this.#writing.oneOf(single(character)))
  }

  #group(): PatternRule {
    if (this.#take('?') && !this.#take(':')) this.#name()
    if (++this.#depth > mostDepth) throw new Unreadable()
    const body = this.#alternatives()
    this.#depth--
    if (!this.#take(')')) throw new Unreadable()
    return { ...body, rule: `(${body.rule})` }
  }

  /** The name of a group. Look-behind begins in the same way. */
  #name(): void {
    if (this.#writing.isWhole) this.#take('P')
    const end = this.#rest.indexOf('>')
    if (!/^<[A-Za-z_]\w*$/.test(this.#rest.slice(0, end).join(''))) throw new Unreadable()
    this.#rest.splice(0, end + 1)
  }

  #class(): string {
    const negated = this.#take('^')
    const ranges: Range[] = []
    while (!this.#take(']')) {
      const from = this.#member()
      if (this.#rest[0] !== '-' || this.#rest[1] === ']') {
        ranges.push(...from)
        continue
      }
      const hyphen = single(this.#next())
      const to = this.#member()
      const [first, last] = [onlyOf(from), onlyOf(to)]
      // Without a character on both sides the hyphen is one itself.
      if (first === undefined || last === undefined) ranges.push(...from, ...hyphen, ...to)
      else if (last < first) throw new Unreadable()
      else ranges.push([first, last])
    }
    return this.#writing.oneOf(negated ? others(ranges) : ranges)
  }

  #member(): readonly Range[] {
    const character = this.#next()
    return character === '\\' ? this.#escape() : single(character)
  }

  #escape(): readonly Range[] {
    const character = this.#next()
    const set = named[character.toLowerCase()]
    if (set !== undefined) return character === character.toLowerCase() ? set : others(set)
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

/** The only character of some ranges; undefined: there are more, as in `\d`. */
function onlyOf([range, ...others]: readonly Range[]): number | undefined {
  return range !== undefined && others.length === 0 && range[0] === range[1] ? range[0] : undefined
}

function single(character: string): Range[] {
  const code = character.codePointAt(0) ?? 0
  return [[code, code]]
}

/** All characters but these. Who excludes spaces excludes those that are never written too. */
const others = (ranges: readonly Range[]): Range[] =>
  complement(spaces.every((one) => ranges.includes(one)) ? [...ranges, ...otherSpaces] : ranges)

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

const surrogates: Range = [0xd800, 0xdfff]

/** Inside a JSON string. */
const inString: Writing = {
  anything: 'char',
  dot: oneInJson(complement(lineEnds)),
  oneOf: oneInJson,
  isWhole: false,
}

const inLine = classOf(without(complement([[10, 10]]), [surrogates]))

/** As they are. */
const inText: Writing = {
  anything: inLine,
  dot: inLine,
  oneOf(ranges) {
    const characters = without(ranges, [surrogates])
    if (characters.length === 0) throw new Unreadable()
    return classOf(characters)
  },
  isWhole: true,
}

function oneInJson(ranges: readonly Range[]): string {
  const ways = Object.entries(inJson)
    .filter(([code]) => ranges.some(([first, last]) => first <= Number(code) && Number(code) <= last))
    .map(([, text]) => literal(text))
  const barred: Range[] = [[0, 31], [34, 34], [92, 92], [127, 127], surrogates]
  const plain = without(ranges, barred)
  if (plain.length > 0) ways.push(classOf(plain))
  if (ways.length === 0) throw new Unreadable()
  return ways.length === 1 ? ways.join() : `(${ways.join(' | ')})`
}

function classOf(ranges: readonly Range[]): string {
  const inside = ranges.map(([first, last]) => (first === last ? escaped(first) : `${escaped(first)}-${escaped(last)}`))
  return `[${inside.join('')}]`
}

function without(ranges: readonly Range[], barred: readonly Range[]): Range[] {
  return barred.reduce<Range[]>(
    (left, [from, to]) =>
      left.flatMap(([first, last]): Range[] => [
        ...(first < from ? [[first, Math.min(last, from - 1)] as const] : []),
        ...(last > to ? [[Math.max(first, to + 1), last] as const] : []),
      ]),
    [...ranges],
  )
}
