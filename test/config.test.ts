import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig, variables } from '../src/load-config.ts'
import { secretVariables } from '../src/secrets.ts'
import { root } from './docs/pages.ts'

describe('the configuration file', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oriel-config-'))
  })
  afterAll(() => rm(folder, { recursive: true }))
  const written = (text: string): string => {
    const file = path.join(folder, 'oriel.json')
    writeFileSync(file, text)
    return file
  }

  it('is above the defaults, below the environment, and below flags', () => {
    const file = written('{"server": {"port": 1, "host": "::1", "strict": true}, "prices": {"input": 2}}')
    const env = { ORIEL_CONFIG: file, ORIEL_PORT: '2', ORIEL_STRICT: 'false' }
    expect(loadConfig({ server: { port: 3 } }, env)).toMatchObject({
      server: { port: 3, host: '::1', strict: false, maxBodyBytes: 16_000_000 },
      prices: { input: 2, output: 0 },
    })
    expect(loadConfig({ file }, {}).server.port).toBe(1)
    expect(loadConfig({}, {}).server.port).toBe(8080)
  })

  it('has tiers and prices, for which there is no variable', () => {
    const tiers = { free: { requests: 10, models: { large: { requests: 1 } } } }
    const file = written(
      JSON.stringify({ accounts: { tier: 'free', tiers, prices: { large: { input: 1, output: 2 } } } }),
    )
    expect(loadConfig({ file }, {}).accounts).toMatchObject({
      tier: 'free',
      tiers: { free: { requests: 10, tokens: null, models: { large: { requests: 1, images: null } } } },
      prices: { large: { input: 1, cachedInput: null, output: 2, image: 0 } },
    })
  })

  it('is refused with its name and the path of what is wrong', () => {
    const refusal = (text: string): string => {
      try {
        loadConfig({}, { ORIEL_CONFIG: written(text) })
        return 'accepted'
      } catch (error) {
        expect(error).toMatchObject({ kind: 'invalid', code: 'bad_configuration' })
        return (error as Error).message.replace(folder, '')
      }
    }
    expect(refusal('{"server": {"port": "http"}}')).toMatch(
      /^The configuration file \/oriel\.json has a setting that is not allowed\. server\.port: .*expected number/,
    )
    expect(refusal('{"accounts": {"tiers": {"free": {"requests": 0}}}}')).toContain('accounts.tiers.free.requests: ')
    expect(refusal('{"accounts": {"tier": "gold"}}')).toContain('accounts.tier: is not one of the tiers')
    expect(refusal('{"serve": {}}')).toContain('Unrecognized key: "serve"')
    expect(refusal('{"a": 1,}')).toContain('is not JSON: ')
    expect(refusal('[]')).toContain('is not a JSON object')
    expect(() => loadConfig({ file: path.join(folder, 'none.json') }, {})).toThrow('none.json cannot be read')
  })

  it('has an example, with the names of tiers of Novita', () => {
    const { tier, tiers } = loadConfig({ file: path.join(root, 'examples/novita-tiers.json') }, {}).accounts
    expect([tier, Object.keys(tiers)]).toEqual(['T1', ['T1', 'T2', 'T3', 'T4', 'T5']])
  })

  it('cannot name another one', () => {
    expect(() => loadConfig({ file: written('{"file": "other.json"}') }, {})).toThrow('Unrecognized key: "file"')
  })
})

it('keeps every setting that may have a key, a token or a password from child processes', () => {
  const names = variables.map(({ name }) => name).filter((name) => /(KEY|TOKEN|PASSWORD|SECRET|URL|PROXY)$/.test(name))
  expect(names.sort()).toEqual(secretVariables())
})
