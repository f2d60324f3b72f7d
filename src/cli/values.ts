import { InvalidArgumentError } from 'commander'

/** Readers of the values of flags. Each throws an InvalidArgumentError that says what is allowed. */

export const wholeNumber = (least: number, most: number, message: string) => (text: string) => {
  const value = Number(text)
  // Number('') is 0: a variable of a shell that is not set would mean none.
  if (!/^\d+$/.test(text) || value < least || value > most) throw new InvalidArgumentError(message)
  return value
}

/** A list with commas, or one entry for each word of a variadic flag. */
export const listed = (text: string, before: readonly string[] = []): string[] => [
  ...before,
  ...text.split(',').flatMap((entry) => entry.trim() || []),
]

/** An entry for each time that a flag is given. */
export const repeated = (text: string, before: readonly string[] = []): string[] => [...before, text]

/** Some of the words that are allowed. */
export const someOf =
  <Word extends string>(words: readonly Word[]) =>
  (text: string, before: readonly Word[] = []): Word[] => {
    const given = listed(text).map((entry) => words.find((word) => word === entry))
    if (given.length === 0 || given.includes(undefined))
      throw new InvalidArgumentError(`Allowed are ${words.join(', ')}.`)
    return [...new Set([...before, ...given.filter((word) => word !== undefined)])]
  }

const mostCurrency = 1e9

/** An amount of the currency, in micro-units. */
export function amount(text: string): number {
  if (!/^\d+(\.\d{1,6})?$/.test(text) || Number(text) > mostCurrency)
    throw new InvalidArgumentError('An amount is a number like 20 or 0.50, with at most 6 decimals.')
  return Math.round(Number(text) * 1e6)
}

/** What `read` reads, or the word none. */
export const orNone =
  <T>(read: (text: string) => T) =>
  (text: string): T | 'none' =>
    text === 'none' ? text : read(text)

const units = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 } as const

/** A duration like 12h, in ms. */
export function duration(text: string): number {
  const found = msOf(text)
  if (found === undefined) throw new InvalidArgumentError('A duration is like 30m, 12h, 30d or 4w.')
  return found
}

/** A time that is to come, in ms since 1970: after a duration, or the beginning of a day. */
export const later = (text: string): number => moment(text, 1)

/** A time that is over, in ms since 1970: a duration ago, or the beginning of a day. */
export const earlier = (text: string): number => moment(text, -1)

function moment(text: string, direction: 1 | -1): number {
  const now = Date.now()
  const length = msOf(text)
  const time = length === undefined ? dayOf(text) : now + direction * length
  if (time === undefined)
    throw new InvalidArgumentError('It must be a day like 2027-01-31, or a duration like 12h, 30d or 4w.')
  if (time * direction < now * direction)
    throw new InvalidArgumentError(`It must lie in the ${direction === 1 ? 'future' : 'past'}.`)
  return time
}

function msOf(text: string): number | undefined {
  const [, count, unit] = /^(\d{1,5})([mhdw])$/.exec(text) ?? []
  return count === undefined ? undefined : Number(count) * units[unit as keyof typeof units]
}

/** The beginning of a day in UTC, if there is such a day. */
function dayOf(text: string): number | undefined {
  const time = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(time) || !new Date(time).toISOString().startsWith(text) ? undefined : time
}

export const temperature = (text: string) => {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0 && value <= 2))
    throw new InvalidArgumentError('It must be a number from 0 to 2.')
  return value
}
