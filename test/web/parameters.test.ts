import { expect, it } from 'vitest'
import { noSettings } from '../../web/src/pages/ask/state/conversation.ts'
import { bodyOf, settingsProblem } from '../../web/src/pages/ask/state/parameters.ts'

const typed = (parameters: Record<string, string>) => ({ ...noSettings, parameters })

it('the page takes a decimal comma, which is all that some phones have', () => {
  const settings = typed({ temperature: '0,7', presence_penalty: ' -1,5 ', top_p: '0.9' })
  expect(settingsProblem(settings)).toBeUndefined()
  expect(bodyOf(settings)).toEqual({ temperature: 0.7, presence_penalty: -1.5, top_p: 0.9 })
})

it('the page does not take a comma in a whole number, where some mean thousands by it', () => {
  expect(settingsProblem(typed({ max_tokens: '1,000' }))).toBe('Longest answer: A whole number from 1 to 1000000.')
})
