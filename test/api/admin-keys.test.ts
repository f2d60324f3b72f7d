import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { z } from 'zod'
import { account, erasedAccount } from '../../src/api/administration/accounts.ts'
import { key, keyWithSecret } from '../../src/api/administration/keys.ts'
import { startServer, type TestServer } from '../support/server.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-admin-'))
const administrator = 'the-key-of-the-administrator'

let server: TestServer
beforeAll(async () => {
  server = await startServer({
    accounts: { dataDir: folder, adminKey: administrator, tiers: { small: { requests: 1 }, large: {} } },
  })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

async function ask(method: string, url: string, body?: unknown, secret = administrator, at = server.url) {
  const response = await fetch(`${at}${url}`, {
    method,
    headers: { authorization: `Bearer ${secret}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, body: text === '' ? undefined : JSON.parse(text) }
}

async function create(over: object = {}): Promise<z.output<typeof keyWithSecret>> {
  const { status, body, text } = await ask('POST', '/admin/keys', { account: 'acme', ...over })
  expect(status, text).toBe(200)
  return keyWithSecret.parse(body)
}

const models = (secret: string) =>
  new OpenAI({ baseURL: `${server.url}/v1`, apiKey: secret, maxRetries: 0 }).models.list()

describe('/admin/keys', () => {
  it('makes a key that works at once, and shows its secret only then', async () => {
    const made = await create({ note: 'the robot' })
    expect(made).toMatchObject({ account: 'acme', scopes: ['inference', 'usage'], models: null, budget: null })
    expect((await models(made.secret)).data).toHaveLength(1)
    const { secret, ...rest } = made
    const shown = await ask('GET', `/admin/keys/${made.id}`)
    expect(key.parse(shown.body)).toEqual(rest)
    expect(shown.headers.get('cache-control')).toBe('no-store')
    const list = await ask('GET', '/admin/keys?account=acme')
    expect(list.body.data).toContainEqual(rest)
    for (const { text } of [shown, list]) expect(text).not.toContain(secret.slice(made.prefix.length))
  })

  it('takes everything that a key may have, amounts in the currency and times in either form', async () => {
    const everything = { scopes: ['inference'], models: ['accounts/me/models/pocket'], budget: 2.5, note: 'é' }
    const made = await create({ ...everything, expires: '2090-01-02T03:04:05+01:00' })
    expect(made).toMatchObject({
      ...everything,
      models: ['pocket'],
      expires: '2090-01-02T02:04:05.000Z',
      revoked: null,
    })
    for (const expires of ['2090-01-01', 3786912000])
      expect((await create({ expires })).expires).toBe('2090-01-01T00:00:00.000Z')
  })

  it('revokes a key, which stays in the list', async () => {
    const { id, secret } = await create()
    const { body } = await ask('DELETE', `/admin/keys/${id}`)
    expect(key.parse(body).revoked).not.toBeNull()
    await expect(models(secret)).rejects.toMatchObject({ status: 401, code: 'revoked_api_key' })
    expect((await ask('GET', `/admin/keys/${id}`)).body).toEqual(body)
    expect((await ask('DELETE', `/admin/keys/${id}`)).body).toEqual(body)
    expect((await ask('POST', `/admin/keys/${id}/rotate`)).body.error).toMatchObject({ code: 'key_revoked' })
  })

  it('gives a key a new secret, at once or with a grace for the old one', async () => {
    const first = await create()
    const second = keyWithSecret.parse((await ask('POST', `/admin/keys/${first.id}/rotate`)).body)
    await expect(models(first.secret)).rejects.toMatchObject({ status: 401 })
    const third = await ask('POST', `/admin/keys/${first.id}/rotate`, { grace_seconds: 600 })
    for (const secret of [second.secret, third.body.secret]) await models(secret)
  })

  it('lists the newest first, in pages', async () => {
    const made = []
    for (let count = 0; count < 5; count++) made.push((await create({ account: 'pages' })).id)
    const read: string[] = []
    for (let after = ''; ; ) {
      const { body } = await ask('GET', `/admin/keys?account=pages&limit=2${after}`)
      read.push(...body.data.map(({ id }: { id: string }) => id))
      expect([body.first_id, body.last_id]).toEqual([body.data.at(0).id, body.data.at(-1).id])
      if (!body.has_more) break
      after = `&after=${body.last_id}`
    }
    expect([...read].sort()).toEqual([...made].sort())
    expect(read).toHaveLength(5)
  })

  it.each<[string, string, unknown, object]>([
    ['POST', '/admin/keys', {}, { param: 'account', message: 'account must be a string; found nothing.' }],
    ['POST', '/admin/keys', [], { message: 'The body must be an object; found an empty array.' }],
    ['POST', '/admin/keys', { account: 'a b' }, { param: 'account', code: 'bad_account' }],
    ['POST', '/admin/keys', { account: 'a', expire: 1 }, { param: 'expire', code: 'unknown_parameter' }],
    ['POST', '/admin/keys', { account: 'a', scopes: ['root'] }, { param: 'scopes[0]' }],
    ['POST', '/admin/keys', { account: 'a', scopes: [] }, { param: 'scopes' }],
    ['POST', '/admin/keys', { account: 'a', models: ['none'] }, { param: 'models[0]' }],
    ['POST', '/admin/keys', { account: 'a', budget: -1 }, { param: 'budget' }],
    ['POST', '/admin/keys', { account: 'a', note: 'a\0' }, { param: 'note' }],
    ['POST', '/admin/keys', { account: 'a', expires: '2020-01-01' }, { message: 'expires must be in the future.' }],
    ['POST', '/admin/keys', { account: 'a', expires: '2090-02-30' }, { param: 'expires' }],
    ['POST', '/admin/keys', { account: 'a', expires: 3786912000000 }, { param: 'expires' }],
    ['GET', '/admin/keys?acount=acme', undefined, { param: 'acount', code: 'unknown_parameter' }],
    ['GET', '/admin/keys?limit=1000', undefined, { param: 'limit' }],
    ['GET', '/admin/keys?account=%00', undefined, { param: 'account' }],
    ['PATCH', '/admin/accounts/acme', { tier: 'huge' }, { param: 'tier', code: 'unknown_tier' }],
    ['PATCH', '/admin/accounts/acme', { budget: 'all' }, { param: 'budget' }],
    ['PATCH', '/admin/accounts/a%20b', {}, { param: 'account' }],
    ['DELETE', '/admin/accounts/%00', undefined, { param: 'account' }],
  ])('refuses %s %s %j', async (method, url, body, error) => {
    const answer = await ask(method, url, body)
    expect(answer.body.error).toMatchObject(error)
    expect(answer.status).toBe(400)
  })

  it.each([
    ['GET', '/admin/keys/key_none'],
    ['GET', '/admin/keys/%00'],
    ['DELETE', '/admin/keys/key_none'],
    ['POST', '/admin/keys/key_none/rotate'],
    ['GET', '/admin/keys?after=key_none'],
    ['DELETE', '/admin/accounts/nobody'],
  ])('does not find %s %s', async (method, url) => {
    expect((await ask(method, url)).status).toBe(404)
  })

  it('is for keys with the scope admin, which may even revoke themselves', async () => {
    const { secret } = await create()
    for (const [method, url] of [
      ['GET', '/admin/keys'],
      ['POST', '/admin/keys'],
      ['DELETE', '/admin/accounts/acme'],
    ] as const) {
      expect((await ask(method, url, undefined, secret)).status).toBe(403)
      expect((await ask(method, url, undefined, 'none')).status).toBe(401)
    }
    const admin = await create({ scopes: ['admin'] })
    expect((await ask('GET', '/admin/keys', undefined, admin.secret)).status).toBe(200)
    expect((await ask('DELETE', `/admin/keys/${admin.id}`, undefined, admin.secret)).status).toBe(200)
    expect((await ask('GET', '/admin/keys', undefined, admin.secret)).status).toBe(401)
  })
})

describe('/admin/accounts', () => {
  it('changes the tier and the budget of an account, each alone', async () => {
    const { secret } = await create({ account: 'changed' })
    const change = async (body: object) => account.parse((await ask('PATCH', '/admin/accounts/changed', body)).body)
    expect(await change({ tier: 'small' })).toMatchObject({ tier: 'small', budget: null })
    expect(await change({ budget: 1.25 })).toMatchObject({ tier: 'small', budget: 1.25 })
    const question = { model: 'pocket', max_tokens: 1, messages: [{ role: 'user', content: 'Hello' }] }
    const chat = () => ask('POST', '/v1/chat/completions', question, secret)
    expect([(await chat()).status, (await chat()).status]).toEqual([200, 429])
    expect(await change({ tier: null, budget: 0 })).toMatchObject({ tier: null, budget: 0 })
    expect((await chat()).status).toBe(402)
    expect(await change({ budget: null })).toMatchObject({ budget: null })
    expect((await chat()).status).toBe(200)
  })

  it('makes accounts, and lists them by name in pages', async () => {
    for (const name of ['zoe', 'zed', 'zach']) await ask('PATCH', `/admin/accounts/${name}`, {})
    const { body } = await ask('GET', '/admin/accounts?after=z&limit=2')
    expect(body).toMatchObject({ data: [{ id: 'zach' }, { id: 'zed' }], last_id: 'zed', has_more: true })
    expect((await ask('GET', '/admin/accounts?after=zed')).body).toMatchObject({
      data: [{ id: 'zoe' }],
      has_more: false,
    })
  })

  it('erases an account with its keys', async () => {
    const { secret } = await create({ account: 'erased' })
    await create({ account: 'erased' })
    const { body } = await ask('DELETE', '/admin/accounts/erased')
    expect(erasedAccount.parse(body)).toMatchObject({ id: 'erased', keys: 2 })
    await expect(models(secret)).rejects.toMatchObject({ status: 401 })
    expect((await ask('DELETE', '/admin/accounts/erased')).status).toBe(404)
  })
})

describe('a server without keys', () => {
  it('lets nobody manage keys over HTTP', async () => {
    const dataDir = mkdtempSync(path.join(tmpdir(), 'oriel-open-'))
    const open = await startServer({ accounts: { dataDir } })
    try {
      for (const [method, url, body] of [
        ['GET', '/admin/keys'],
        ['POST', '/admin/keys', { account: 'mine', scopes: ['admin'] }],
        ['GET', '/admin/keys/key_none'],
        ['DELETE', '/admin/keys/key_none'],
        ['POST', '/admin/keys/key_none/rotate', {}],
        ['GET', '/admin/accounts'],
        ['PATCH', '/admin/accounts/local', { budget: 0 }],
        ['DELETE', '/admin/accounts/local'],
      ] as const) {
        const answer = await ask(method, url, body, 'anything', open.url)
        expect([answer.status, answer.body.error.code]).toEqual([403, 'missing_scope'])
      }
      expect((await fetch(`${open.url}/v1/models`)).status).toBe(200)
    } finally {
      await open.close()
      rmSync(dataDir, { recursive: true, force: true })
    }
  })
})
