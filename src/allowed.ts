import type { z } from 'zod'

type Issue = z.core.$ZodIssue

/** An array is left at its first item that is not allowed: the error names one, and each costs microseconds. */
export const untilWrong: z.core.ParseContextInternal<Issue> = { abortEarly: true }

/** What is allowed instead of what a schema has refused, as a predicate: `must be at least 1`. */
export function allowed(issue: Issue): string {
  if (saysWhatIsAllowed(issue)) return issue.message
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${article(issue.expected)}`
    case 'too_small':
      return `must ${verb(issue.origin)} ${issue.inclusive ? 'at least' : 'more than'} ${amount(issue.minimum, issue.origin)}`
    case 'too_big':
      return `must ${verb(issue.origin)} ${issue.inclusive ? 'at most' : 'less than'} ${amount(issue.maximum, issue.origin)}`
    case 'invalid_value':
      return `must be ${either(issue.values.map((value) => JSON.stringify(value)))}`
    case 'invalid_key':
      return issue.issues[0]?.message ?? issue.message
    case 'invalid_union':
      return allowedByUnion(issue)
    default:
      return issue.message
  }
}

function allowedByUnion(issue: Extract<Issue, { code: 'invalid_union' }>): string {
  // The discriminator has an unknown value. An optional one has undefined among its values.
  const kinds = 'options' in issue ? issue.options?.filter((kind) => kind !== undefined) : undefined
  if (kinds !== undefined) return `must be ${either(kinds.map((kind) => JSON.stringify(kind)))}`
  const types = issue.errors.flatMap((errors) =>
    errors.flatMap((error) => (error.code === 'invalid_type' ? [article(error.expected)] : [])),
  )
  return types.length === 0 ? 'has a type that is not allowed' : `must be ${either([...new Set(types)])}`
}

/** Whether the schema has a message of its own, not one of Zod's. */
export const saysWhatIsAllowed = ({ message }: Issue): boolean =>
  !/^(Invalid|Too small|Too big|Unrecognized)\b/.test(message)

const either = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`

function article(type: string): string {
  if (type === 'int') return 'a whole number'
  const name = type === 'record' ? 'object' : type
  return /^[aeiou]/.test(name) ? `an ${name}` : `a ${name}`
}

const verb = (origin: string): string => (origin === 'array' || origin === 'string' ? 'have' : 'be')

/** `1 item`, `3 characters` */
export function amount(count: number | bigint, origin: string): string {
  const unit = origin === 'array' ? ' item' : origin === 'string' ? ' character' : ''
  return `${count}${unit}${unit !== '' && count !== 1 ? 's' : ''}`
}
