/** Decimal numbers between bounds as GBNF, described by their digits. */

/** Whole numbers from `low` to `high`, each of which may be infinite. */
export function integersBetween(low: number, high: number): string {
  const ways: string[] = []
  if (low < 0) ways.push(...natural(Math.max(1, -high), -low).map((digits) => `"-" ${digits}`))
  if (high >= 0) ways.push(...natural(Math.max(0, low), high))
  return ways.join(' | ')
}

interface Bounds {
  low: number
  /** Whether `low` itself is excluded. */
  opens: boolean
  high: number
  closes: boolean
}

/** Numbers with or without a fraction. The bounds are whole or infinite. */
export function numbersBetween({ low, opens, high, closes }: Bounds): string {
  const ways: string[] = []
  if (low < 0) ways.push(...positive(Math.max(0, -high), closes && high <= 0, -low, opens).map((way) => `"-" ${way}`))
  if (high >= 0) ways.push(...positive(Math.max(0, low), opens && low >= 0, high, closes))
  return ways.join(' | ')
}

/** Numbers from `low` >= 0. */
function positive(low: number, opens: boolean, high: number, closes: boolean): string[] {
  const ways: string[] = []
  const fraction = '("." [0-9]{1,15})?'
  const some = '"." [0-9]{0,14} [1-9]'
  // From low + 1 on any fraction is allowed. `low` itself needs one if it is excluded.
  if (high > low) {
    ways.push(`"${low}" ${opens ? some : fraction}`)
    if (high > low + 1) ways.push(`(${natural(low + 1, high - 1).join(' | ')}) ${fraction}`)
  }
  if (Number.isFinite(high) && !closes && !(opens && high === low)) ways.push(`"${high}" ("." "0"{1,15})?`)
  return ways
}

/** Digits of an unbounded number: a double distinguishes 16. */
const mostDigits = 16

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
