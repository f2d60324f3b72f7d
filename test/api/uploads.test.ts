import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { accountModel, accountModelList } from '../../src/api/control/models.ts'
import { downloadEndpoint, uploadEndpoint, uploadValidation } from '../../src/api/control/uploads.ts'
import { orielServe } from '../support/cli.ts'
import { dataUrl, shape } from '../support/images.ts'
import { inputs, shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-uploads-'))
const models = path.join(folder, 'models')
const uploads = path.join(models, '.uploads')
const inRepo = (file: string): Buffer => readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)))
const pocket = {
  'tiny.gguf': inRepo('models/pocket/pocket.gguf'),
  'mmproj-tiny.gguf': inRepo('models/pocket/mmproj-pocket.gguf'),
}
const upper = {
  'adapter_config.json': inRepo('test/pocket/adapters/upper/adapter_config.json'),
  'adapter_model.safetensors': inRepo('test/pocket/adapters/upper/adapter_model.safetensors'),
}
let server: TestServer

beforeAll(async () => {
  vi.stubEnv('XDG_CACHE_HOME', path.join(folder, 'cache'))
  server = await startServer({ models: { dirs: [models] } })
})
afterAll(async () => {
  await server.close()
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})
afterEach(() => vi.useRealTimers())

interface Answered {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: the schemas of the API check what is read of it.
  body: any
}

