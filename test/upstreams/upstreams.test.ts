import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createOriel, type Oriel } from '../../src/app.ts'
import { childrenRunning } from '../support/children.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { shortRun } from '../support/long.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { patient } from '../support/wait.ts'
import { type ScriptedUpstream, scriptedUpstream } from './scripted.ts'

const key = 'sk-the-key-of-one'
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-upstreams-'))
const file = path.join(folder, 'oriel.json')
const configure = (settings: object): void => writeFileSync(file, JSON.stringify(settings))

describe('a server in front of others', () => {
  let [one, two]: ScriptedUpstream[] = []
  let oriel: Oriel
  let url: string
  const logged: string[] = []
  const enginesBefore = childrenRunning('engine-process').length

  const upstreamsOf = () => {
    if (one === undefined || two === undefined) throw new Error('they do not run')
    return [
      { name: 'one', url: `${one.url}/v1`, api: 'sglang', keyFrom: 'KEY_OF_ONE' },
      {
        name: 'two',
        url: two.url,
        api: 'vllm',
        models: ['shared', 'plain', { id: 'b-7b', as: 'b', contextTokens: 5000 }],
      },
    ]
  }
  const aliases = { c: 'one/plain', d: ['two/missing', 'b'] }

  beforeAll(async () => {
    ;[one, two] = await Promise.all([
      scriptedUpstream('One', ['a', 'shared', 'plain']),
      scriptedUpstream('Two', ['shared', 'plain', 'b-7b', 'unlisted']),
    ])
    configure({ upstreams: upstreamsOf(), aliases })
    const env = { ORIEL_DATA_DIR: process.env.ORIEL_DATA_DIR, KEY_OF_ONE: key }
    const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) })
    oriel = await createOriel({ file, server: { port: 0 } }, { env, log, backends: [plainBackend()] })
    ;({ url } = await oriel.listen())
  })
  afterAll(async () => {
    await oriel.close()
    await one?.close()
    rmSync(folder, { recursive: true })
  })

  const ask = async (model: string, content = 'Hello') => {
    const response = await postJson(`${url}/v1/chat/completions`, { model, messages: [{ role: 'user', content }] })
    const body = (await response.json()) as {
      choices?: { message: { content: string } }[]
      error?: { message: string }
    }
    return body.choices?.[0]?.message.content ?? body.error?.message
  }
  interface Listed {
    id: string
    aliases: string[]
    upstreams?: string[]
    context_length?: number
  }
  const listed = async (): Promise<Listed[]> => {
    const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: Listed[] }
    return data
  }

  it('answers with their models, those that they list and those that the configuration names', async () => {
    expect(await ask('a')).toBe('One has a')
    expect(await ask('b')).toBe('Two has b-7b')
    expect(await ask('unlisted')).toContain('was not found. The models are: plain, ')
  })

  it('has one model of one name, and either upstream answers for it', async () => {
    expect(await ask('shared')).toMatch(/^(One|Two) has shared$/)
    expect(await ask('one/shared')).toBe('One has shared')
    expect(await ask('two/shared')).toBe('Two has shared')
  })

  it('prefers its own model, unless an alias says otherwise', async () => {
    expect(await ask('plain')).not.toContain('One')
    expect(await ask('one/plain')).toBe('One has plain')
    expect(await ask('c')).toBe('One has plain')
    expect(await ask('d')).toBe('Two has b-7b')
  })

  it('counts a model that is called with an account as itself, and not as one of the same name elsewhere', async () => {
    expect(await ask('accounts/acme/models/two/plain')).toBe('Two has plain')
    const metrics = await (await fetch(`${url}/metrics`)).text()
    expect(metrics).toContain('oriel_answer_seconds_count{model="two/plain",operation="chat"} 1')
  })

  it('lists where its models are, and no URL', async () => {
    const all = await listed()
    const elsewhere = all.flatMap(({ id, upstreams }) => (upstreams === undefined ? [] : [[id, upstreams]]))
    expect(elsewhere).toEqual([
      ['a', ['one']],
      ['shared', ['one', 'two']],
      ['one/plain', ['one']],
      ['two/plain', ['two']],
      ['b', ['two']],
    ])
    expect(all.find(({ id }) => id === 'b')).toMatchObject({ aliases: ['two/b', 'd'], context_length: 5000 })
    expect(all.find(({ id }) => id === 'a')).not.toHaveProperty('context_length')
    const described = await fetch(`${url}/v1/models/two/shared`).then((response) => response.json())
    expect(described).toMatchObject({ id: 'shared' })
  })

  it('needs no model of this machine, and loads none', async () => {
    expect(childrenRunning('engine-process')).toHaveLength(enginesBefore)
    expect((await fetch(`${url}/ready`)).status).toBe(200)
  })

  it('tells of each upstream in its metrics and its health', async () => {
    const { upstreams } = (await (await fetch(`${url}/health`)).json()) as { upstreams: object[] }
    expect(upstreams).toEqual([
      { upstream: 'one', status: 'ok', models: 3, running: 0 },
      { upstream: 'two', status: 'ok', models: 3, running: 0 },
    ])
    const metrics = await (await fetch(`${url}/metrics`)).text()
    expect(metrics).toContain('oriel_upstream_up{upstream="one"} 1')
    expect(metrics).toMatch(/oriel_upstream_requests_total\{upstream="two"\} [1-9]/)
    expect(metrics).toMatch(/oriel_upstream_time_to_first_token_seconds_count\{upstream="two"\} [1-9]/)
  })

  it('shows the key to its upstream and to nobody else', async () => {
    expect(one?.asked.every(({ key: got }) => got === `Bearer ${key}`)).toBe(true)
    expect(two?.asked.every(({ key: got }) => got === undefined)).toBe(true)
    const shown = await Promise.all(
      ['/v1/models', '/health', '/metrics', '/admin/models'].map(async (at) => (await fetch(url + at)).text()),
    )
    for (const text of [...shown, ...logged]) {
      expect(text).not.toContain(key)
      expect(text).not.toContain(one?.url.replace('http://', ''))
    }
  })

  describe('whose configuration is read again', () => {
    it('holds to it, and answers that run go on', async () => {
      const running = await postJson(`${url}/v1/chat/completions`, {
        ...{ model: 'b', stream: true, messages: [{ role: 'user', content: 'wait' }] },
      })
      configure({ upstreams: upstreamsOf().slice(0, 1), aliases: { e: 'a' }, server: { strict: true } })
      expect(await oriel.reload()).toEqual({ added: [], changed: [], removed: ['two'], later: ['server'] })
      expect(await ask('e')).toBe('One has a')
      expect(await ask('c')).toContain('was not found')
      expect(await ask('b')).toContain('was not found')
      expect((await listed()).map(({ id }) => id)).not.toContain('b')
      two?.finish()
      const events = eventsOf<{ choices: { delta: { content?: string } }[] }>(await running.text())
      const said = events.map(({ choices }) => choices[0]?.delta.content ?? '').join('')
      expect(said).toBe('Two has b-7b')

      configure({ upstreams: upstreamsOf().map((one) => ({ ...one, weight: 2 })), aliases })
      expect(await oriel.reload()).toMatchObject({ added: ['two'], changed: ['one'], removed: [] })
      expect(await ask('a')).toBe('One has a')
      expect(await ask('b')).toBe('Two has b-7b')
    })

    it('asks an upstream that has changed again, and models that vanished are gone', async () => {
      if (one !== undefined) one.models = ['new', 'shared']
      configure({ upstreams: upstreamsOf(), aliases })
      await oriel.reload()
      await vi.waitFor(async () => expect(await ask('new')).toBe('One has new'), patient)
      expect(await ask('a')).toContain('was not found')
    })

    it('stays as it was if it is not allowed', async () => {
      configure({ upstreams: [{ ...upstreamsOf()[0], keyFrom: 'NOT_SET' }] })
      await expect(oriel.reload()).rejects.toThrow('The upstream one takes its key from NOT_SET, which is not set.')
      configure({ upstreams: [{ name: 'one' }] })
      await expect(oriel.reload()).rejects.toMatchObject({ code: 'bad_configuration' })
      expect(await ask('b')).toBe('Two has b-7b')
    })
  })

  it('says that an upstream is down, and keeps its models', async () => {
    await two?.close()
    expect(await ask('b')).not.toContain('Two')
    await vi.waitFor(async () => {
      const { upstreams } = (await (await fetch(`${url}/health`)).json()) as { upstreams: object[] }
      expect(upstreams[1]).toEqual({ upstream: 'two', status: 'down', models: 3, running: 0 })
    }, patient)
    const all = (await listed()) as { id: string; state?: string }[]
    expect(all.find(({ id }) => id === 'b')).toMatchObject({ state: 'failed' })
  })
})

it.skipIf(shortRun)('is ready while an upstream answers', async () => {
  const upstream = await scriptedUpstream('One', ['a'])
  const upstreams = [{ name: 'one', url: upstream.url, api: 'vllm' as const }]
  const oriel = await createOriel(
    { upstreams, server: { port: 0 }, logLevel: 'silent' },
    { env: { ORIEL_DATA_DIR: process.env.ORIEL_DATA_DIR } },
  )
  const { url, models, upstreams: served } = await oriel.listen()
  expect([models, served]).toEqual([[], ['one']])
  const ready = async () => {
    const response = await fetch(`${url}/ready`)
    return [response.status, await response.text()]
  }
  expect(await ready()).toMatchObject([200, expect.anything()])
  await upstream.close()
  // A request that fails makes the next look at the upstream come soon.
  await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"model":"a","prompt":"a"}',
  })
  await vi.waitFor(
    async () => expect(await ready()).toMatchObject([503, expect.stringContaining('No upstream answers: one.')]),
    patient,
  )
  await oriel.close()
})
