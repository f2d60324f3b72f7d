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

/** llama.cpp reads a larger number of repetitions as unbounded. */
export const mostTimes = 2000

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

/**
 * Rules of any text up to one of some marks, after which a rule follows. The text may also end without a mark.
 * @param name of the first rule
 * @param marks each with the rule after it; none is a part of another
 */
export function freeText(name: string, marks: readonly (readonly [text: string, rule: string])[]): string {
  // One rule for each beginning of a mark that may have been read (Aho and Corasick).
  const beginnings = [...new Set(marks.flatMap(([mark]) => Array.from(mark, (_, i) => mark.slice(0, i))))]
  const nameOf = (read: string): string => (read === '' ? name : `${name}-${beginnings.indexOf(read)}`)
  const characters = [...new Set(marks.flatMap(([mark]) => [...mark]))]
  return beginnings
    .map((read) => {
      const ways = characters.map((next) => {
        const rule = marks.find(([mark]) => (read + next).endsWith(mark))?.[1]
        return `${literal(next)} ${rule ?? nameOf(longestEnd(read + next, beginnings))}`
      })
      return `${nameOf(read)} ::= (${ways.join(' | ')} | [^${characters.map(escaped).join('')}] ${name})?`
    })
    .join('\n')
}

/** The longest of some texts that a text ends with. */
const longestEnd = (text: string, of: readonly string[]): string => {
  for (let from = 0; from < text.length; from++) if (of.includes(text.slice(from))) return text.slice(from)
  return ''
}
