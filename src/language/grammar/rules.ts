import { type Part, type Ways, without } from './gbnf.ts'

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

/** A JSON string that differs from all `words`: it leaves their prefix tree at some character, or ends inside it. */
export function stringExcept(words: readonly string[]): string {
  if (words.length === 0) return String.raw`"\"" char* "\""`
  return `"\\"" ${outside(words.map((word) => [...JSON.stringify(word).slice(1, -1)]))} "\\""`
}

function outside(words: readonly (readonly string[])[]): string {
  const firsts = [...new Set(words.flatMap(([first]) => (first === undefined ? [] : [first])))]
  const ways = firsts.map((first) => {
    const rests = words.flatMap(([head, ...rest]) => (head === first ? [rest] : []))
    return `${literal(first)} ${outside(rests)}`
  })
  const barred = firsts.map((first) => escaped(first)).join('')
  ways.push(`[^${barred}\\u0022\\u005C\\u007F\\u0000-\\u001F] char*`)
  // A string that ends here is one of the words, or not.
  return words.some((word) => word.length === 0) ? `(${ways.join(' | ')})` : `(${ways.join(' | ')})?`
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
  // One rule for each beginning of a mark that the text may end with (Aho and Corasick), or that it is.
  const read = beginningsOf(marks)
  const atStart = beginningsOf(starts)
  const inside = (beginning: string) =>
    starts.length === 0 && beginning === '' ? name : `${name}-in-${read.get(beginning)}`
  const first = (beginning: string) => (beginning === '' ? name : `${name}-at-${atStart.get(beginning)}`)
  const after = (text: string): string =>
    marks.find(([mark]) => text.endsWith(mark))?.[1] ?? inside(longestEnd(text, read))
  const startRules = new Map(starts)
  const afterStart = (text: string): string => startRules.get(text) ?? (atStart.has(text) ? first(text) : after(text))
  const characters = new Set(marks.flatMap(([mark]) => [...mark]))
  const firsts = new Set(marks.map(([mark]) => mark.charAt(0)))
  /** Characters that lead on from a beginning of a start: to a longer one, or into a mark that it ends with the beginning of. */
  const nexts = new Map<string, Set<string>>()
  for (const [mark] of starts)
    for (let at = 0; at < mark.length; at++) {
      const beginning = mark.slice(0, at)
      const known = nexts.get(beginning) ?? new Set(longestEnd(beginning, read) === '' ? firsts : characters)
      nexts.set(beginning, known.add(mark.charAt(at)))
    }
  const waysOf = (beginning: string, specials: ReadonlySet<string>, next: (text: string) => string): Ways => {
    const once = { least: 1, most: 1 }
    const goOn = (part: Part, rule: string) => [
      { part, ...once },
      { part: { kind: 'rule', name: rule } as const, ...once },
    ]
    const ways = [...specials].map((special) => goOn({ kind: 'text', text: special }, next(beginning + special)))
    const others = without([...specials].map((special) => [codeOf(special), codeOf(special)] as const))
    return [...ways, goOn({ kind: 'class', ranges: others }, inside('')), ...(mayEnd ? [[]] : [])]
  }
  return [
    ...[...read.keys()].map((beginning): [string, Ways] => [inside(beginning), waysOf(beginning, characters, after)]),
    ...[...(starts.length === 0 ? [] : atStart.keys())].map((beginning): [string, Ways] => [
      first(beginning),
      waysOf(beginning, nexts.get(beginning) ?? firsts, afterStart),
    ]),
  ]
}

const codeOf = (character: string): number => character.codePointAt(0) ?? 0

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
