import type { z } from 'zod'
import { allowed, amount, saysWhatIsAllowed, untilWrong } from '../../allowed.ts'
import { OrielError } from '../../errors.ts'

/** Marks a schema that only refuses something with a clear message. Documentation leaves it out. */
export const refusal = { 'x-refused': true } as const

/** A parameter that may be left out or null. @param text for the documentation */
export const optional = <Schema extends z.ZodType>(schema: Schema, text: string) => schema.nullish().describe(text)

/** @param param undefined for the body as a whole */
export const invalidValue = (param: string | undefined, message: string): OrielError =>
  new OrielError('invalid', message, { param, code: 'invalid_value' })

type Issue = z.core.$ZodIssue

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

function branches(issue: Extract<Issue, { code: 'invalid_union' }>): Issue[] {
  const inner = issue.errors.flatMap((errors) => {
    const best = deepest(errors)
    return best === undefined ? [] : [{ ...best, path: [...issue.path, ...best.path] }]
  })
  // A branch of names tells some of what is allowed, a message of the union all of it.
  const shallow = saysWhatIsAllowed(issue) ? ['invalid_type', 'invalid_value'] : ['invalid_type']
  const reached = inner.filter(({ path, code }) => path.length > issue.path.length || !shallow.includes(code))
  return reached.length > 0 ? reached : [issue]
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
    ['invalid_value', 'invalid_key'].includes(issue.code) ||
    (issue.code === 'invalid_union' && 'discriminator' in issue)
  return isName && /^[\w.:/-]{1,40}$/.test(value) ? `"${value}"` : `a string of ${amount(value.length, 'string')}`
}
