import { type Element, type Range, type Ways, without } from './gbnf.ts'

/** Pieces of GBNF, the grammar notation of llama.cpp (grammars/README.md). */

/** Exactly this text. */
export const literal = (text: string): string => JSON.stringify(text).replaceAll(/[\u007f-\u009f]/g, escaped)

/** One character of a class, escaped if necessary. */
export function escaped(character: string | number): string {
  const code = typeof character === 'string' ? (character.codePointAt(0) ?? 0) : character
  if (/[A-Za-z0-9 _]/.test(String.fromCodePoint(code))) return String.fromCodePoint(code)
  return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`
}

const hex = (code: number, digits: number): string => code.toString(16).toUpperCase().padStart(digits, '0')

/** @param most may be Infinity */
export function repeated(rule: string, least: number, most: number): string {
  if (most <= 0) return '""'
  if (least === 0 && most === 1) return `${rule}?`
  if (most === Infinity) return least === 0 ? `${rule}*` : least === 1 ? `${rule}+` : `${rule}{${least},}`
  return least === most ? (most === 1 ? rule : `${rule}{${most}}`) : `${rule}{${least},${most}}`
}

/** One of some rules. */
export const alternatives = (rules: readonly string[]): string =>
  rules.length === 1 ? rules.join() : `(${rules.join(' | ')})`

/** A place in the prefix tree of some words. */
interface Beginning {
  readonly next: Map<string, Beginning>
  isWord: boolean
  /** Whether nothing may go on from here. */
  isBarred: boolean
}

/** Words of more characters are taken for all texts that begin as they do. */
const mostCompared = 100

/** A JSON string that differs from all `words`: it leaves their prefix tree at some character, or ends inside it. */
export function stringExcept(words: readonly string[]): string {
  if (words.length === 0) return String.raw`"\"" char* "\""`
  const root = beginning()
  for (const word of words) {
    const characters = [...JSON.stringify(word).slice(1, -1)]
    let at = root
    for (const character of characters.slice(0, mostCompared)) {
      const next = at.next.get(character) ?? beginning()
      at.next.set(character, next)
      at = next
    }
    if (characters.length > mostCompared) at.isBarred = true
    else at.isWord = true
  }
  return `"\\"" ${outside(root)} "\\""`
}

const beginning = (): Beginning => ({ next: new Map(), isWord: false, isBarred: false })

function outside({ next, isWord }: Beginning): string {
  const ways = [...next].flatMap(([character, at]) => (at.isBarred ? [] : [`${literal(character)} ${outside(at)}`]))
  const barred = [...next.keys()].map((character) => escaped(character)).join('')
  ways.push(`[^${barred}\\u0022\\u005C\\u007F\\u0000-\\u001F] char*`)
  // A string that ends here is one of the words, or not.
  return isWord ? `(${ways.join(' | ')})` : `(${ways.join(' | ')})?`
}

/** Any text up to one of some marks, after which a rule follows. No mark is a part of another. */
export interface FreeText {
  readonly marks: readonly Mark[]
  /** Marks at the beginning of the text only. */
  readonly starts?: readonly Mark[]
  /** Whether the text may also end without a mark. Default: true. */
  readonly mayEnd?: boolean
}

type Mark = readonly [text: string, rule: string]

/** Rules of free text. @param name of the first one */
export function freeText(name: string, { marks, starts = [], mayEnd = true }: FreeText): [name: string, ways: Ways][] {
  const rules: [name: string, ways: Ways][] = []
  // One rule for each beginning of a mark that the text may end with (Aho and Corasick), or that it is.
  const read = beginningsOf(marks)
  const inside = (beginning: string) =>
    starts.length === 0 && beginning === '' ? name : `${name}-in-${read.get(beginning)}`
  const after = memoized((text: string): string => {
    const [, rule] = marks.find(([mark]) => text.endsWith(mark)) ?? []
    return rule ?? inside(longestEnd(text, read))
  })
  const endAfter = memoized((text: string): string => longestEnd(text, read))
  const characters = new Set(marks.flatMap(([mark]) => [...mark]))
  const firsts = new Set(marks.map(([mark]) => mark.charAt(0)))
  /** What is read after the beginning of a mark but for some characters: one rule for all places where that is the same. */
  const elsewhere = memoized((key: string): string => {
    const { end, but } = JSON.parse(key) as { end: string; but: string[] }
    const specials = [...(end === '' ? firsts : characters)].filter((character) => !but.includes(character))
    const ways = specials.map((special) => [textOf(special), call(after(end + special))])
    const others = without([...specials, ...but].map((special) => [codeOf(special), codeOf(special)] as const))
    const rule = `${name}-else-${rules.length}`
    rules.push([rule, [...ways, [classOf(others), call(inside(''))], ...(mayEnd ? [[]] : [])]])
    return rule
  })
  const elseIn = (end: string, but: readonly string[]) => [call(elsewhere(JSON.stringify({ end, but })))]
  for (const beginning of read.keys()) rules.push([inside(beginning), [elseIn(beginning, [])]])
  if (starts.length === 0) return rules

  // One rule for all marks at the start, whose ways share their beginnings: each goes on to its mark, or elsewhere.
  const atStart = new Map<string, { end: string; next: Set<string> }>()
  for (const [mark] of starts)
    for (let at = 0, end = ''; at < mark.length; at++) {
      const known = atStart.get(mark.slice(0, at))
      const place = known ?? { end, next: new Set<string>() }
      if (known === undefined) atStart.set(mark.slice(0, at), place)
      place.next.add(mark.charAt(at))
      end = endAfter(end + mark.charAt(at))
    }
  const leaving = [...atStart].map(([beginning, { end, next }]) => [
    ...(beginning === '' ? [] : [textOf(beginning)]),
    ...elseIn(end, [...next]),
  ])
  rules.push([name, [...starts.map(([mark, rule]) => [textOf(mark), call(rule)]), ...leaving]])
  return rules
}

const once = { least: 1, most: 1 }
const call = (rule: string): Element => ({ part: { kind: 'rule', name: rule }, ...once })
const textOf = (text: string): Element => ({ part: { kind: 'text', text }, ...once })
const classOf = (ranges: readonly Range[]): Element => ({ part: { kind: 'class', ranges }, ...once })

const codeOf = (character: string): number => character.codePointAt(0) ?? 0

function memoized(made: (text: string) => string): (text: string) => string {
  const known = new Map<string, string>()
  return (text) => {
    const value = known.get(text) ?? made(text)
    known.set(text, value)
    return value
  }
}

/** The beginnings of some marks, shorter than those, with a number for each. */
const beginningsOf = (marks: readonly Mark[]): Map<string, number> => {
  const all = ['', ...marks.flatMap(([mark]) => Array.from({ length: mark.length }, (_, i) => mark.slice(0, i)))]
  return new Map([...new Set(all)].map((beginning, index) => [beginning, index]))
}

/** The longest of some texts that a text ends with. */
const longestEnd = (text: string, of: ReadonlyMap<string, number>): string => {
  for (let from = 0; from < text.length; from++) if (of.has(text.slice(from))) return text.slice(from)
  return ''
}
