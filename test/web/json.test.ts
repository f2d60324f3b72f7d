import { expect, it } from 'vitest'
import { tidyJson } from '../../web/src/pages/ask/state/json.ts'

it('the page indents JSON, and keeps short parts of it on one line', () => {
  const cells = Array.from({ length: 3 }, (_, row) => ({ row, text: `The text of the cell ${row}` }))
  expect(tidyJson(JSON.stringify({ cells, empty: {} }))).toBe(`{
  "cells": [
    {"row": 0, "text": "The text of the cell 0"},
    {"row": 1, "text": "The text of the cell 1"},
    {"row": 2, "text": "The text of the cell 2"}
  ],
  "empty": {}
}`)
})

it('the page shows numbers, names and texts of JSON as the model wrote them, in the same order', () => {
  const numbers = '{"2":12.50,"1":12345678901234567890,"1":-1e-7}'
  expect(tidyJson(numbers)).toBe('{"2": 12.50, "1": 12345678901234567890, "1": -1e-7}')
  const texts = '{"a \\"b\\", {c}":"\\u00e9\\\\","d":[true,null]}'
  expect(tidyJson(texts)).toBe('{"a \\"b\\", {c}": "\\u00e9\\\\", "d": [true, null]}')
})

it('the page leaves JSON that is still arriving, and what is none, as it is', () => {
  for (const text of ['{"a": [1, 2', '12.', 'No JSON: {}', '']) expect(tidyJson(text)).toBe(text)
})
