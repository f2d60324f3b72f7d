import { z } from 'zod'

interface Bounds {
  readonly most: number
  /** What each name has to match, and what is said of one that does not. */
  readonly name?: { readonly pattern: RegExp; readonly error: string }
}

/**
 * An object of any names whose values are of one kind. It is left at the first one that is not allowed: `z.record` goes
 * through all of them, and thousands of errors take long.
 */
export const pairsOf = <Value extends z.ZodType>(value: Value, { most, name }: Bounds) =>
  z
    .object({})
    .catchall(value)
    .check(({ value: pairs, issues }) => {
      const names = Object.keys(pairs)
      if (names.length > most) issues.push({ code: 'custom', input: pairs, message: `must have at most ${most} pairs` })
      const wrong = name && names.find((one) => !name.pattern.test(one))
      if (wrong !== undefined)
        issues.push({
          ...{ code: 'invalid_key', origin: 'record', issues: [], input: wrong, path: [wrong] },
          message: name?.error,
        })
    })
    .meta(name === undefined ? {} : { propertyNames: { pattern: name.pattern.source } })
