import { expect, it } from 'vitest'
import { z } from 'zod'
import { pairsOf } from '../../src/api/request/pairs.ts'

const untilWrong: z.core.ParseContextInternal<z.core.$ZodIssue> = { abortEarly: true }
const digits = { pattern: /^\d+$/, error: 'must be a number' }
const pairs = (count: number, value: unknown, name = ''): object =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [name + at, value]))

it('pairs are left at the first one that is wrong, however many are', () => {
  const schema = pairsOf(z.union([z.string(), z.boolean()]), { most: 10_000, name: digits })
  const wrongValues = schema.safeParse(pairs(10_000, null), untilWrong)
  expect(wrongValues.error?.issues).toMatchObject([{ code: 'invalid_union', path: ['0'] }])
  const wrongNames = schema.safeParse(pairs(10_000, 'a', 'x'))
  expect(wrongNames.error?.issues).toMatchObject([{ code: 'invalid_key', path: ['x0'], message: 'must be a number' }])
  expect(schema.parse({ 5: 'a', 6: true })).toEqual({ 5: 'a', 6: true })
})

it('pairs have a bound', () => {
  const schema = pairsOf(z.string(), { most: 3 })
  expect(schema.safeParse(pairs(3, 'a')).success).toBe(true)
  expect(schema.safeParse(pairs(4, 'a')).error?.issues).toMatchObject([{ message: 'must have at most 3 pairs' }])
})
