import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig, variables } from '../../src/load-config.ts'
import { secretVariables } from '../../src/secrets.ts'
import { settingsOf } from '../../src/upstreams/index.ts'
import { root } from '../docs/pages.ts'

/** Why a configuration file is refused, without its folder. */
function refusalOf(file: string): string {
  try {
    loadConfig({}, { ORIEL_CONFIG: file })
    return 'accepted'
  } catch (error) {
    expect(error).toMatchObject({ kind: 'invalid', code: 'bad_configuration' })
    return (error as Error).message.replace(path.dirname(file), '')
  }
}

describe('the configuration file', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oriel-config-'))
  })
  afterAll(() => rm(folder, { recursive: true }))
  let files = 0
  const written = (text: string, ending = 'json'): string => {
    const file = path.join(folder, String(files++), `oriel.${ending}`)
    mkdirSync(path.dirname(file))
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
    const refusal = (text: string): string => refusalOf(written(text))
    expect(refusal('{"server": {"port": "http"}}')).toMatch(
      /^The configuration file \/oriel\.json has a setting that is not allowed\. server\.port: must be a number\.$/,
    )
    expect(refusal('{"accounts": {"tiers": {"free": {"requests": 0}}}}')).toContain('accounts.tiers.free.requests: ')
    expect(refusal('{"accounts": {"tier": "gold"}}')).toContain('accounts.tier: is not one of the tiers')
    expect(refusal('{"a": 1,}')).toContain('is not JSON: ')
    expect(refusal('[]')).toContain('is not a JSON object')
    expect(() => loadConfig({ file: path.join(folder, 'none.json') }, {})).toThrow('none.json cannot be read')
  })

  it('has an example, with the names of tiers of Novita', () => {
    const { tier, tiers } = loadConfig({ file: path.join(root, 'examples/novita-tiers.json') }, {}).accounts
    expect([tier, Object.keys(tiers)]).toEqual(['T1', ['T1', 'T2', 'T3', 'T4', 'T5']])
  })

  it('cannot name another one', () => {
    expect(() => loadConfig({ file: written('{"file": "other.json"}') }, {})).toThrow('file: there is no such setting')
  })

  it('is TOML if its name ends so', () => {
    const file = written(
      '[server]\nport = 7\n[[upstreams]]\nname = "a"\nurl = "http://a:1/v1/"\napi = "vllm"\n',
      'toml',
    )
    expect(loadConfig({ file }, {})).toMatchObject({ server: { port: 7 }, upstreams: [{ name: 'a', weight: 1 }] })
  })

  it('may name its schema', () => {
    expect(loadConfig({ file: written('{"$schema": "./oriel.schema.json", "model": []}') }, {}).model).toEqual([])
  })

  it('tells of an unknown setting which one was probably meant', () => {
    const refusal = (settings: object): string => refusalOf(written(JSON.stringify(settings)))
    const upstream = { name: 'a', url: 'http://a', api: 'vllm' }
    expect(refusal({ upstreem: [] })).toMatch(/upstreem: there is no such setting, did you mean upstreams\?$/)
    expect(refusal({ upstreams: [{ ...upstream, wieght: 2 }] })).toContain(
      'upstreams[0].wieght: there is no such setting, did you mean weight?',
    )
    expect(refusal({ upstreams: [{ ...upstream, models: ['x', { id: 'y', input: [] }] }] })).toContain(
      'upstreams[0].models[1].input: there is no such setting, did you mean inputs?',
    )
    expect(refusal({ accounts: { tiers: { free: { request: 1 } } } })).toContain(
      'accounts.tiers.free.request: there is no such setting, did you mean requests?',
    )
    expect(refusal({ server: { colour: 'red' } })).toMatch(/server\.colour: there is no such setting\.$/)
  })

  it('is refused without a word of what is in it', () => {
    const secret = 'sk-of-somebody'
    const upstream = { name: 'a', url: 'http://a', api: 'vllm', key: secret }
    const texts = [
      written(`{"upstreams": [{"key": "${secret}" "name"`),
      written(`{"key": ${secret}}`),
      written(`[[upstreams]]\nkey = "${secret}" x`, 'toml'),
      written(`key = ${secret}`, 'toml'),
      ...[
        { keyFrom: 'KEY' },
        { api: secret },
        { key: [secret] },
        { url: `http://user:${secret}@a` },
        { url: secret },
      ].map((wrong) => written(JSON.stringify({ upstreams: [{ ...upstream, ...wrong }] }))),
    ]
    for (const file of texts) expect(refusalOf(file)).not.toContain(secret)
  })
})

describe('upstreams', () => {
  const upstream = { name: 'a', url: 'http://a:8000/v1/', api: 'vllm' } as const

  it('need no model of this machine, unless one is named', () => {
    expect(loadConfig({ upstreams: [upstream] }, {}).model).toEqual([])
    expect(loadConfig({ upstreams: [upstream] }, { ORIEL_MODEL: 'pocket' }).model).toEqual(['pocket'])
    expect(loadConfig({ upstreams: [upstream], model: ['pocket'] }, {}).model).toEqual(['pocket'])
    expect(loadConfig({}, {}).model).toEqual(['pocket'])
  })

  it('have URLs with or without the version at their end', () => {
    const urls = ['http://a', 'http://a/', 'http://a/v1', 'http://a/v1/', 'http://a/openai/v1', 'http://a/inference']
    const all = urls.map((url, at) => ({ ...upstream, name: `a${at}`, url }))
    expect(settingsOf(loadConfig({ upstreams: all }, {}).upstreams, {}).map(({ url }) => url)).toEqual([
      ...['http://a', 'http://a', 'http://a', 'http://a', 'http://a/openai', 'http://a/inference'],
    ])
  })

  it('take their keys from variables, which child processes do not get', () => {
    const { upstreams } = loadConfig({ upstreams: [{ ...upstream, keyFrom: 'KEY_OF_A' }] }, {})
    expect(settingsOf(upstreams, { KEY_OF_A: ' secret\n' })[0]?.key).toBe('secret')
    expect(secretVariables()).toContain('KEY_OF_A')
    expect(() => settingsOf(upstreams, {})).toThrow('The upstream a takes its key from KEY_OF_A, which is not set.')
  })

  it('are refused if two have one name, or one has two keys or a key in its URL', () => {
    const load =
      (...all: object[]) =>
      () =>
        loadConfig({ upstreams: all as never }, {})
    expect(load(upstream, upstream)).toThrow('is the name of another upstream: a')
    expect(load({ ...upstream, key: 'k', keyFrom: 'K' })).toThrow('leave out key or keyFrom')
    expect(load({ ...upstream, url: 'http://user:k@a' })).toThrow('a key has its own setting')
    expect(load({ ...upstream, url: 'ftp://a' })).toThrow('must be like https://api.example.com/v1')
  })
})

it('keeps every setting that may have a key, a token or a password from child processes', () => {
  const names = variables.map(({ name }) => name).filter((name) => /(KEY|TOKEN|PASSWORD|SECRET|URL|PROXY)$/.test(name))
  expect(secretVariables()).toEqual(expect.arrayContaining(names))
})
