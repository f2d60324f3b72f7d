/** Decimal numbers between bounds as GBNF, described by their digits. */

/** Digits of an unbounded whole number, and of a fraction: a double distinguishes 16. */
const mostDigits = 16
const mostPlaces = 15

/** Whole numbers from `low` to `high`, each of which may be infinite. */
export function integersBetween(low: number, high: number): string {
  const ways: string[] = []
  if (low < 0) ways.push(...natural(Math.max(1, -high), -low).map((digits) => `"-" ${digits}`))
  if (high >= 0) ways.push(...natural(Math.max(0, low), high))
  return ways.join(' | ')
}

export interface Bounds {
  low: number
  /** Whether `low` itself is excluded. */
  opens: boolean
  high: number
  closes: boolean
}

/**
 * Numbers with or without a fraction, and without an exponent.
 * @param places digits of a fraction at most
 * @returns no rule if there is no such number
 */
export function numbersBetween({ low, opens, high, closes }: Bounds, places = mostPlaces): string | undefined {
  const ways: string[] = []
  if (low < 0) {
    const negative = { low: Math.max(0, -high), opens: closes && high <= 0, high: -low, closes: opens }
    ways.push(...positive(negative, places).map((way) => `"-" ${way}`))
  }
  if (high >= 0) ways.push(...positive({ low: Math.max(0, low), opens: opens && low >= 0, high, closes }, places))
  return ways.length === 0 ? undefined : ways.join(' | ')
}

/** Numbers from `low` >= 0. */
function positive({ low, opens, high, closes }: Bounds, places: number): string[] {
  const first = decimal(low, places)
  const last = Number.isFinite(high) ? decimal(high, places) : { whole: Infinity, digits: '', isCut: false }
  // Between the digits of a bound that are left out and those that are kept there is no number.
  const least = { digits: first.digits, excluded: opens || first.isCut }
  const most = { digits: last.digits, excluded: closes && !last.isCut }
  if (first.whole > last.whole) return []
  if (first.whole === last.whole) return tail(`"${first.whole}"`, fraction(least, most, places))
  const between = last.whole > first.whole + 1 ? natural(first.whole + 1, last.whole - 1) : []
  return [
    ...tail(`"${first.whole}"`, fraction(least, null, places)),
    ...(between.length > 0 ? tail(`(${between.join(' | ')})`, fraction(null, null, places)) : []),
    ...(last.whole < Infinity ? tail(`"${last.whole}"`, fraction(null, most, places)) : []),
  ]
}

/** A whole part with what may follow it. */
const tail = (whole: string, rest: string | undefined): string[] => (rest === undefined ? [] : [`${whole} ${rest}`])

/** The whole part of a number >= 0, and the digits of its fraction, as many as there are places. */
function decimal(value: number, places: number): { whole: number; digits: string; isCut: boolean } {
  // Below this a number is written with an exponent.
  const [, all = ''] = (value < 1e-6 ? value.toFixed(20) : String(value)).split('.')
  const [digits, rest] = [all.slice(0, places), all.slice(places)]
  return { whole: Math.floor(value), digits: digits.replace(/0+$/, ''), isCut: /[1-9]/.test(rest) }
}

interface Edge {
  readonly digits: string
  readonly excluded: boolean
}

/** What may follow the whole part. @returns undefined if nothing may */
function fraction(least: Edge | null, most: Edge | null, places: number): string | undefined {
  const length = Math.max(least?.digits.length ?? 0, most?.digits.length ?? 0)
  const inner = digitsFrom(0, least, most, length, places)
  const bare = mayEnd(0, least, most)
  if (inner === undefined) return bare ? '' : undefined
  return `("." ${inner})${bare ? '?' : ''}`
}

/** Whether a fraction may end before digit `at`, when all digits before are those of each given edge. */
function mayEnd(at: number, least: Edge | null, most: Edge | null): boolean {
  const isZero = (edge: Edge) => !/[1-9]/.test(edge.digits.slice(at))
  if (least !== null && (!isZero(least) || least.excluded)) return false
  return most === null || !isZero(most) || !most.excluded
}

