import { z } from 'zod'

const iso = z.union([z.iso.datetime({ offset: true, local: true }), z.iso.date()])

/** 9999-12-31, in seconds since 1970. A larger number is in other units. */
const lastSecond = 253_402_300_799

/** A moment as people and OpenAI's clients write it: ISO 8601 (UTC unless it says otherwise), or seconds since 1970. In ms. */
export const moment = z.union([z.string(), z.number()]).transform((given, context): number => {
  const ms = inMs(given)
  if (ms !== undefined) return ms
  context.addIssue('must be a day (2026-11-28), a time (2026-11-28T12:00:00Z) or whole seconds since 1970')
  return z.NEVER
})

function inMs(given: string | number): number | undefined {
  if (typeof given === 'number' || /^\d+$/.test(given)) {
    const seconds = Number(given)
    return Number.isInteger(seconds) && seconds >= 0 && seconds <= lastSecond ? seconds * 1000 : undefined
  }
  // In a URL a plus is a space.
  const text = given.replace(' ', '+')
  if (!iso.safeParse(text).success) return undefined
  const ms = Date.parse(/T.*(Z|[+-]\d\d:?\d\d)$/.test(text) || !text.includes('T') ? text : `${text}Z`)
  return ms >= 0 ? ms : undefined
}

/** As answers have it. */
export const isoOf = (ms: number): string => new Date(ms).toISOString()
