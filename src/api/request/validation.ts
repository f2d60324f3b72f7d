import type { z } from 'zod'
import { OrielError } from '../../errors.ts'

/** Marks a schema that only refuses something with a clear message. Documentation leaves it out. */
export const refusal = { 'x-refused': true } as const

/** A parameter that may be left out or null. @param text for the documentation */
export const optional = <Schema extends z.ZodType>(schema: Schema, text: string) => schema.nullish().describe(text)

/** @param param undefined for the body as a whole */
export const invalidValue = (param: string | undefined, message: string): OrielError =>
  new OrielError('invalid', message, { param, code: 'invalid_value' })

type Issue = z.core.$ZodIssue

/** An array is left at its first item that is not allowed: the error names one, and each costs microseconds. */
const untilWrong: z.core.ParseContextInternal<Issue> = { abortEarly: true }

/**
 * Parses a request's body. The error names the field, what was found there and what is allowed.
 * @throws OrielError `invalid`
 */
export function parseBody<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const result = schema.safeParse(body, untilWrong)
  if (result.success) return result.data
  const issue = deepest(result.error.issues)
  if (issue === undefined) throw new OrielError('invalid', 'The request body is not valid.')
  const param = pathText(issue.path)
  const found = show(issue.code === 'invalid_key' ? issue.path.at(-1) : at(body, issue.path), issue)
  throw invalidValue(param || undefined, `${param || 'The body'} ${allowed(issue)}; found ${found}.`)
}

/**
 * Parameters of a body that the schema does not have.
 * @param strict whether they are refused
 * @throws OrielError `invalid`
 */
export function unknownParameters(schema: z.ZodObject, body: object, strict: boolean): string[] {
  const unknown = Object.keys(body).filter((key) => !Object.hasOwn(schema.shape, key))
  const [first] = unknown
  if (strict && first !== undefined)
    throw new OrielError('invalid', `${JSON.stringify(first.slice(0, 100))} is not a parameter of this endpoint.`, {
      param: first.slice(0, 100),
      code: 'unknown_parameter',
    })
  return unknown
}

/**
 * Parses what has no parameters of other APIs: one that is not known is a mistake.
 * @throws OrielError `invalid`
 */
export function parseStrictly<T extends z.ZodObject>(schema: T, given: unknown): z.output<T> {
  const parsed = parseBody(schema, given ?? {})
  unknownParameters(schema, given ?? {}, true)
  return parsed
}

/** `['messages', 0, 'content']` -> `messages[0].content` */
const pathText = (path: readonly PropertyKey[]): string =>
  path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key)),
    '',
  )

/** The issue deepest in the body: for a union, that of the closest branch. */
function deepest(issues: readonly Issue[]): Issue | undefined {
  const flat = issues.flatMap((issue) => (issue.code === 'invalid_union' ? branches(issue) : [issue]))
  return flat.reduce<Issue | undefined>(
    (best, issue) => (best && best.path.length >= issue.path.length ? best : issue),
    undefined,
  )
}

type UnionIssue = Extract<Issue, { code: 'invalid_union' }>

function branches(issue: UnionIssue): Issue[] {
  const inner = issue.errors.flatMap((errors) => {
    const best = deepest(errors)
    return best === undefined ? [] : [{ ...best, path: [...issue.path, ...best.path] }]
  })
  const reached = inner.filter(({ path, code }) => path.length > issue.path.length || code !== 'invalid_type')
  return reached.length > 0 ? reached : [issue]
}

function allowed(issue: Issue): string {
  if (!unspecific.test(issue.message)) return issue.message
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

function allowedByUnion(issue: UnionIssue): string {
  // The discriminator has an unknown value. An optional one has undefined among its values.
  const kinds = 'options' in issue ? issue.options?.filter((kind) => kind !== undefined) : undefined
  if (kinds !== undefined) return `must be ${either(kinds.map((kind) => JSON.stringify(kind)))}`
  const types = issue.errors.flatMap((errors) =>
    errors.flatMap((error) => (error.code === 'invalid_type' ? [article(error.expected)] : [])),
  )
  return types.length === 0 ? 'has a type that is not allowed' : `must be ${either([...new Set(types)])}`
}

/** Zod's default messages. */
const unspecific = /^(Invalid|Too small|Too big|Unrecognized)\b/

const either = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`

function article(type: string): string {
  if (type === 'int') return 'a whole number'
  const name = type === 'record' ? 'object' : type
  return /^[aeiou]/.test(name) ? `an ${name}` : `a ${name}`
}

const verb = (origin: string): string => (origin === 'array' || origin === 'string' ? 'have' : 'be')

function amount(count: number | bigint, origin: string): string {
  const unit = origin === 'array' ? ' item' : origin === 'string' ? ' character' : ''
  return `${count}${unit}${unit !== '' && count !== 1 ? 's' : ''}`
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  )
}

function arrayText({ length }: readonly unknown[], { code }: Issue): string {
  if (length === 0) return 'an empty array'
  return code === 'too_big' ? amount(length, 'array') : 'an array'
}

/** What was found. A text may be private or long, so only its length is shown, unless a name is expected. */
function show(value: unknown, issue: Issue): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return arrayText(value, issue)
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value !== 'string') return String(value)
  if (value === '') return 'an empty string'
  const isName =
    ['invalid_value', 'invalid_key'].includes(issue.code) || (issue.code === 'invalid_union' && 'discriminator' in issue)
  return isName && /^[\w.:/-]{1,40}$/.test(value) ? `"${value}"` : `a string of ${amount(value.length, 'string')}`
}
