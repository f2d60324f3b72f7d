import { invalidValue } from '../request/validation.ts'
import { compared, valueAt } from './fields.ts'

const comparison = /^\s*([\w.]+)\s*(!=|<=|>=|=|<|>|:)\s*("(?:[^"\\]|\\.)*"|[^\s"]+)\s*$/

/** By operator: whether a field matches, by its order relative to the value. */
const operators: Readonly<Record<string, (order: number) => boolean>> = {
  '=': (order) => order === 0,
  '!=': (order) => order !== 0,
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
}

/**
 * Reads comparisons that are joined by AND, the part of https://google.aip.dev/160 that lists of a few entries need.
 * `:` asks whether a text has another in it.
 * @throws OrielError `invalid`
 */
export function matcherOf(filter: string): (entry: object) => boolean {
  if (filter.trim() === '') return () => true
  const tests = filter.split(/\s+AND\s+/).map((part) => {
    const [, path = '', operator = '', given = ''] = comparison.exec(part) ?? []
    const matches = operators[operator]
    if (path === '')
      throw invalidValue(
        'filter',
        'filter has comparisons like `state = READY`, joined by AND. It has no OR and no brackets.',
      )
    const value = given.startsWith('"') ? given.slice(1, -1).replace(/\\(.)/g, '$1') : given
    return (entry: object): boolean => {
      const found = valueAt(entry, path)
      if (matches === undefined) return String(found ?? '').includes(value)
      const isNumber = typeof found === 'number' && !Number.isNaN(Number(value))
      return matches(isNumber ? compared(found, Number(value)) : compared(found, value))
    }
  })
  return (entry) => tests.every((test) => test(entry))
}
