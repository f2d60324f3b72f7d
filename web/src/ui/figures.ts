/** Figures as a person reads them. */

const whole = new Intl.NumberFormat('en')

export const count = (value: number): string => whole.format(value)

/** `1.2 GB`, in decimal units as the documents have them. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let unit = 0
  let left = value
  while (left >= 1000 && unit < units.length - 1) {
    left /= 1000
    unit++
  }
  return `${left >= 100 || unit === 0 ? Math.round(left) : left.toFixed(1)} ${units[unit]}`
}

/** `38 ms`, `1.2 s`, `2 min 5 s`. @param ms */
export function duration(ms: number): string {
  if (Math.round(ms) < 1000) return `${Math.round(ms)} ms`
  // What is rounded to 60 s is a minute.
  if (Math.round(ms / 100) < 600) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

/** `1:05`, `1:02:03`. */
export function clock(seconds: number): string {
  const all = Math.round(seconds)
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60]
  const two = (value: number): string => String(value).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}

/** Small amounts have four digits, and large ones all of theirs. */
const money = new Intl.NumberFormat('en', {
  ...{ maximumSignificantDigits: 4, maximumFractionDigits: 2 },
  roundingPriority: 'morePrecision',
})

/** An amount of the currency of the prices, which has no name. */
export const amount = (value: number): string => money.format(value)

const days = new Intl.DateTimeFormat('en', { dateStyle: 'medium' })

/** `Nov 28, 2026`. @param time ISO 8601 */
export const day = (time: string): string => days.format(new Date(time))
