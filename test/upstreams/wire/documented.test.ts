import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { OrielError } from '../../../src/errors.ts'
import { wires } from '../../../src/upstreams/wire/index.ts'
import { type Api, askOf, bodyOf } from './asks.ts'
import { answering } from './upstream.ts'

const page = readFileSync(new URL('../../../docs/upstreams.md', import.meta.url), 'utf8')
const section = page.slice(page.indexOf('## What a request may say'), page.indexOf('## When an upstream fails'))

/** The cells of each row: samplers, formats, several answers, continues, plain prompts, counts. */
const rows = [...section.matchAll(/^\| `((?!api`)[\w-]+)` +\|(.*)\|$/gm)].map(
  ([, api = '', cells = '']) => [api as Api, cells.split('|').map((cell) => cell.trim())] as const,
)

const can = (...asked: Parameters<typeof bodyOf>): boolean => {
  try {
    bodyOf(...asked)
    return true
  } catch (error) {
    if (error instanceof OrielError) return false
    throw error
  }
}

const samplers = {
  ...{ 'top-k': { topK: 5 }, 'min-p': { minP: 0.1 }, 'typical-p': { typicalP: 0.5 } },
  ...{ mirostat: { mirostat: { target: 3, rate: 0.1 } }, 'repetition penalty': { repetitionPenalty: 1.1 } },
}

const begun = [{ role: 'assistant', content: [{ kind: 'text' as const, text: 'One,' }] }]

test('has every API', () => {
  expect(rows.map(([api]) => api).sort()).toEqual(Object.keys(wires).sort())
})

test.each(rows)(
  'what it says of %s is so',
  async (api, [sampling = '', formats = '', several, continues, plain = '', counting]) => {
    const written = sampling === 'as vLLM' ? 'top-k, min-p, repetition penalty' : sampling
    for (const [name, setting] of Object.entries(samplers))
      expect([name, can(api, { settings: { sampling: setting } })]).toEqual([
        name,
        written === 'all' || written.includes(name),
      ])
    const grammar = (source: object) => can(api, { settings: { sampling: { grammar: source as never } } })
    expect(grammar({ kind: 'gbnf', text: 'root ::= "a"' })).toBe(formats.includes('GBNF'))
    expect(grammar({ kind: 'regex', pattern: 'a' })).toBe(formats.includes('regular expressions'))
    expect(can(api, { settings: { n: 2 } })).toBe(several === 'yes')
    expect(can(api, { prompt: { messages: begun, continues: true } })).toBe(continues === 'yes')
    const prompt = (...parts: object[]) =>
      can(api, { ask: { prompt: { kind: 'plain', parts } as never }, settings: { maxTokens: 5 } })
    expect(prompt({ kind: 'text', text: 'a', special: true })).toBe(plain.includes('text'))
    expect(prompt({ kind: 'tokens', tokens: [1] })).toBe(plain.includes('tokens'))
    const paths = [
      '/tokenize',
      '/v1/chat/completions/input_tokens',
      '/v1/messages/count_tokens',
      '/v1/chat/completions',
    ]
    const { upstream } = answering(api, Object.fromEntries(paths.map((path) => [path, { ...counted }])))
    const count = wires[api].count(askOf(), 'a', upstream, new AbortController().signal)
    if (counting === 'no') await expect(count).rejects.toMatchObject({ kind: 'not_implemented' })
    else expect(await count).toMatchObject({ promptTokens: 5 })
  },
)

const counted = { count: 5, input_tokens: 5, usage: { prompt_tokens: 5, prompt_tokens_details: { images: [] } } }
