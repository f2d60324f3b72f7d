import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { textOf } from '../docs/pages.ts'
import { configSchemaText } from './schema.ts'

describe('oriel.schema.json', () => {
  it('is what the settings are: `npm run schema` writes it', () => {
    expect(textOf('oriel.schema.json')).toBe(configSchemaText())
  })

  const allows = new Ajv2020({ strict: false, validateFormats: false }).compile(JSON.parse(configSchemaText()))

  it('allows the example, and refuses a setting that does not exist', () => {
    expect(allows(JSON.parse(textOf('examples/novita-tiers.json')))).toBe(true)
    expect(allows({ $schema: './oriel.schema.json', server: { prot: 1 } })).toBe(false)
  })

  it('allows upstreams, also of TOML', () => {
    const text =
      '[[upstreams]]\nname = "a"\nurl = "http://a"\napi = "vllm"\nmodels = ["x", { id = "y", as = "z" }]\n[aliases]\nb = "x"\nc = ["x", "z"]\n'
    expect(allows(parse(text))).toBe(true)
    expect(allows(parse(text.replace('vllm', 'unknown')))).toBe(false)
  })
})
