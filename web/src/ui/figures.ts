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
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

/** `1:05`, `1:02:03`. */
export function clock(seconds: number): string {
  const all = Math.round(seconds)
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60]
  const two = (value: number): string => String(value).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}

const money = new Intl.NumberFormat('en', { maximumSignificantDigits: 4 })

/** An amount of the currency of the prices, which has no name. */
export const amount = (value: number): string => money.format(value)

const days = new Intl.DateTimeFormat('en', { dateStyle: 'medium' })

/** `Nov 28, 2026`. @param time ISO 8601 */
export const day = (time: string): string => days.format(new Date(time))
