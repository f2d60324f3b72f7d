import { expect, it } from 'vitest'
import type { ToEngine } from '../../src/engine/protocol.ts'
import { Questions } from '../../src/engine/questions.ts'
import { OrielError } from '../../src/errors.ts'

it('questions to an engine that has ended are answered with the reason, also those that come later', async () => {
  const sent: ToEngine[] = []
  const questions = new Questions((message) => sent.push(message))
  const before = questions.ask({ type: 'state', id: 1 })
  questions.end(new OrielError('engine_failed', 'It does not start again.'))
  await expect(before).rejects.toThrow('It does not start again.')
  await expect(questions.ask({ type: 'adapter', id: 2, key: 'a', file: null })).rejects.toThrow('does not start again')
  expect(sent.map(({ type }) => type)).toEqual(['state'])
  expect(questions.size).toBe(0)
})