const all = '/accounts/acme/models'
async function call(
  method: string,
  where: string,
  body?: unknown,
  { url }: { url: string } = server,
): Promise<Answered> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${url}/v1${where}`, {
    ...{ method, headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: await response.json() }
}
const codeOf = async (answered: Promise<Answered>): Promise<string> => (await answered).body.error.code

type Files = Readonly<Record<string, Uint8Array>>
const create = (modelId: string, model: object = {}, query = '') => call('POST', `${all}${query}`, { modelId, model })
const announce = (id: string, filenameToSize: Record<string, unknown>, account = 'acme') =>
  call('POST', `/accounts/${account}/models/${id}:getUploadEndpoint`, { filenameToSize })
async function urlsFor(id: string, files: Files): Promise<Record<string, string>> {
  const sizes = Object.entries(files).map(([name, bytes]) => [name, String(bytes.length)])
  return uploadEndpoint.parse((await announce(id, Object.fromEntries(sizes))).body).filenameToSignedUrls
}
async function put(
  url: string | undefined,
  bytes: Uint8Array,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const response = await fetch(url ?? '', { method: 'PUT', body: new Uint8Array(bytes), headers })
  return { status: response.status, body: await response.json() }
}
async function send(id: string, files: Files): Promise<void> {
  const urls = await urlsFor(id, files)
  for (const [name, bytes] of Object.entries(files))
    expect(await put(urls[name], bytes)).toEqual({ status: 200, body: {} })
}
const validate = (id: string) => call('GET', `${all}/${id}:validateUpload`)
const remove = (id: string) => call('DELETE', `${all}/${id}`)
const stateOf = async (id: string): Promise<string> =>
  accountModel.parse((await call('GET', `${all}/${id}`)).body).state

/** What a model says of a red square. */
async function said(model: string): Promise<string> {
  const image = { type: 'image_url', image_url: { url: dataUrl(await shape('red', 'square')) } }
  const messages = [{ role: 'user', content: [image, { type: 'text', text: 'What color is the square?' }] }]
  const { body } = await call('POST', '/chat/completions', { model, messages, temperature: 0 })
  return body.choices[0].message.content
}
const leftovers = (): string[] => [
  ...readdirSync(uploads),
  ...(existsSync(path.join(uploads, '.arriving')) ? readdirSync(path.join(uploads, '.arriving')) : []),
]

describe('an upload', () => {
  it('of a model makes a model that answers at once, comes back the same, and goes when it is deleted', async () => {
    const begun = await create('tiny', { kind: 'HF_BASE_MODEL' })
    expect(accountModel.parse(begun.body)).toMatchObject({ name: 'accounts/acme/models/tiny', state: 'UPLOADING' })
    await send('tiny', pocket)
    expect(await stateOf('tiny')).toBe('UPLOADING')
    const early = { model: 'tiny', messages: [{ role: 'user', content: 'Hello' }] }
    expect(await codeOf(call('POST', '/chat/completions', early))).toBe('model_not_found')
    expect(uploadValidation.parse((await validate('tiny')).body)).toEqual({ warnings: [] })
    expect(await stateOf('tiny')).toBe('READY')
    expect(await said('accounts/acme/models/tiny')).toBe('The square is red.')
    expect(leftovers()).toEqual(['.arriving'])
    // Again, it is the same one.
    expect((await validate('tiny')).status).toBe(200)
    expect(await codeOf(create('tiny'))).toBe('model_exists')
    const { filenameToSignedUrls: urls } = downloadEndpoint.parse(
      (await call('GET', `${all}/tiny:getDownloadEndpoint`)).body,
    )
    expect(Object.keys(urls).sort()).toEqual(Object.keys(pocket).sort())
    for (const [name, bytes] of Object.entries(pocket)) {
      const response = await fetch(urls[name] ?? '')
      expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true)
    }
    expect(await codeOf(remove('tiny'))).toBe('model_in_memory')
    await fetch(`${server.url}/admin/models/tiny`, { method: 'DELETE' })
    await vi.waitFor(async () => expect((await remove('tiny')).status).toBe(200), patient)
    expect(existsSync(path.join(models, 'tiny'))).toBe(false)
  })

  it('of an adapter in the format of PEFT makes an adapter of its model', async () => {
    const peftDetails = { baseModel: 'accounts/acme/models/pocket', r: 8, targetModules: ['q_proj'] }
    await create('loud', { kind: 'HF_PEFT_ADDON', peftDetails })
    await send('loud', { ...upper, 'README.md': Buffer.from('# Loud') })
    expect(await validate('loud')).toEqual({ status: 200, body: { warnings: [] } })
    expect((await call('GET', `${all}/loud`)).body).toMatchObject({
      ...{ kind: 'HF_PEFT_ADDON', state: 'READY' },
      peftDetails: { baseModel: 'accounts/acme/models/pocket' },
    })
    expect(await said('accounts/acme/models/loud')).toBe('RED')
    expect((await remove('loud')).status).toBe(200)
    expect((await call('GET', `${all}/loud`)).status).toBe(404)
    expect(readdirSync(path.join(models, 'adapters'))).toEqual([])
  })

  it('says why files cannot be used, and takes better ones', async () => {
    await create('broken')
    expect((await validate('broken')).body.error).toMatchObject({ code: 'upload_incomplete' })
    const config = Buffer.from('{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "use_dora": true}')
    await send('broken', { ...upper, 'adapter_config.json': config })
    const refused = await validate('broken')
    expect([refused.status, refused.body.error.message]).toEqual([412, expect.stringContaining('DoRA')])
    expect((await call('GET', `${all}/broken`)).body).toMatchObject({
      state: 'UPLOADING',
      status: { code: 'FAILED_PRECONDITION', message: refused.body.error.message },
    })
    await send('broken', upper)
    expect((await validate('broken')).status).toBe(200)
    expect((await remove('broken')).status).toBe(200)
  })

  it.each([
    ['a decoder that is cut', { 'a.gguf': pocket['tiny.gguf'].subarray(0, 100_000) }, /a\.gguf/],
    ['no GGUF in it', { 'a.gguf': Buffer.from('nothing') }, /a\.gguf/],
    ['an encoder only', { 'mmproj-a.gguf': pocket['mmproj-tiny.gguf'] }, /no decoder/],
    ['two decoders', { 'a.gguf': pocket['tiny.gguf'], 'b.gguf': pocket['tiny.gguf'] }, /2 decoders/],
    ['one part of three', { 'a-00001-of-00003.gguf': pocket['tiny.gguf'] }, /parts are complete/],
  ] as const)('with %s is no model', async (_, files, reason) => {
    await create('wrong', { kind: 'HF_BASE_MODEL' })
    await send('wrong', files as unknown as Files)
    const { status, body } = await validate('wrong')
    expect([status, body.error.message]).toEqual([412, expect.stringMatching(reason)])
    expect(body.error.message).not.toContain(folder)
    expect((await remove('wrong')).status).toBe(200)
    expect(existsSync(path.join(models, 'wrong'))).toBe(false)
  })

  it('is listed for its account only, and only checked with validateOnly', async () => {
    expect((await create('maybe', {}, '?validateOnly=true')).status).toBe(200)
    expect((await call('GET', `${all}/maybe`)).status).toBe(404)
    await create('mine')
    const namesIn = async (account: string): Promise<string[]> =>
      accountModelList.parse((await call('GET', `/accounts/${account}/models`)).body).models.map(({ name }) => name)
    expect(await namesIn('acme')).toContain('accounts/acme/models/mine')
    expect(await namesIn('other')).not.toContain('accounts/other/models/mine')
    expect(await codeOf(announce('mine', { 'a.gguf': 1 }, 'other'))).toBe('upload_not_found')
    expect((await call('DELETE', '/accounts/other/models/mine')).status).toBe(404)
    expect(await codeOf(create('mine'))).toBe('model_exists')
    await remove('mine')
  })
})

describe('what is not allowed of an upload', () => {
  beforeAll(() => create('target'))
  afterAll(() => remove('target'))

  it.each(['', '.', '..', '../up', 'a/b', 'A', 'x'.repeat(64), 'a.gguf', 'adapters', 'con', 'nul.x', 'ä', 'a\u0000'])(
    'is the model name %j',
    async (name) => {
      expect(await create(name)).toMatchObject({ status: 400, body: { error: { param: 'modelId' } } })
    },
  )
  it.each(['pocket', 'smolvlm-500m'])('is the name %s, which a model has', async (name) => {
    expect(await codeOf(create(name))).toBe('model_exists')
  })

  it.each([
    ['../../etc/passwd', 1],
    ['a/b.gguf', 1],
    ['a\\b', 1],
    ['.hidden', 1],
    ['', 1],
    ['__proto__', 1],
    ['NUL', 1],
    ['x'.repeat(300), 1],
    ['oriel.json', 1],
    ['a', -1],
    ['a', 1.5],
    ['a', '1e3'],
    ['a', 1e15],
  ])('is the file %j of %j bytes', async (name, size) => {
    const sizes = JSON.parse(`{${JSON.stringify(name)}: ${JSON.stringify(size)}}`)
    expect((await announce('target', sizes)).status).toBe(400)
  })

  it('is more than 200 files, none, two that are one on some systems, and more than the disk has', async () => {
    expect((await announce('target', {})).status).toBe(400)
    const many = Array.from({ length: 201 }, (_, at) => [`file-${at}`, 1])
    expect((await announce('target', Object.fromEntries(many))).status).toBe(400)
    expect((await announce('target', { 'a.txt': 1, 'A.txt': 1 })).status).toBe(400)
    expect(await codeOf(announce('target', { huge: '9999999999999' }))).toBe('no_space')
  })

  it('is another number of bytes than was announced', async () => {
    const { file } = await urlsFor('target', { file: Buffer.alloc(1000) })
    expect(await codeOf(put(file, Buffer.alloc(999)))).toBe('wrong_size')
    expect(await codeOf(put(file, Buffer.alloc(1001)))).toBe('wrong_size')
    for (const bytes of [999, 1001]) {
      const stream = new Blob([new Uint8Array(bytes)]).stream()
      const response = await fetch(file ?? '', { method: 'PUT', body: stream, duplex: 'half' } as RequestInit)
      expect(((await response.json()) as Answered['body']).error.code).toBe('wrong_size')
    }
    expect(leftovers()).toEqual(['.arriving', 'target'])
    expect((await put(file, Buffer.alloc(1000), { 'content-type': 'application/json' })).status).toBe(200)
  })

  it('is a URL that was changed, has expired, is for another purpose, or for an upload that was deleted', async () => {
    await create('gone')
    const { file = '' } = await urlsFor('gone', { file: Buffer.alloc(10) })
    const ten = Buffer.alloc(10)
    for (const url of [
      file.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
      file.replace('ticket=', 'ticket=e'),
      file.split('?')[0],
    ])
      expect(await codeOf(put(url, ten))).toBe('bad_signature')
    expect(((await (await fetch(file)).json()) as Answered['body']).error.code).toBe('bad_signature')
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 13 * 3_600_000 })
    expect(await codeOf(put(file, ten))).toBe('expired_url')
    vi.useRealTimers()
    await remove('gone')
    expect(await codeOf(put(file, ten))).toBe('upload_not_found')
    // One of the same name is another one.
    await create('gone')
    await urlsFor('gone', { file: ten })
    expect(await codeOf(put(file, ten))).toBe('upload_not_found')
    await remove('gone')
  })

  it('is one file from two clients at a time, a check while it comes; a client that leaves leaves nothing', async () => {
    const { slow = '' } = await urlsFor('target', { slow: Buffer.alloc(1_000_000) })
    const { hostname, port, pathname, search } = new URL(slow)
    const socket = connect({ port: Number(port), host: hostname })
    socket.write(
      `PUT ${pathname}${search} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-length: 1000000\r\n\r\n${'x'.repeat(70_000)}`,
    )
    await vi.waitFor(() => expect(leftovers()).toHaveLength(3), patient)
    expect(await codeOf(put(slow, Buffer.alloc(1_000_000)))).toBe('upload_running')
    expect(await codeOf(validate('target'))).toBe('upload_incomplete')
    socket.destroy()
    await vi.waitFor(() => expect(leftovers()).toEqual(['.arriving', 'target']), patient)
    expect((await put(slow, Buffer.alloc(1_000_000))).status).toBe(200)
  })

  it.skipIf(shortRun)('is a body without end: it is refused as soon as it is too long', async () => {
    const { short = '' } = await urlsFor('target', { short: Buffer.alloc(100) })
    const { hostname, port, pathname, search } = new URL(short)
    const socket = connect({ port: Number(port), host: hostname })
    let answer = ''
    socket.setEncoding('utf8').on('data', (text) => {
      answer += text
    })
    socket.on('error', () => {})
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write(`PUT ${pathname}${search} HTTP/1.1\r\nhost: ${hostname}\r\ntransfer-encoding: chunked\r\n\r\n`)
    const chunk = `${(64).toString(16)}\r\n${'x'.repeat(64)}\r\n`
    const timer = setInterval(() => socket.write(chunk), 5)
    await vi.waitFor(() => expect(answer).toContain('wrong_size'), patient)
    await closed
    clearInterval(timer)
    expect(leftovers()).toEqual(['.arriving', 'target'])
  })

  it('are thousands that are never sent: each account has 20, and others their own', async () => {
    const count = inputs(60, 2000)
    const statuses = new Map<number, number>()
    const create20 = async (from: number): Promise<void> => {
      const all = Array.from({ length: 20 }, (_, at) =>
        call('POST', '/accounts/flood/models', { modelId: `flood-${from + at}` }),
      )
      for (const { status } of await Promise.all(all)) statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
    await call('POST', '/accounts/flood/models', { modelId: 'first' })
    for (let from = 0; from < count; from += 20) await create20(from)
    expect([...statuses].sort()).toEqual([
      [200, 19],
      [412, count - 19],
    ])
    expect((await create('other')).status).toBe(200)
    await remove('other')
    const { models } = accountModelList.parse((await call('GET', '/accounts/flood/models')).body)
    for (const { name, state } of models) if (state === 'UPLOADING') await call('DELETE', `/${name}`)
    expect(leftovers()).toEqual(['.arriving', 'target'])
  })
})

describe('a server that is killed while files arrive', () => {
  it.skipIf(shortRun)('leaves an upload that goes on, and nothing of the file that was cut', async () => {
    const home = mkdtempSync(path.join(tmpdir(), 'oriel-killed-'))
    const serve = () => orielServe([], { ORIEL_MODELS_DIR: home, ORIEL_DATA_DIR: path.join(home, 'data') })
    const sizes = Object.fromEntries(Object.entries(upper).map(([name, bytes]) => [name, bytes.length]))
    const urlsAt = async (at: { url: string }) =>
      (await call('POST', `${all}/loud:getUploadEndpoint`, { filenameToSize: sizes }, at)).body.filenameToSignedUrls
    const arriving = (): string[] => readdirSync(path.join(home, '.uploads', '.arriving'))

    const first = await serve()
    await call('POST', all, { modelId: 'loud' }, first)
    const urls = await urlsAt(first)
    expect((await put(urls['adapter_config.json'], upper['adapter_config.json'])).status).toBe(200)
    const { hostname, port, pathname, search } = new URL(urls['adapter_model.safetensors'])
    const socket = connect({ port: Number(port), host: hostname }).on('error', () => {})
    const length = sizes['adapter_model.safetensors']
    socket.write(`PUT ${pathname}${search} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-length: ${length}\r\n\r\nbegun`)
    await vi.waitFor(() => expect(arriving()).toHaveLength(1), patient)
    first.child.kill('SIGKILL')

    const second = await serve()
    expect((await call('GET', `${all}/loud`, undefined, second)).body.state).toBe('UPLOADING')
    expect(await codeOf(call('GET', `${all}/loud:validateUpload`, undefined, second))).toBe('upload_incomplete')
    await vi.waitFor(() => expect(arriving()).toEqual([]), patient)
    const old = urls['adapter_model.safetensors'].replace(first.url, second.url)
    expect(await codeOf(put(old, upper['adapter_model.safetensors']))).toBe('bad_signature')
    const again = (await urlsAt(second))['adapter_model.safetensors']
    expect((await put(again, upper['adapter_model.safetensors'])).status).toBe(200)
    expect((await call('GET', `${all}/loud:validateUpload`, undefined, second)).status).toBe(200)
    expect((await call('GET', `${all}/loud`, undefined, second)).body.state).toBe('READY')
    second.child.kill('SIGKILL')
    rmSync(home, { recursive: true, maxRetries: 10, retryDelay: 100 })
  })
})
