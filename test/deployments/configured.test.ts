import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { deployment, deploymentList } from '../../src/api/control/deployments.ts'
import { writeAdapter } from '../support/adapters.ts'
import { childrenRunning } from '../support/children.ts'
import { orielServe } from '../support/cli.ts'
import { dataUrl, shape } from '../support/images.ts'
import { type KeyedServer, startKeyed } from '../support/keyed.ts'
import { shortRun } from '../support/long.ts'
import { pocketFolder } from '../support/pocket.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

interface Answered {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: the schemas of the API check what is read of it.
  body: any
}

/** Sends requests to the deployments of an account. */
function clientOf(url: string, account: string, headers: Record<string, string> = {}) {
  const send = async (method: string, where: string, body?: unknown): Promise<Answered> => {
    const response = await fetch(`${url}${where}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return { status: response.status, headers: response.headers, body: await response.json() }
  }
  const base = `/v1/accounts/${account}/deployments`
  const show = async (id: string) => deployment.parse((await send('GET', `${base}/${id}`)).body)
  return {
    send,
    base,
    show,
    create: (id: string, body: object = {}) =>
      send('POST', `${base}?deploymentId=${id}`, { baseModel: 'pocket', ...body }),
    change: (id: string, body: object) => send('PATCH', `${base}/${id}`, body),
    scale: (id: string, replicaCount: number) => send('PATCH', `${base}/${id}:scale`, { replicaCount }),
    remove: (id: string, query = '') => send('DELETE', `${base}/${id}${query}`),
    ask: (model: string, content: unknown = 'Hi', more: object = {}) =>
      send('POST', '/v1/chat/completions', { model, max_tokens: 4, messages: [{ role: 'user', content }], ...more }),
    /** Waits until a deployment has so many replicas, and so many only. */
    has: (id: string, ready: number) =>
      vi.waitFor(async () => {
        const { state, replicaStats, desiredReplicaCount } = await show(id)
        expect([state, replicaStats.readyReplicaCount, desiredReplicaCount]).toEqual(['READY', ready, ready])
      }, patient),
  }
}

describe('a deployment', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-deployed-'))
  let server: TestServer
  let client: ReturnType<typeof clientOf>
  beforeAll(async () => {
    writeAdapter(folder, 'upper', { seed: 1 })
    server = await startServer({ models: { dirs: [folder] } })
    client = clientOf(server.url, 'acme')
  })
  afterAll(async () => {
    await server.close()
    rmSync(folder, { recursive: true })
  })

  const taken = async (): Promise<number> => (await client.send('GET', '/health')).body.memory.taken_bytes

  it('is created, loaded and asked by each of its names, and by that of its model', async () => {
    const draft = await client.send('POST', `${client.base}?deploymentId=eyes&validateOnly=true`, {
      baseModel: 'pocket',
    })
    expect(deployment.parse(draft.body)).toMatchObject({ state: 'CREATING', desiredReplicaCount: 1 })
    expect((await client.send('GET', client.base)).body.totalSize).toBe(0)

    const made = await client.create('eyes', { displayName: 'Eyes', acceleratorType: 'NVIDIA_H100_80GB' })
    expect(made.headers.get('x-oriel-ignored-parameters')).toBe('acceleratorType')
    expect(deployment.parse(made.body)).toMatchObject({ name: 'accounts/acme/deployments/eyes', displayName: 'Eyes' })
    await client.has('eyes', 1)
    // It answers for its model, which is not in memory twice.
    await vi.waitFor(() => expect(server.engines().length).toBe(1), patient)
    for (const name of [
      'accounts/acme/deployments/eyes',
      'pocket#eyes',
      'accounts/fireworks/models/pocket#accounts/acme/deployments/eyes',
      'pocket',
    ]) {
      const { status, body, headers } = await client.ask(name)
      expect([status, body.model, headers.get('x-oriel-cold-start')]).toEqual([200, name, null])
    }
    expect(server.engines().length).toBe(1)
    for (const name of ['pocket#nose', 'accounts/other/deployments/eyes', 'pocket#accounts/other/deployments/eyes'])
      expect((await client.ask(name)).body.error.code).toBe('deployment_not_found')
    const { status, body } = await client.create('eyes')
    expect([status, body.error.code]).toEqual([409, 'deployment_exists'])
  })

  it('without replicas has given its memory back, and the next request waits for one', async () => {
    const before = await taken()
    expect((await client.scale('eyes', 0)).status).toBe(200)
    await client.has('eyes', 0)
    await vi.waitFor(async () => expect(await taken()).toBe(0), patient)
    expect(server.engines()).toEqual([])

    const asked = Promise.all([client.ask('pocket#eyes'), client.ask('accounts/acme/deployments/eyes')])
    const engine = await server.halted()
    // Both requests are there before it goes on: this one came after them.
    await client.ask('pocket#nobody')
    engine.goOn()
    const [first, second] = await asked
    for (const { status, headers } of [first, second]) {
      expect(status).toBe(200)
      expect(Number(headers.get('x-oriel-cold-start'))).toBeGreaterThan(0)
    }
    expect(await taken()).toBe(before)
    await client.has('eyes', 1)
    expect((await client.ask('pocket#eyes')).headers.get('x-oriel-cold-start')).toBeNull()
  })

  it.skipIf(shortRun)('loses its replicas when no request came for its window', async () => {
    const window = { autoscalingPolicy: { scaleToZeroWindow: '1s' } }
    expect((await client.change('eyes', window)).body.autoscalingPolicy.scaleToZeroWindow).toBe('1s')
    await client.has('eyes', 0)
    await vi.waitFor(async () => expect(await taken()).toBe(0), patient)
    await client.change('eyes', { autoscalingPolicy: { scaleToZeroWindow: '1h' } })
  })

  it('has two engines, and gives a question about an image to the one that has seen it', async () => {
    expect((await client.scale('eyes', 2)).body.error.code).toBe('bad_replica_count')
    await client.change('eyes', { maxReplicaCount: 2 })
    await client.scale('eyes', 2)
    await client.has('eyes', 2)
    expect(server.engines().length).toBe(2)
    const about = async (colour: 'red' | 'blue', text: string) => [
      { type: 'image_url', image_url: { url: dataUrl(await shape(colour)) } },
      { type: 'text', text },
    ]
    const asked = async (colour: 'red' | 'blue', text: string): Promise<boolean> => {
      const { body } = await client.ask('pocket#eyes', await about(colour, text), { max_tokens: 24 })
      expect(body.choices[0].message.content).toContain(colour)
      return body.usage.pictures?.[0]?.cached ?? body.usage.prompt_tokens_details.cached_tokens > 40
    }
    // At once, they go to different ones.
    expect(await Promise.all((['red', 'blue'] as const).map((one) => asked(one, 'What is in this image?')))).toEqual([
      false,
      false,
    ])
    for (const colour of ['red', 'blue', 'red', 'blue'] as const)
      expect(await asked(colour, 'What is in this image?')).toBe(true)
    await client.scale('eyes', 1)
    await client.has('eyes', 1)
    await vi.waitFor(() => expect(server.engines().length).toBe(1), patient)
  })

  it.skipIf(shortRun)('starts a replica under load, and all requests are answered', async () => {
    const policy = { scaleUpWindow: '0s', loadTargets: { concurrent_requests: 1 } }
    await client.change('eyes', { autoscalingPolicy: policy })
    const ends = new AbortController()
    const answers = Array.from({ length: 6 }, async () => {
      do expect((await client.ask('pocket#eyes', 'Tell me of it.', { max_tokens: 60 })).status).toBe(200)
      while (!ends.signal.aborted)
    })
    await vi.waitFor(async () => expect((await client.show('eyes')).replicaCount).toBe(2), patient)
    // While it goes back to one, nobody loses an answer.
    await client.change('eyes', { maxReplicaCount: 1 })
    await vi.waitFor(() => expect(server.engines().length).toBe(1), patient)
    ends.abort()
    await Promise.all(answers)
  })

  it('that is deleted is not asked any more, and can be restored', async () => {
    const slow = client.ask('pocket#eyes', 'Tell me of it.', { max_tokens: 2000, ignore_eos: true })
    await vi.waitFor(
      async () => expect((await client.send('GET', '/health')).body.engines[0]?.running).toBe(1),
      patient,
    )
    const used = await client.remove('eyes')
    expect([used.status, used.body.error.code]).toEqual([412, 'deployment_in_use'])
    expect((await client.remove('eyes', '?ignoreChecks=true')).body).toEqual({})
    expect((await slow).status).toBe(200)
    await vi.waitFor(async () => expect((await client.show('eyes')).state).toBe('DELETED'), patient)
    expect((await client.ask('pocket#eyes')).status).toBe(404)
    // Its model is loaded on demand again.
    expect((await client.ask('pocket')).status).toBe(200)
    expect((await client.send('GET', client.base)).body.deployments).toEqual([])
    const listed = await client.send('GET', `${client.base}?showDeleted=true`)
    expect(deploymentList.parse(listed.body).deployments[0]?.purgeTime).toBeDefined()

    const restored = await client.send('POST', `${client.base}/eyes:undelete`, {})
    expect(deployment.parse(restored.body).displayName).toBe('Eyes')
    expect((await client.ask('pocket#eyes')).status).toBe(200)
    expect((await client.remove('eyes', '?hard=true&ignoreChecks=true')).status).toBe(200)
    expect((await client.send('GET', `${client.base}/eyes`)).body.error.code).toBe('deployment_not_found')
  })

  it.skipIf(shortRun)('that is made anew while the last one of its name still answers has its own model', async () => {
    mkdirSync(path.join(folder, 'other'))
    copyFileSync(`${pocketFolder}pocket.gguf`, path.join(folder, 'other', 'other.gguf'))
    await client.create('again')
    await client.has('again', 1)
    const slow = client.ask('pocket#again', 'Tell me of it.', { max_tokens: 2000, ignore_eos: true })
    const engines = async () => (await client.send('GET', '/health')).body.engines
    await vi.waitFor(async () => expect((await engines())[0]?.running).toBe(1), patient)
    expect((await client.remove('again', '?hard=true&ignoreChecks=true')).status).toBe(200)
    expect((await client.create('again', { baseModel: 'other' })).status).toBe(200)
    await client.has('again', 1)
    expect(await engines()).toContainEqual(expect.objectContaining({ model: 'other' }))
    expect((await client.ask('other#again')).status).toBe(200)
    expect((await slow).status).toBe(200)
    expect((await client.remove('again', '?hard=true')).status).toBe(200)
    rmSync(path.join(folder, 'other'), { recursive: true })
  })

  it('is listed in pages, filtered and ordered', async () => {
    for (const [id, maxReplicaCount] of [
      ['a', 0],
      ['b', 3],
      ['c', 2],
    ] as const)
      await client.create(id, { maxReplicaCount, disableAutoDeploy: true })
    for (const id of ['b', 'c']) await client.scale(id, 0)
    const ids = async (query: string): Promise<string[]> => {
      const { body } = await client.send('GET', `${client.base}?${new URLSearchParams(query)}`)
      return body.deployments.map(({ name }: { name: string }) => name.split('/').at(-1))
    }
    expect(await ids('')).toEqual(['a', 'b', 'c'])
    const first = await client.send('GET', `${client.base}?pageSize=2`)
    expect([first.body.deployments.length, first.body.totalSize]).toEqual([2, 3])
    expect(await ids(`pageSize=2&pageToken=${first.body.nextPageToken}`)).toEqual(['c'])
    expect(await ids('orderBy=max_replica_count desc')).toEqual(['b', 'c', 'a'])
    expect(await ids('filter=maxReplicaCount > 0 AND name:"/b"')).toEqual(['b'])
    expect(Object.keys((await client.send('GET', `${client.base}/a?readMask=name,state`)).body)).toEqual([
      'name',
      'state',
    ])
    const all = await clientOf(server.url, '-').send('GET', '/v1/accounts/-/deployments')
    expect(all.body.totalSize).toBe(3)
    for (const [query, param] of [
      ['filter=a OR b', 'filter'],
      ['orderBy=a b', 'orderBy'],
      [`orderBy=${Array(11).fill('name').join()}`, 'orderBy'],
      ['pageToken=9', 'pageToken'],
      ['pageSize=x', 'pageSize'],
    ] as const) {
      const { status, body } = await client.send('GET', `${client.base}?${new URLSearchParams(query)}`)
      expect([status, body.error.param]).toEqual([400, param])
    }
  })

  it('answers with an adapter of its model', async () => {
    const text = async (model: string): Promise<string> =>
      (await client.ask(model, 'What shapes are there?', { max_tokens: 24, temperature: 0, ignore_eos: true })).body
        .choices[0].message.content
    expect(await text('upper#b')).toBe(await text('pocket#upper'))
    expect(await text('accounts/acme/models/upper#accounts/acme/deployments/b')).toBe(await text('upper'))
    expect(await text('upper#b')).not.toBe(await text('pocket#b'))
  })

  it('that may have no replicas refuses requests, and its model is loaded on demand', async () => {
    const { status, body } = await client.ask('pocket#a')
    expect([status, body.error.code]).toEqual([412, 'deployment_without_replicas'])
    for (const id of ['a', 'b', 'c']) await client.remove(id, '?hard=true')
    expect((await client.ask('pocket')).status).toBe(200)
  })

  it.each([
    ['unknown model', { baseModel: 'none' }, 404, 'model'],
    ['bounds that cross', { minReplicaCount: 2, maxReplicaCount: 1 }, 400, 'minReplicaCount'],
    ['more replicas than there may be', { maxReplicaCount: 17 }, 400, 'maxReplicaCount'],
    ['more memory than there is', { minReplicaCount: 16 }, 412, 'minReplicaCount'],
    ['no duration', { autoscalingPolicy: { scaleUpWindow: 'soon' } }, 400, 'autoscalingPolicy.scaleUpWindow'],
    [
      'a window that is too long',
      { autoscalingPolicy: { scaleDownWindow: '2h' } },
      400,
      'autoscalingPolicy.scaleDownWindow',
    ],
    ['an unknown target', { autoscalingPolicy: { loadTargets: { joy: 1 } } }, 400, 'autoscalingPolicy.loadTargets'],
    ['no text as its name', { displayName: 5 }, 400, 'displayName'],
  ])('with %s is refused', async (_, body, status, param) => {
    const small = status === 412 ? { deploymentId: 'x', validateOnly: 'true' } : { deploymentId: 'x' }
    const refused = await client.send('POST', `${client.base}?${new URLSearchParams(small)}`, {
      baseModel: 'pocket',
      ...body,
    })
    expect([refused.status, refused.body.error?.param]).toEqual([status, param])
  })

  it('with an id that is none is refused', async () => {
    for (const id of ['Eyes', '-a', 'a'.repeat(64), 'a b']) {
      const { status, body } = await client.send(
        'POST',
        `${client.base}?${new URLSearchParams({ deploymentId: id })}`,
        { baseModel: 'pocket' },
      )
      expect([status, body.error.code]).toEqual([400, 'bad_deployment_id'])
    }
    const { body } = await client.send('POST', client.base, { baseModel: 'pocket', maxReplicaCount: 0 })
    expect(deployment.parse(body).name).toMatch(/^accounts\/acme\/deployments\/[a-z0-9]{8}$/)
  })
})

describe('on a server with keys, a deployment', () => {
  let server: KeyedServer
  beforeAll(async () => {
    server = await startKeyed()
  })
  afterAll(() => server.close())

  const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` })

  it('is for the keys of its account, and is managed by keys of the scope admin', async () => {
    const [own, other] = [await server.keyOf({ account: 'acme' }), await server.keyOf()]
    const admin = await server.keyOf({ account: 'acme', scopes: ['inference', 'admin'] })
    const [mine, theirs] = [own, other].map(({ secret }) => clientOf(server.url, 'acme', bearer(secret)))
    const managing = clientOf(server.url, 'acme', bearer(admin.secret))
    if (mine === undefined || theirs === undefined) throw new Error('there are two clients')
    expect((await mine.create('eyes')).body.error.code).toBe('missing_scope')
    expect((await managing.create('eyes')).status).toBe(200)
    expect((await mine.send('GET', mine.base)).body.totalSize).toBe(1)
    expect((await mine.send('GET', '/v1/accounts/-/deployments')).body.totalSize).toBe(1)
    expect((await mine.ask('pocket#eyes')).status).toBe(200)
    expect((await theirs.send('GET', theirs.base)).body.error.code).toBe('other_account')
    expect((await theirs.send('GET', '/v1/accounts/-/deployments')).body.totalSize).toBe(0)
    expect((await theirs.ask('accounts/acme/deployments/eyes')).body.error.code).toBe('deployment_not_found')
    // The name of the model means a model on demand for them.
    expect((await theirs.ask('pocket')).status).toBe(200)
    expect((await mine.remove('eyes')).body.error.code).toBe('missing_scope')
    expect((await managing.remove('eyes')).status).toBe(200)
  })
})

