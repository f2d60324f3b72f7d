import { parse } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { fileSchema } from '../../src/config-file.ts'
import { upstreamApis } from '../../src/config-upstreams.ts'
import { textOf } from './pages.ts'

const page = textOf('docs/upstreams.md')
const examples = [...page.matchAll(/^```(toml|json)\n([\s\S]*?)^```$/gm)].map(([, language, text = '']) =>
  fileSchema.parse(language === 'toml' ? parse(text) : JSON.parse(text)),
)
const upstreams = examples.flatMap((example) => example.upstreams)

describe('docs/upstreams.md', () => {
  it('has an example of each API, all of which are allowed', () => {
    expect([...new Set(upstreams.map(({ api }) => api))].sort()).toEqual([...upstreamApis].sort())
    expect(examples.flatMap(({ aliases }) => Object.keys(aliases))).toEqual(['gpt-4o', 'vision', 'pocket'])
  })

  it('has all settings of an upstream, with their defaults', () => {
    const [example] = fileSchema.parse({ upstreams: [{ name: 'a', url: 'http://a', api: 'vllm' }] }).upstreams
    const rows = [...page.matchAll(/^\| `(\w+)` +\|.*\| ([^|]+?) +\|$/gm)].map(([, name = '', byDefault = '']) => [
      name,
      byDefault.replaceAll('`', ''),
    ])
    expect(rows.map(([name]) => name)).toEqual(Object.keys(example ?? {}))
    for (const [name, byDefault = ''] of rows)
      if (/^(\d+|true|false)$/.test(byDefault)) expect(Object(example)[String(name)]).toBe(JSON.parse(byDefault))
  })
})
