import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { z } from 'zod'
import { account, accountList, apiKey, apiKeyList, user, userList } from '../../src/api/control/accounts.ts'
import { deployedModel, deployedModelList } from '../../src/api/control/deployed-models.ts'
import { accountModel, accountModelList } from '../../src/api/control/models.ts'
import { deploymentShape, shapeList, shapeVersion, shapeVersionList } from '../../src/api/control/shapes.ts'
import { writeAdapter } from '../support/adapters.ts'
import { administrator, type KeyedServer, startKeyed } from '../support/keyed.ts'
import { pocketFolder } from '../support/pocket.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

interface Answered {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: the schemas of the API check what is read of it.
  body: any
}

const clientOf =
  (url: string, secret?: string) =>
  async (method: string, where: string, body?: unknown): Promise<Answered> => {
    const response = await fetch(`${url}/v1${where}`, {
      method,
      headers: {
        'content-type': 'application/json',
        ...(secret !== undefined && { authorization: `Bearer ${secret}` }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: await response.json() }
  }

describe('the control plane of a server with keys', () => {
  let server: KeyedServer
  let admin: ReturnType<typeof clientOf>
  let own: ReturnType<typeof clientOf>
  beforeAll(async () => {
    server = await startKeyed()
    admin = clientOf(server.url, administrator)
    own = clientOf(server.url, (await server.keyOf({ account: 'acme' })).secret)
    await server.keyOf({ account: 'other' })
  })
  afterAll(() => server.close())

  it('shows a key its own account, and an administrator all', async () => {
    const namesFor = async (client: typeof own): Promise<string[]> =>
      accountList.parse((await client('GET', '/accounts')).body).accounts.map(({ name }) => name)
    expect(await namesFor(own)).toEqual(['accounts/acme'])
    expect((await namesFor(admin)).sort()).toEqual(['accounts/acme', 'accounts/local', 'accounts/other'])
    expect(account.parse((await own('GET', '/accounts/acme')).body).name).toBe('accounts/acme')
    expect((await own('GET', '/accounts/other')).body.error.code).toBe('other_account')
    expect((await admin('GET', '/accounts/none')).body.error.code).toBe('account_not_found')
  })

  it('has one user in each account', async () => {
    const { users } = userList.parse((await own('GET', '/accounts/acme/users')).body)
    expect(users.map(({ name, role }) => [name, role])).toEqual([['accounts/acme/users/acme', 'inference-user']])
    user.parse((await own('GET', '/accounts/acme/users/acme')).body)
    expect((await own('GET', '/accounts/acme/users/alice')).status).toBe(404)
    for (const [method, where] of [
      ['POST', '/accounts/acme/users'],
      ['PATCH', '/accounts/acme/users/acme'],
    ] as const)
      expect((await admin(method, where, { role: 'admin' })).status).toBe(501)
  })

  it('makes keys that work, lists them without their secrets, and revokes them', async () => {
    const keys = '/accounts/acme/users/acme/apiKeys'
    const given = { apiKey: { displayName: 'mine', expireTime: '2099-01-01T00:00:00Z' } }
    expect((await own('POST', keys, given)).body.error.code).toBe('missing_scope')
    const made = apiKey.parse((await admin('POST', keys, given)).body)
    const client = clientOf(server.url, made.key)
    expect((await client('GET', '/accounts/acme')).status).toBe(200)
    const { apiKeys } = apiKeyList.parse((await admin('GET', keys)).body)
    expect(apiKeys[0]).toMatchObject({ keyId: made.keyId, displayName: 'mine', expireTime: '2099-01-01T00:00:00.000Z' })
    expect(JSON.stringify(apiKeys)).not.toContain(made.key)
    const elsewhere = await admin('POST', '/accounts/other/users/other/apiKeys:delete', { keyId: made.keyId })
    expect(elsewhere.body.error.code).toBe('key_not_found')
    expect(await admin('POST', `${keys}:delete`, { keyId: made.keyId })).toEqual({ status: 200, body: {} })
    expect((await client('GET', '/accounts/acme')).body.error.code).toBe('revoked_api_key')
    const past = await admin('POST', keys, { apiKey: { expireTime: '2020-01-01T00:00:00Z' } })
    expect([past.status, past.body.error.param]).toEqual([400, 'apiKey.expireTime'])
  })
})

describe('the control plane of a server without keys', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-control-'))
  let server: TestServer
  let client: ReturnType<typeof clientOf>
  beforeAll(async () => {
    for (const [at, id] of ['one', 'two'].entries()) writeAdapter(folder, id, { seed: at + 1 })
    server = await startServer({ models: { dirs: [folder] } })
    client = clientOf(server.url)
    for (const id of ['eyes', 'ears'])
      await client('POST', `/accounts/acme/deployments?deploymentId=${id}`, { baseModel: 'pocket' })
  })
  afterAll(async () => {
    await server.close()
    rmSync(folder, { recursive: true })
  })

  const all = '/accounts/acme/deployedModels'
  const load = (body: object, query = '') => client('POST', `${all}${query}`, body)
  const on = (id: string) => `accounts/acme/deployments/${id}`
  const namesOf = async (): Promise<string[]> =>
    deployedModelList
      .parse((await client('GET', all)).body)
      .deployedModels.map(({ name }) => name.split('/').at(-1) ?? '')
  const textOf = async (model: string): Promise<string> => {
    const messages = [{ role: 'user', content: 'What shapes are there?' }]
    const { body } = await client('POST', '/chat/completions', {
      model,
      messages,
      temperature: 0,
      max_tokens: 24,
      ignore_eos: true,
    })
    return body.choices[0].message.content
  }
  const parsed = <Schema extends z.ZodType>(schema: Schema, { body }: Answered): z.output<Schema> => schema.parse(body)

  it('does not give its keys to everybody who reaches it', async () => {
    expect((await client('GET', '/accounts/local/users/local/apiKeys')).body.error.code).toBe('missing_scope')
  })

  it('lists models and adapters, filtered, ordered and in pages', async () => {
    const { models, totalSize } = parsed(accountModelList, await client('GET', '/accounts/me/models'))
    expect(models.map(({ kind }) => kind)).toEqual(['HF_BASE_MODEL', 'HF_PEFT_ADDON', 'HF_PEFT_ADDON'])
    expect(totalSize).toBe(3)
    const query = new URLSearchParams({ filter: 'kind = HF_PEFT_ADDON', orderBy: 'name desc', pageSize: '1' })
    expect((await client('GET', `/accounts/me/models?${query}`)).body).toMatchObject({
      models: [{ name: 'accounts/me/models/two', peftDetails: { baseModel: 'accounts/me/models/pocket', r: 8 } }],
      nextPageToken: '1',
      totalSize: 2,
    })
  })

  it('puts adapters on deployments: the first one is meant by the name of the adapter', async () => {
    await vi.waitFor(async () => {
      expect((await client('GET', '/accounts/acme/deployments/eyes')).body.state).toBe('READY')
    }, patient)
    const first = parsed(deployedModel, await load({ model: 'accounts/acme/models/one', deployment: on('eyes') }))
    // It is loaded before a request names it.
    expect(await (await fetch(`${server.url}/metrics`)).text()).toMatch(/^oriel_engine_adapters\{model="pocket"\} 1$/m)
    expect(first).toMatchObject({ name: 'accounts/acme/deployedModels/one-eyes', default: true })
    const second = parsed(deployedModel, await load({ model: 'one', deployment: 'ears', displayName: 'One' }))
    expect([second.default, second.displayName]).toEqual([false, 'One'])
    // Again, it is the same one.
    expect((await load({ model: 'one', deployment: on('eyes') })).status).toBe(200)
    expect(await namesOf()).toEqual(['one-eyes', 'one-ears'])
    await client('PATCH', `${all}/one-ears`, { default: true })
    expect(parsed(accountModel, await client('GET', '/accounts/acme/models/one'))).toMatchObject({
      deployedModelRefs: [
        { deployment: on('eyes'), default: false },
        { deployment: on('ears'), default: true },
      ],
    })
    expect(await textOf('one')).toBe(await textOf('one#eyes'))
    expect(await client('DELETE', `${all}/one-ears`)).toEqual({ status: 200, body: {} })
    expect((await client('GET', `${all}/one-ears`)).body.error.code).toBe('deployed_model_not_found')
  })

  it('merges an adapter into a deployment, whose own name means it from then on', async () => {
    const [base, two] = [await textOf('pocket#eyes'), await textOf('pocket#two')]
    expect(base).not.toBe(two)
    await load({ model: 'two', deployment: on('eyes') }, '?replaceMergedAddon=true')
    expect(await namesOf()).toEqual(['two-eyes'])
    expect(await textOf(on('eyes'))).toBe(two)
    expect(await textOf('pocket#ears')).toBe(base)
    await client('DELETE', `${all}/two-eyes`)
    expect(await textOf(on('eyes'))).toBe(base)
  })

  it('takes the adapters of a deployment away with it for good, and with none that can be restored', async () => {
    const base = await textOf('pocket#ears')
    const create = () => client('POST', '/accounts/acme/deployments?deploymentId=nose', { baseModel: 'pocket' })
    const remove = (query = '') => client('DELETE', `/accounts/acme/deployments/nose${query}`)
    await create()
    await load({ model: 'two', deployment: on('nose') }, '?replaceMergedAddon=true')
    await remove()
    expect(await namesOf()).toEqual([])
    await client('POST', '/accounts/acme/deployments/nose:undelete', {})
    expect(await namesOf()).toEqual(['two-nose'])
    expect((await remove('?hard=true')).status).toBe(200)
    expect((await client('GET', `${all}/two-nose`)).body.error.code).toBe('deployed_model_not_found')
    await create()
    expect(await namesOf()).toEqual([])
    expect(await textOf(on('nose'))).toBe(base)
    await remove('?hard=true')
  })

  it('refuses a deployment whose adapter does not fit its model any more', async () => {
    await load({ model: 'two', deployment: on('ears') }, '?replaceMergedAddon=true')
    mkdirSync(path.join(folder, 'other'))
    copyFileSync(`${pocketFolder}pocket.gguf`, path.join(folder, 'other', 'other.gguf'))
    const sidecar = path.join(folder, 'adapters', 'two.gguf.json')
    writeFileSync(sidecar, JSON.stringify({ base: 'other' }))
    writeAdapter(folder, 'two', { seed: 2 })
    const messages = [{ role: 'user', content: 'Hi' }]
    const { status, body } = await client('POST', '/chat/completions', { model: on('ears'), messages, max_tokens: 4 })
    expect([status, body.error]).toMatchObject([
      412,
      { code: 'adapter_unusable', message: 'The adapter two does not fit the model pocket, but other.' },
    ])
    rmSync(sidecar)
    rmSync(path.join(folder, 'other'), { recursive: true })
    writeAdapter(folder, 'two', { seed: 2 })
    await client('DELETE', `${all}/two-ears`)
  })

  it.each([
    ['an unknown adapter', { model: 'none', deployment: 'eyes' }, 404, 'model'],
    ['an unknown deployment', { model: 'one', deployment: 'none' }, 404, 'deployment'],
    ['a deployment of others', { model: 'one', deployment: 'accounts/x/deployments/eyes' }, 400, 'deployment'],
    ['no deployment', { model: 'one' }, 400, 'deployment'],
  ])('refuses %s', async (_, body, status, param) => {
    const refused = await load(body)
    expect([refused.status, refused.body.error.param]).toEqual([status, param])
  })

  it('has a shape for each model, in one version', async () => {
    const where = '/accounts/me/deploymentShapes'
    expect(parsed(shapeList, await client('GET', where)).deploymentShapes.map(({ name }) => name)).toEqual([
      'accounts/me/deploymentShapes/pocket',
    ])
    parsed(deploymentShape, await client('GET', `${where}/pocket`))
    expect(parsed(shapeVersionList, await client('GET', `${where}/pocket/versions`)).totalSize).toBe(1)
    parsed(shapeVersion, await client('GET', `${where}/pocket/versions/1`))
    expect((await client('GET', `${where}/pocket/versions/2`)).status).toBe(404)
    expect((await client('GET', `${where}/none`)).status).toBe(404)
  })

  it('does not remove the files of the built-in model, nor of one that has a deployment', async () => {
    expect((await client('DELETE', '/accounts/me/models/pocket')).body.error.code).toBe('model_deployed')
    expect(await client('DELETE', '/accounts/me/models/two')).toEqual({ status: 200, body: {} })
    expect((await client('GET', '/accounts/me/models/two')).status).toBe(404)
  })

  it.each(['dpoJobs', 'rlorTrainerJobs', 'evaluators', 'secrets', 'batchInferenceJobs/x:cancel'])(
    'says in a sentence that it has no %s',
    async (where) => {
      for (const method of ['GET', 'POST', 'DELETE']) {
        const { status, body } = await client(method, `/accounts/me/${where}`)
        expect([status, body.error.code, body.error.message]).toEqual([
          501,
          'not_here',
          expect.stringMatching(/^[A-Z].*\.$/),
        ])
      }
      expect((await client('GET', '/accounts/me/nothing')).status).toBe(404)
    },
  )
})
