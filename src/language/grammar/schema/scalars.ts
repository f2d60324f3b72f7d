import { literal, repeated, stringExcept } from '../rules.ts'
import type { SchemaContext } from './context.ts'
import { formats } from './formats.ts'
import { type Node, type Path, refused } from './node.ts'
import { type Bounds, integersBetween, numbersBetween } from './numbers.ts'
import { mostCharacters, patternRule } from './pattern.ts'

/** Multiples of a number between two bounds that are written one by one. */
const mostMultiples = 1000

/** A string in its quotes. */
export function stringRule(
  { pattern, format, minLength = 0, maxLength = Infinity }: Node,
  path: Path,
  context: SchemaContext,
): string {
  if (maxLength < minLength) throw refused(path, 'has maxLength below minLength')
  context.spend(Math.min(pattern?.length ?? 0, mostCharacters) / 8)
  const read = pattern === undefined ? undefined : patternRule(pattern, minLength, maxLength)
  if (pattern !== undefined && read === undefined) context.ignore([...path, 'pattern'])
  const known = read ?? (format === undefined || !Object.hasOwn(formats, format) ? undefined : formats[format])
  if (known === undefined) return `"\\"" ${repeated('char', minLength, maxLength)} "\\""`
  context.spend(known.rule.length / 1000)
  if (known.least > maxLength || known.most < minLength) throw refused(path, 'allows no string')
  if (known.least < minLength) context.ignore([...path, 'minLength'])
  if (known.most > maxLength) context.ignore([...path, 'maxLength'])
  return `"\\"" ${known.rule} "\\""`
}

/** A string in its quotes that differs from all words. */
export function stringExceptRule(words: readonly string[], context: SchemaContext): string {
  context.spend(words.reduce((sum, word) => sum + word.length, 0) / 20)
  return stringExcept(words)
}

export function numberRule(type: 'integer' | 'number', node: Node, path: Path, context: SchemaContext): string {
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = node
  const [low, high] = [Math.max(minimum, exclusiveMinimum), Math.min(maximum, exclusiveMaximum)]
  const bounds = { low, opens: low === exclusiveMinimum, high, closes: high === exclusiveMaximum }
  const { multipleOf } = node
  const isWhole = type === 'integer' || (multipleOf !== undefined && Number.isInteger(multipleOf))
  const none = () => refused(path, 'allows no number')
  if (low > high || (low === high && (bounds.opens || bounds.closes))) throw none()
  if (low > Number.MAX_SAFE_INTEGER || high < Number.MIN_SAFE_INTEGER)
    throw refused(path, 'allows only numbers of more than 16 digits')
  const ignoreMultiple = () => context.ignore([...path, 'multipleOf'])
  const rule = isWhole
    ? wholeRule(bounds, multipleOf ?? 1, ignoreMultiple)
    : fractionRule(bounds, multipleOf, ignoreMultiple)
  if (rule === undefined) throw none()
  context.spend(rule.length / 1000)
  return rule
}

function wholeRule(
  { low, opens, high, closes }: Bounds,
  multipleOf: number,
  ignoreMultiple: () => void,
): string | undefined {
  if (low === -Infinity && high === Infinity && multipleOf === 1) return '"-"? int ws'
  // Beyond these a number is not what is written.
  const from = low === -Infinity ? low : Math.max(opens ? Math.floor(low) + 1 : Math.ceil(low), Number.MIN_SAFE_INTEGER)
  const to =
    high === Infinity ? high : Math.min(closes ? Math.ceil(high) - 1 : Math.floor(high), Number.MAX_SAFE_INTEGER)
  if (from > to) return undefined
  const all = `(${integersBetween(from, to)}) ws`
  if (Number.isInteger(1 / multipleOf)) return all
  if (!Number.isInteger(multipleOf)) {
    ignoreMultiple()
    return all
  }
  const first = Math.ceil(from / multipleOf) * multipleOf
  const count = Math.floor((to - first) / multipleOf) + 1
  if (count <= 0) return undefined
  if (count <= mostMultiples)
    return `(${Array.from({ length: count }, (_, i) => literal(String(first + i * multipleOf))).join(' | ')}) ws`
  const multiples = multiplesOf(multipleOf)
  const isAbove = to >= Number.MAX_SAFE_INTEGER
  if (multiples !== undefined && isAbove && from <= Number.MIN_SAFE_INTEGER) return `"-"? (${multiples}) ws`
  if (multiples !== undefined && isAbove && from <= 0 && from > -multipleOf) return `(${multiples}) ws`
  ignoreMultiple()
  return all
}

function fractionRule(bounds: Bounds, multipleOf: number | undefined, ignoreMultiple: () => void): string | undefined {
  const { low, high } = bounds
  if (multipleOf === undefined && low === -Infinity && high === Infinity) return 'number'
  const places =
    multipleOf === undefined
      ? undefined
      : [1, 2, 3, 4, 5, 6, 7, 8, 9].find((digits) => Number(`1e-${digits}`) === multipleOf)
  if (multipleOf !== undefined && places === undefined) ignoreMultiple()
  const isWide = (bound: number) => (Math.abs(bound) > Number.MAX_SAFE_INTEGER ? Math.sign(bound) * Infinity : bound)
  const rule = numbersBetween({ ...bounds, low: isWide(low), high: isWide(high) }, places)
  return rule === undefined ? undefined : `(${rule}) ws`
}

/** Natural numbers that a divisor of 1,000 divides, by their last digits. @returns undefined for other divisors */
function multiplesOf(divisor: number): string | undefined {
  const digits = [1, 2, 3].find((count) => 10 ** count % divisor === 0)
  if (digits === undefined) return undefined
  const endings = Array.from({ length: 10 ** digits / divisor }, (_, i) => String(i * divisor))
  const long = endings.map((ending) => literal(ending.padStart(digits, '0'))).join(' | ')
  return `${endings.map(literal).join(' | ')} | [1-9] [0-9]{0,${14 - digits}} (${long})`
}
