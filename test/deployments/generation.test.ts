import { expect, it } from 'vitest'
import { checkSchemas } from '../../src/deployments/embedded/generation.ts'
import { type Ask, plainSettings } from '../../src/deployments/index.ts'

/** As a program may send it, past all checks of the API. */
const askOf = (schema: unknown, parameters: Record<string, unknown>): Ask => ({
  prompt: {
    kind: 'chat',
    messages: [],
    tools: [{ name: 'f', description: undefined, parameters, param: 'tools[0].parameters' }],
    calling: { mode: 'auto', parallel: true },
    variables: {},
    splitReasoning: true,
    continues: false,
    longest: null,
  },
  attachments: [],
  client: 'program',
  settings: { ...plainSettings, sampling: { grammar: { kind: 'json_schema', schema } } },
})

it('refuses schemas that are too deep or too large to be walked through, without walking through them', () => {
  let deep: Record<string, unknown> = {}
  for (let i = 0; i < 100_000; i++) deep = { items: deep }
  const wide = { enum: Array.from({ length: 50_000 }, () => []) }
  expect(() => checkSchemas(askOf({ type: 'object' }, { properties: {} }))).not.toThrow()
  for (const hostile of [deep, wide]) {
    const error = { kind: 'invalid', code: 'invalid_json_schema' }
    expect(() => checkSchemas(askOf(hostile, {}))).toThrow(expect.objectContaining({ ...error, param: 'grammar' }))
    expect(() => checkSchemas(askOf({}, hostile))).toThrow(
      expect.objectContaining({ ...error, param: 'tools[0].parameters' }),
    )
  }
})