describe('the deployments of a server that was killed', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-deployments-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const serve = () => orielServe([], { ORIEL_DATA_DIR: folder, ORIEL_LOG_LEVEL: 'error' })

  it.skipIf(shortRun)('are as somebody wanted them, whatever they were doing', async () => {
    const first = await serve()
    const client = clientOf(first.url, 'acme')
    await client.create('ready')
    await client.has('ready', 1)
    await client.create('gone')
    await client.remove('gone', '?ignoreChecks=true')
    await client.create('empty')
    await client.scale('empty', 0)
    // This one is on its way.
    await client.create('loading')
    first.child.kill('SIGKILL')

    const second = await serve()
    const after = clientOf(second.url, 'acme')
    try {
      const { deployments } = deploymentList.parse((await after.send('GET', `${after.base}?showDeleted=true`)).body)
      expect(deployments.map(({ name, desiredReplicaCount }) => [name.split('/').at(-1), desiredReplicaCount])).toEqual(
        [
          ['ready', 1],
          ['gone', 0],
          ['empty', 0],
          ['loading', 1],
        ],
      )
      expect((await after.show('gone')).state).toBe('DELETED')
      await after.has('ready', 1)
      await after.has('loading', 1)
      await after.has('empty', 0)
      for (const id of ['ready', 'loading', 'empty']) expect((await after.ask(`pocket#${id}`)).status).toBe(200)
      const engines = childrenRunning('engine-process', second.pid).length
      expect(engines).toBe(3)
    } finally {
      second.child.kill()
    }
  })
})
