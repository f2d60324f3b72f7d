import { z } from 'zod'
import type { UsageQuery } from '../../accounts/index.ts'
import { isoOf } from '../request/moment.ts'
import { invalidValue } from '../request/validation.ts'

/** A list in a URL: `a=1&a=2`, `a[]=1&a[]=2` as OpenAI's clients write it, or `a=1,2`. */
export const list = <Item extends z.ZodType>(item: Item) =>
  z.preprocess(
    (given) =>
      [given ?? []].flat().flatMap((one) => (typeof one === 'string' ? one.split(',').filter(Boolean) : [one])),
    z.array(item),
  )

/** Names of the ledger, as a filter. */
export const names = list(z.string().regex(/^\P{Cc}*$/u, { error: 'must have no control characters' })).transform(
  (given) => (given.length === 0 ? undefined : given),
)

/** The parameters of a URL by the names that their schema has. */
export const withoutBrackets = (query: unknown): Record<string, unknown> =>
  Object.fromEntries(Object.entries(query as object).map(([name, value]) => [name.replace(/\[\]$/, ''), value]))

/** @param from when sums begin that no time is given for */
export const timeQuery = (from: string) => [
  { name: 'start_time', description: `Requests that arrived then or later: ISO 8601, or seconds since 1970. ${from}` },
  { name: 'end_time', description: 'And before this. Default: now.' },
]

/** @throws OrielError `invalid` when no time is between them */
export function between(from: number, to = Date.now() + 1): Pick<UsageQuery, 'from' | 'to'> {
  if (from < to) return { from, to }
  throw invalidValue('end_time', `end_time (${isoOf(to)}) must be after start_time (${isoOf(from)}).`)
}