/** One or more digits from digit `at` on. @param length of the longer edge */
function digitsFrom(
  at: number,
  least: Edge | null,
  most: Edge | null,
  length: number,
  places: number,
): string | undefined {
  if (at >= places) return undefined
  const left = places - at - 1
  const some = `[0-9]{0,${left}}`
  if (least === null && most === null) return `[0-9] ${some}`
  if (at >= length) {
    if (least !== null && most !== null) return least.excluded || most.excluded ? undefined : `"0"{1,${left + 1}}`
    if (most !== null) return most.excluded ? undefined : `"0"{1,${left + 1}}`
    if (!least?.excluded) return `[0-9] ${some}`
    // Exact where a schema says how many digits there may be. Elsewhere nobody counts them, and this is shorter.
    return places < mostPlaces ? notAllZeros(left + 1) : `"0"{0,${left}} [1-9] ${some}`
  }
  const digitOf = (edge: Edge) => Number(edge.digits[at] ?? '0')
  const [low, high] = [least === null ? 0 : digitOf(least), most === null ? 9 : digitOf(most)]
  if (low > high) return undefined
  const ways: string[] = []
  const add = (digit: number, below: Edge | null, above: Edge | null) => {
    const rest = digitsFrom(at + 1, below, above, length, places)
    const ends = mayEnd(at + 1, below, above)
    if (rest !== undefined) ways.push(`"${digit}" (${rest})${ends ? '?' : ''}`)
    else if (ends) ways.push(`"${digit}"`)
  }
  if (low === high) add(low, least, most)
  else {
    if (least !== null) add(low, least, null)
    const [from, to] = [least === null ? 0 : low + 1, most === null ? 9 : high - 1]
    if (from <= to) ways.push(`[${from}-${to}] ${some}`)
    if (most !== null) add(high, null, most)
  }
  return ways.length === 0 ? undefined : ways.length === 1 ? ways.join() : `(${ways.join(' | ')})`
}

/** One to `places` digits, not all of them 0. */
const notAllZeros = (places: number): string =>
  `(${Array.from({ length: places }, (_, zeros) => `"${'0'.repeat(zeros)}" [1-9] [0-9]{0,${places - zeros - 1}}`).join(' | ')})`

/** Natural numbers without leading zeros. */
function natural(low: number, high: number): string[] {
  const ways: string[] = []
  const last = Number.isFinite(high) ? String(high).length : mostDigits
  for (let digits = String(low).length; digits <= last; digits++) {
    const from = Math.max(low, digits === 1 ? 0 : 10 ** (digits - 1))
    const to = Math.min(high, 10 ** digits - 1)
    if (from > to) continue
    // Every number with this many digits or more.
    if (to === 10 ** digits - 1 && from === 10 ** (digits - 1) && !Number.isFinite(high)) {
      ways.push(`[1-9] [0-9]{${digits - 1},${mostDigits - 1}}`)
      break
    }
    ways.push(...sameLength(String(from), String(to)))
  }
  return ways
}

/** Numbers between two with the same number of digits. */
function sameLength(from: string, to: string): string[] {
  const rest = from.length - 1
  const [a, b] = [Number(from[0]), Number(to[0])]
  if (from === to) return [`"${from}"`]
  if (rest === 0) return [`[${a}-${b}]`]
  if (a === b) return sameLength(from.slice(1), to.slice(1)).map((way) => `"${a}" ${way}`)
  const [zeros, nines] = ['0'.repeat(rest), '9'.repeat(rest)]
  const ways: string[] = []
  const first = from.slice(1) === zeros ? a : a + 1
  const final = to.slice(1) === nines ? b : b - 1
  if (first > a) ways.push(...sameLength(from.slice(1), nines).map((way) => `"${a}" ${way}`))
  if (first <= final) ways.push(`[${first}-${final}] [0-9]${rest > 1 ? `{${rest}}` : ''}`)
  if (final < b) ways.push(...sameLength(zeros, to.slice(1)).map((way) => `"${b}" ${way}`))
  return ways
}
