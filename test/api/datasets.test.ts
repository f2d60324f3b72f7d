import { request as httpRequest } from 'node:http'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dataset, datasetList } from '../../src/api/control/datasets.ts'
import { downloadEndpoint, uploadEndpoint } from '../../src/api/control/uploads.ts'
import { deletedFile, file, fileList } from '../../src/api/files/files.ts'
import { uploadedFile } from '../../src/api/files/uploaded-file.ts'
import { jsonl, pictureExample, textExample } from '../support/examples.ts'
import { shape } from '../support/images.ts'
import { administrator, type KeyedServer, startKeyed } from '../support/keyed.ts'

interface Answered {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: the schemas of the API check what is read of it.
  body: any
}

let server: KeyedServer
let secret: string
let other: string
let text: string

beforeAll(async () => {
  server = await startKeyed()
  secret = (await server.keyOf({ account: 'acme' })).secret
  other = (await server.keyOf({ account: 'other' })).secret
  text = jsonl(await Promise.all([1, 2, 3, 4].map(async (at) => pictureExample(await shape('red'), `${at}?`, 'Red.'))))
})
afterAll(() => server.close())

async function call(method: string, where: string, body?: unknown, key = secret): Promise<Answered> {
  const isForm = body instanceof FormData
  const response = await fetch(`${server.url}/v1${where}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(!isForm && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: isForm ? body : JSON.stringify(body) }),
  })
  const answer = await response.text()
  return { status: response.status, headers: response.headers, body: answer === '' ? {} : JSON.parse(answer) }
}
const form = (content: string, fields: Record<string, string> = {}, name = 'data.jsonl'): FormData => {
  const data = new FormData()
  // The file first: what comes after it is read, too.
  data.append('file', new Blob([content]), name)
  for (const [field, value] of Object.entries(fields)) data.append(field, value)
  return data
}
const all = '/accounts/acme/datasets'
const create = (datasetId: string, more: object = {}) =>
  call('POST', all, { datasetId, dataset: { userUploaded: {}, ...more } })

describe('datasets of Fireworks’ control plane', () => {
  it('are created, sent as a form, ready, shown, renamed and deleted', async () => {
    const begun = await create('shapes', { displayName: 'Shapes', format: 'CHAT' })
    expect(dataset.parse(begun.body)).toMatchObject({
      name: 'accounts/acme/datasets/shapes',
      displayName: 'Shapes',
      state: 'UPLOADING',
    })
    expect((await create('shapes')).body.error).toMatchObject({
      code: 'dataset_exists',
      message: 'There is a dataset shapes already.',
    })
    const sent = await call('POST', `${all}/shapes:upload`, form(text))
    expect(uploadedFile.parse(sent.body)).toMatchObject({ id: 'shapes', bytes: text.length, filename: 'data.jsonl' })
    const shown = dataset.parse((await call('GET', `${all}/shapes`)).body)
    expect(shown).toMatchObject({
      state: 'READY',
      exampleCount: '4',
      averageTurnCount: 2,
      status: { code: 'OK' },
      report: { images: 4, distinctImages: 1, duplicates: 0 },
    })
    expect(dataset.parse((await call('PATCH', `${all}/shapes`, { displayName: 'New' })).body).displayName).toBe('New')
    expect((await call('GET', `${all}/shapes?readMask=state`)).body).toEqual({ state: 'READY' })
    expect((await call('DELETE', `${all}/shapes`)).body).toEqual({})
    expect((await call('GET', `${all}/shapes`)).body.error).toMatchObject({ code: 'dataset_not_found' })
  })

  it('come by a signed URL, and go by one', async () => {
    await create('signed')
    const endpoint = await call('POST', `${all}/signed:getUploadEndpoint`, {
      filenameToSize: { 'a b.jsonl': String(text.length) },
    })
    const { filenameToSignedUrls } = uploadEndpoint.parse(endpoint.body)
    const url = filenameToSignedUrls['a b.jsonl'] ?? ''
    expect((await call('POST', `${all}/signed:validateUpload`, {})).body.error.code).toBe('upload_incomplete')
    expect((await fetch(url, { method: 'PUT', body: 'short' })).status).toBe(400)
    expect((await fetch(`${url}x`, { method: 'PUT', body: text })).status).toBe(403)
    expect((await fetch(url, { method: 'PUT', body: text })).status).toBe(200)
    expect((await call('POST', `${all}/signed:validateUpload`, {})).body).toEqual({})
    expect((await call('GET', `${all}/signed`)).body.state).toBe('READY')
    // It is complete: nobody changes what jobs have learned from.
    expect((await fetch(url, { method: 'PUT', body: text })).status).toBe(409)
    const { filenameToSignedUrls: urls } = downloadEndpoint.parse(
      (await call('GET', `${all}/signed:getDownloadEndpoint`)).body,
    )
    const back = await fetch(urls['a b.jsonl'] ?? '')
    expect(await back.text()).toBe(text)
    await call('DELETE', `${all}/signed`)
    // Another dataset of this name is not the one that was signed.
    await create('signed')
    expect((await fetch(url, { method: 'PUT', body: text })).status).toBe(404)
    await call('DELETE', `${all}/signed`)
  })

  it('whose lines cannot be used say which, and may be sent again', async () => {
    await create('wrong')
    const bad = jsonl([textExample('a'), { messages: [{ role: 'user', content: 'x' }] }, textExample('b')])
    const message =
      'The dataset wrong cannot be used. line 2: messages[0].role is user; the last message must be of the assistant, which is learned.'
    const sent = await call('POST', `${all}/wrong:upload`, form(bad))
    expect([sent.status, sent.body.error.code, sent.body.error.message]).toEqual([400, 'invalid_dataset', message])
    expect(dataset.parse((await call('GET', `${all}/wrong`)).body)).toMatchObject({
      state: 'UPLOADING',
      status: { code: 'INVALID_ARGUMENT' },
      problems: [{ line: 2 }],
    })
    expect((await call('POST', `${all}/wrong:validateUpload`, {})).body.error.message).toBe(message)
    expect((await call('POST', `${all}/wrong:upload`, form(text))).status).toBe(200)
    expect((await call('GET', `${all}/wrong`)).body.problems).toEqual([])
    await call('DELETE', `${all}/wrong`)
  })

  it('are listed by pages and filters, each account its own, an administrator all', async () => {
    for (const id of ['one', 'two']) await create(id)
    await call('POST', '/accounts/other/datasets', { datasetId: 'one' }, other)
    const names = async (query: string, key = secret): Promise<string[]> =>
      datasetList.parse((await call('GET', query, undefined, key)).body).datasets.map(({ name }) => name)
    expect(await names(all)).toEqual(['accounts/acme/datasets/one', 'accounts/acme/datasets/two'])
    expect(await names(`${all}?pageSize=1&pageToken=1`)).toEqual(['accounts/acme/datasets/two'])
    expect(await names(`${all}?filter=${encodeURIComponent('name:two AND state=UPLOADING')}`)).toEqual([
      'accounts/acme/datasets/two',
    ])
    expect(await names('/accounts/-/datasets')).toHaveLength(2)
    expect(await names('/accounts/-/datasets', administrator)).toHaveLength(3)
    expect((await call('GET', all, undefined, other)).body.error.code).toBe('other_account')
    expect((await call('POST', all, { datasetId: 'x' }, other)).body.error.code).toBe('other_account')
    for (const id of ['one', 'two']) await call('DELETE', `${all}/${id}`)
    await call('DELETE', '/accounts/other/datasets/one', undefined, other)
  })

  it('refuse what means nothing here, by its name', async () => {
    const code = async (answered: Promise<Answered>): Promise<unknown[]> => {
      const { status, body } = await answered
      return [status, body.error.code, body.error.param]
    }
    expect(await code(create('Bad_Id'))).toEqual([400, 'bad_dataset_id', 'datasetId'])
    expect(await code(create('a', { format: 'RL' }))).toEqual([400, 'not_here', 'dataset.format'])
    expect(await code(create('a', { externalUrl: 'gs://x' }))).toEqual([400, 'not_here', 'dataset.externalUrl'])
    expect(await code(call('POST', all, {}))).toEqual([400, 'invalid_value', 'datasetId'])
    await create('a')
    expect(await code(call('POST', `${all}/a:getUploadEndpoint`, { filenameToSize: { a: 1, b: 2 } }))).toEqual([
      400,
      'invalid_value',
      'filenameToSize',
    ])
    expect((await call('POST', `${all}/a:getUploadEndpoint`, { filenameToSize: { '\ud800.jsonl': 1 } })).status).toBe(
      400,
    )
    expect(await code(call('POST', `${all}/a:getUploadEndpoint`, { filenameToSize: { '../a': 1 } }))).toEqual([
      400,
      'invalid_value',
      'file',
    ])
    expect(await code(call('POST', `${all}/a:upload`, { file: 'a' }))).toEqual([415, 'unsupported_content_type', null])
    const without = new FormData()
    without.append('other', 'x')
    expect(await code(call('POST', `${all}/a:upload`, without))).toEqual([400, 'invalid_form', null])
    const wordy = await call('POST', `${all}/a:upload`, form(text, { note: 'n'.repeat(10_001) }))
    expect(wordy).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('a field has more than 10000 bytes') } },
    })
    const fields = Object.fromEntries(Array.from({ length: 21 }, (_, at) => [`field${at}`, 'x']))
    const many = await call('POST', `${all}/a:upload`, form(text, fields))
    expect(many).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('has more than 21 parts') } },
    })
    const notes = await create('b', { splitted: {}, userUploaded: {} })
    expect(notes.headers.get('x-oriel-ignored-parameters')).toBe('dataset.splitted')
    await call('DELETE', `${all}/b`)
    await call('DELETE', `${all}/a`)
  })
})

describe('OpenAI’s files', () => {
  const client = () => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: secret, maxRetries: 0 })

  it('are datasets by another door, with OpenAI’s own client', async () => {
    const { files } = client()
    const sent = await files.create({ file: await toFile(Buffer.from(text), 'mine.jsonl'), purpose: 'fine-tune' })
    expect(file.parse(sent)).toMatchObject({ filename: 'mine.jsonl', bytes: text.length, status: 'processed' })
    expect(await files.retrieve(sent.id)).toEqual(sent)
    expect(await files.waitForProcessing(sent.id)).toEqual(sent)
    const second = await files.create({ file: await toFile(Buffer.from(text), 'b.jsonl'), purpose: 'fine-tune' })
    const ids: string[] = []
    for await (const one of files.list({ limit: 1 })) ids.push(one.id)
    expect(ids).toEqual([second.id, sent.id])
    fileList.parse((await call('GET', '/files?order=asc')).body)
    expect((await files.list({ purpose: 'batch' })).data).toEqual([])
    expect(await (await files.content(sent.id)).text()).toBe(text)
    expect(dataset.parse((await call('GET', `${all}/${sent.id}`)).body)).toMatchObject({
      displayName: 'mine.jsonl',
      exampleCount: '4',
    })
    await expect(
      new OpenAI({ baseURL: `${server.url}/v1`, apiKey: other, maxRetries: 0 }).files.retrieve(sent.id),
    ).rejects.toThrow('There is no file')
    for (const { id } of [sent, second])
      expect(deletedFile.parse(await files.delete(id))).toEqual({ id, object: 'file', deleted: true })
    await expect(files.retrieve(sent.id)).rejects.toThrow('There is no file')
  })

  it('that cannot be used are refused, and nothing of them stays', async () => {
    const code = async (body: FormData): Promise<string> => (await call('POST', '/files', body)).body.error.code
    expect(await code(form('nonsense', { purpose: 'fine-tune' }))).toBe('invalid_dataset')
    expect(await code(form(text, { purpose: 'batch' }))).toBe('invalid_value')
    expect(await code(form(text))).toBe('invalid_value')
    expect((await call('GET', '/files')).body.data).toEqual([])
    expect((await call('GET', all)).body.datasets).toEqual([])
  })

  it('whose client leaves are forgotten', async () => {
    await new Promise<void>((resolve) => {
      const sending = httpRequest(`${server.url}/v1/files`, {
        method: 'POST',
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'multipart/form-data; boundary=x' },
      })
      sending.on('error', () => resolve())
      sending.write('--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n{"messages"')
      setTimeout(() => sending.destroy(new Error('gone')), 100)
    })
    await expect.poll(async () => (await call('GET', all)).body.datasets).toEqual([])
  })
})
