import { describe, expect, it } from 'vitest'
import { loadConfig, variableOf, variables } from '../../src/load-config.ts'
import { pages, textOf } from './pages.ts'

/** The guide's example is a setting that does not exist. */
const documents = pages.filter((page) => page !== 'docs/add-a-setting.md')
const named = (text: string): string[] =>
  [...text.matchAll(/`((?:ORIEL|HF)_[A-Z0-9_]+|DATABASE_URL|REDIS_URL)`/g)].map(([, name = '']) => name)
const defaultOf = (name: string): unknown => variables.find((variable) => variable.name === name)?.default

describe('the documented settings', () => {
  it('are the environment variables that the server reads', () => {
    const documented = new Set(documents.flatMap((name) => named(textOf(name))))
    expect([...documented].sort()).toEqual(variables.map(({ name }) => name).sort())
  })

  it('have their defaults in the README', () => {
    const rows = textOf('README.md')
      .split('\n')
      .filter((line) => /^\| `ORIEL_/.test(line))
      .map((line) => line.split('|').map((cell) => cell.trim()))
    const checked = rows.flatMap(([, settings = '', , byDefault = '']) => {
      const defaults = [...byDefault.matchAll(/`([^`]+)`/g)].map(([, value]) => value)
      const names = named(settings).filter((name) => String(defaultOf(name) ?? '') !== '')
      for (const [index, name] of names.entries())
        if (defaults.length > 0) expect(`${name} ${defaults[index] ?? defaults[0]}`).toBe(`${name} ${defaultOf(name)}`)
      return defaults.length > 0 ? names : []
    })
    expect(checked).toContain('ORIEL_PORT')
  })

  it('have their limits in docs/images.md', () => {
    const units = { '': 1, MB: 1e6, MP: 1e6 } as const
    const rows = textOf('docs/images.md').matchAll(/^\| `(ORIEL_\w+)` +\| ([\d,]+) ?(MB|MP|) +\|/gm)
    const documented = [...rows].map(([, name = '', amount = '', unit]) => [
      name,
      Number(amount.replaceAll(',', '')) * units[unit as keyof typeof units],
    ])
    expect(documented).toHaveLength(11)
    expect(documented).toEqual(documented.map(([name]) => [name, defaultOf(String(name))]))
  })
})

describe('an environment variable', () => {
  it('sets its setting, read as the type of the default', () => {
    const env = { ORIEL_PORT: '9000', ORIEL_MODEL: 'a, b', ORIEL_STRICT: 'true', ORIEL_GPU: 'off', ORIEL_CONTEXT: '' }
    expect(loadConfig({}, env)).toMatchObject({
      server: { port: 9000, strict: true },
      model: ['a', 'b'],
      engine: { gpu: 'off', contextTokens: 0 },
    })
  })

  it('is overridden by flags', () => {
    expect(loadConfig({ server: { port: 1 } }, { ORIEL_PORT: '2', ORIEL_HOST: '::1' }).server).toMatchObject({
      port: 1,
      host: '::1',
    })
  })

  it('is refused when it is not of that type', () => {
    expect(() => loadConfig({}, { ORIEL_PORT: 'http' })).toThrow(/expected number/)
    expect(() => loadConfig({}, { ORIEL_MEMORY_BUDGET: 'much' })).toThrow('must be like 8GB or 500MB')
  })

  it('is found by the path of its setting, or of a part of it', () => {
    expect(variableOf(['media', 'maxImages'])).toBe('ORIEL_MAX_IMAGES')
    expect(variableOf(['media', 'allowDomains', 3])).toBe('ORIEL_ALLOW_DOMAINS')
    expect(variableOf(['media'])).toBeUndefined()
  })
})
