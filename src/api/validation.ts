import type { z } from 'zod'
import { OrielError } from '../errors.ts'

type Issue = z.core.$ZodIssue

/**
 * Parses a request's body. The error names the field, what was found there and what is allowed.
 * @throws OrielError `invalid`
 */
export function parseBody<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const result = schema.safeParse(body)
  if (result.success) return result.data
  const issue = deepest(result.error.issues)
  if (issue === undefined) throw new OrielError('invalid', 'The body of the request is not valid.')
  const param = pathText(issue.path)
  const found = show(at(body, issue.path))
  throw new OrielError('invalid', `${param || 'The body'} ${allowed(issue)}; found ${found}.`, {
    param: param || undefined,
    code: 'invalid_value',
  })
}

/** `['messages', 0, 'content']` -> `messages[0].content` */
const pathText = (path: readonly PropertyKey[]): string =>
  path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key)),
    '',
  )

/** The issue that lies deepest in the body: of the branches of a union, the one that came closest. */
function deepest(issues: readonly Issue[]): Issue | undefined {
  const flat = issues.flatMap((issue) => (issue.code === 'invalid_union' ? branches(issue) : [issue]))
  return flat.reduce<Issue | undefined>(
    (best, issue) => (best && best.path.length >= issue.path.length ? best : issue),
    undefined,
  )
}

function branches(issue: Extract<Issue, { code: 'invalid_union' }>): Issue[] {
  const inner = issue.errors.flatMap((errors) => {
    const best = deepest(errors)
    return best === undefined ? [] : [{ ...best, path: [...issue.path, ...best.path] }]
  })
  const reached = inner.filter(({ path }) => path.length > issue.path.length)
  return reached.length > 0 ? reached : [issue]
}

function allowed(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${article(issue.expected)}`
    case 'too_small':
      return `must ${issue.origin === 'array' || issue.origin === 'string' ? 'have' : 'be'} ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}${unit(issue.origin)}`
    case 'too_big':
      return `must ${issue.origin === 'array' || issue.origin === 'string' ? 'have' : 'be'} ${issue.inclusive ? 'at most' : 'less than'} ${issue.maximum}${unit(issue.origin)}`
    case 'invalid_value':
      return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`
    case 'invalid_union':
      return issue.message === 'Invalid input' ? 'is of a type that is not allowed here' : issue.message
    default:
      return issue.message
  }
}

const article = (type: string): string =>
  type === 'int' ? 'a whole number' : /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`

const unit = (origin: string): string => (origin === 'array' ? ' items' : origin === 'string' ? ' characters' : '')

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  )
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array'
  if (typeof value === 'object' && value !== null) return 'an object'
  const text = JSON.stringify(typeof value === 'string' ? value.slice(0, 100) : value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
