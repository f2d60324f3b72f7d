import { OrielError } from '../../errors.ts'

/** What the reader of examples needs to say which part of a line is wrong, and how. */

export const invalidExample = 'invalid_example'

/** @param what a predicate: `is missing.` */
export const fail = (param: string, what: string): OrielError =>
  new OrielError('invalid', `${param} ${what}`, { param, code: invalidExample })

/** Names a value without repeating much of it. */
export function found(value: unknown): string {
  if (value === undefined) return 'missing'
  if (value === null) return 'null'
  if (typeof value === 'string') return value === '' ? 'an empty text' : JSON.stringify(value.slice(0, 40))
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `${value}`
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** @throws OrielError `invalid` */
export function objectAt(value: unknown, param: string): Readonly<Record<string, unknown>> {
  if (!isObject(value)) throw fail(param, `is ${found(value)}; it must be an object.`)
  return value
}

/** @throws OrielError `invalid` */
export function listAt(value: unknown, param: string): readonly unknown[] {
  if (!Array.isArray(value)) throw fail(param, `is ${found(value)}; it must be a list.`)
  return value
}

/** @throws OrielError `invalid` for what is no text, or has nothing in it */
export function textAt(value: unknown, param: string): string {
  if (typeof value !== 'string' || value === '') throw fail(param, `is ${found(value)}; it must be a text.`)
  return value
}

export const allowedFields = (names: readonly string[]): string =>
  names.length === 0 ? 'none' : names.slice(0, 12).map(fieldName).join(', ')

/** The name of a field as a message may have it. */
export const fieldName = (name: string): string =>
  /^[\w-]{1,40}$/.test(name) ? name : JSON.stringify(name.slice(0, 40))
