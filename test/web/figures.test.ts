import { expect, it } from 'vitest'
import { amount, duration } from '../../web/src/ui/figures.ts'

it('the pages show an amount of money in full, and four digits of a small one', () => {
  expect([12345, 12345.678, 123.456, 1.5, 0].map(amount)).toEqual(['12,345', '12,345.68', '123.46', '1.5', '0'])
  expect([0.000123456, 0.1234567].map(amount)).toEqual(['0.0001235', '0.1235'])
})

it('the pages round a time before they divide it: no minute has 60 seconds', () => {
  expect([38, 999.6, 1200, 59_960].map(duration)).toEqual(['38 ms', '1.0 s', '1.2 s', '1 min 0 s'])
  expect([119_600, 125_000].map(duration)).toEqual(['2 min 0 s', '2 min 5 s'])
})
