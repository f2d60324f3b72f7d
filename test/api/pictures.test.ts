import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { z } from 'zod'
import type { preview } from '../../src/api/counting/preview.ts'
import type { Usage } from '../../src/api/shapes/usage.ts'
import { needImageArchitecture } from '../../src/encoders/index.ts'
import { plainPdf } from '../media/plain-pdf.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { pocketFolder } from '../support/pocket.ts'
import { serveBackend } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

let made = 0

/** A picture that no other test has sent. */
async function fresh(width: number, height: number): Promise<string> {
  made += 1
  const rgb = Buffer.alloc(width * height * 3, 40 + made)
  return dataUrl(
    await sharp(rgb, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  )
}
const imagePart = (url: string, options: object = {}) => ({ type: 'image_url', image_url: { url, ...options } })
const question = { type: 'text', text: 'What is in this image?' }
const chatOf = (content: readonly object[], more: object = {}) => ({
  ...{ model: 'pocket', temperature: 0, max_tokens: 4, usage: { include: true } },
  ...{ messages: [{ role: 'user', content }], ...more },
})

async function post<T>(path: string, body: object, url = server.url): Promise<T> {
  const response = await postJson(url + path, body)
  const answer = (await response.json()) as T
  expect({ path, status: response.status, answer }).toMatchObject({ path, status: 200 })
  return answer
}

const usageOf = async (body: object, path = '/v1/chat/completions'): Promise<Usage> =>
  (await post<{ usage: Usage }>(path, body)).usage

describe('the pictures in the usage of an answer', () => {
  it('say what was sent, what the model saw, and that it was encoded', async () => {
    const { pictures, prompt_tokens_details: details } = await usageOf(
      chatOf([question, imagePart(await fresh(640, 480))]),
    )
    expect(pictures).toEqual([
      {
        param: 'messages[0].content[1].image_url',
        page: 1,
        width: 640,
        height: 480,
        seen: expect.any(Object),
        tiles: 1,
        tokens: details.images[0],
        cached: null,
        fetch_ms: 0,
        decode_ms: expect.any(Number),
        encode_ms: expect.any(Number),
      },
    ])
    expect(pictures?.[0]?.encode_ms).toBeGreaterThan(0)
    expect(pictures?.[0]?.decode_ms).toBeGreaterThan(0)
  })

  it('say less was seen where the request bounds it, each image by its own bounds first', async () => {
    const [one, other] = [await fresh(640, 480), await fresh(480, 640)]
    const seenOf = async (parts: object[], more: object = {}) =>
      (await usageOf(chatOf([...parts, question], more))).pictures?.map(({ seen, tokens, width }) => ({
        ...{ pixels: seen.width * seen.height, tokens, width },
      })) ?? []
    const [free] = await seenOf([imagePart(one, { detail: 'high' })])
    const most = Math.floor((free?.pixels ?? 0) / 2)
    const [own, all] = await seenOf([imagePart(one, { max_pixels: most }), imagePart(other)], {
      mm_processor_kwargs: { max_pixels: most / 2 },
    })
    expect(own?.pixels).toBeLessThanOrEqual(most)
    expect(own?.pixels).toBeGreaterThan(most / 2)
    expect(all?.pixels).toBeLessThanOrEqual(most / 2)
    const [beside] = await seenOf([{ ...imagePart(one), max_tokens: 20 }])
    expect(beside?.tokens).toBeLessThanOrEqual(20)
    expect(beside).toMatchObject({ width: 640 })
  })

  it('are of a request that is refused if a model needs more tokens than it allows', async () => {
    const response = await postJson(
      `${server.url}/v1/chat/completions`,
      chatOf([question, imagePart(await fresh(640, 480), { max_tokens: 1 })]),
    )
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      error: {
        code: 'image_tokens_exceeded',
        message: expect.stringMatching(/640 x 480 pixels as \d+ tokens at least/),
      },
    })
    const wrong = await postJson(
      `${server.url}/v1/chat/completions`,
      chatOf([question, imagePart(await fresh(8, 8), { max_pixels: 0 })]),
    )
    expect(await wrong.json()).toMatchObject({
      error: { param: 'messages[0].content[1].image_url.max_pixels', code: 'invalid_value' },
    })
  })

  it('say which of them were in a cached prefix, which had cached embeddings, and which were encoded', async () => {
    const [first, second, third] = [await fresh(64, 64), await fresh(64, 64), await fresh(64, 64)]
    const cachedIn = async (...content: object[]) => (await usageOf(chatOf(content))).pictures?.map((one) => one.cached)
    expect(await cachedIn(imagePart(first), imagePart(second), question)).toEqual([null, null])
    expect(await cachedIn(imagePart(first), imagePart(second), question)).toEqual(['prefix', 'prefix'])
    expect(await cachedIn(imagePart(second), imagePart(third), question)).toEqual(['encoder', null])
  })

  it('are encoded once if they are equal', async () => {
    const url = await fresh(64, 64)
    const { pictures } = await usageOf(chatOf([imagePart(url), imagePart(url), question]))
    expect(pictures?.map(({ cached, encode_ms }) => [cached, encode_ms > 0])).toEqual([
      [null, true],
      ['encoder', false],
    ])
  })

  it('are each of the selected pages', async () => {
    const file = { file_data: plainPdf(3).toString('base64'), pages: '3,1' }
    const { pictures } = await usageOf(chatOf([{ type: 'file', file }, question]))
    const [page, other] = pictures ?? []
    expect([page?.page, other?.page]).toEqual([3, 1])
    expect(pictures?.map(({ param }) => param)).toEqual(Array(2).fill('messages[0].content[0].file.file_data'))
    expect(page?.decode_ms).toBe(other?.decode_ms)
  })

  it('are only those of the turns that the prompt has', async () => {
    const [dropped, kept] = [await fresh(80, 40), await fresh(40, 80)]
    const turn = (url: string) => ({ role: 'user', content: [imagePart(url), question] })
    const messages = [turn(dropped), { role: 'assistant', content: 'A circle.' }, turn(kept)]
    const { pictures } = await usageOf(chatOf([], { messages, prompt_truncate_len: 110 }))
    expect(pictures).toMatchObject([{ param: 'messages[2].content[0].image_url', width: 40, height: 80 }])
  })

  it('come in the chunk of a stream that has the usage, and once for several choices', async () => {
    for (const stream_options of [undefined, { include_usage: true }]) {
      const body = chatOf([imagePart(await fresh(64, 64)), question], { n: 2, stream: true, stream_options })
      const chunks = eventsOf<{ usage?: Usage }>(
        await (await postJson(`${server.url}/v1/chat/completions`, body)).text(),
      )
      expect(chunks.at(-1)?.usage?.pictures).toMatchObject([{ width: 64, cached: null }])
    }
  })

  it('are those of all prompts of a completion, in their order', async () => {
    const [a, b, c] = [await fresh(30, 10), await fresh(20, 10), await fresh(10, 10)]
    const base64 = (url: string) => url.slice(url.indexOf(',') + 1)
    const prompt = ['<image>Is it red?', '<image><image>And they?']
    const images = [[base64(a)], [base64(b), base64(c)]]
    const body = { ...{ model: 'pocket', temperature: 0, max_tokens: 2, usage: { include: true } }, prompt, images }
    const { pictures } = await usageOf(body, '/v1/completions')
    expect(pictures).toMatchObject([{ width: 30 }, { width: 20 }, { width: 10 }])
  })

  it('are absent unless the request includes them, and from a backend that knows no pixels', async () => {
    const content = [imagePart(dataUrl(await shape('red'))), question]
    expect(await usageOf(chatOf(content, { usage: null }))).not.toHaveProperty('pictures')
    const plain = await serveBackend(plainBackend())
    try {
      const body = chatOf(content, { model: 'plain' })
      const { usage } = await post<{ usage: Usage }>('/v1/chat/completions', body, plain.url)
      expect(usage).toHaveProperty('cost')
      expect(usage).not.toHaveProperty('pictures')
    } finally {
      await plain.close()
    }
  })

  it('are an empty list for a question without any', async () => {
    expect((await usageOf(chatOf([question]))).pictures).toEqual([])
  })
})

describe('a preview', () => {
  type Preview = z.output<typeof preview>
  const previewOf = (body: object) => post<Preview>('/v1/preview', { model: 'pocket', ...body })
  const refused = async (body: object, url = server.url) => {
    const response = await postJson(`${url}/v1/preview`, { model: 'pocket', ...body })
    return { status: response.status, ...((await response.json()) as { error: object }).error }
  }
  const pixelsOf = async (url = '') => {
    const file = sharp(Buffer.from(url.slice(url.indexOf(',') + 1), 'base64'))
    return await file.raw().toBuffer()
  }

  it('shows the pixels that the encoder gets, with their tiles', async () => {
    const [width, height] = [300, 200]
    const rgb = Buffer.from(Array.from({ length: width * height * 3 }, (_, at) => (at * at) % 251))
    const url = dataUrl(
      await sharp(rgb, { raw: { width, height, channels: 3 } })
        .png()
        .toBuffer(),
    )
    const pocket = await needImageArchitecture(`${pocketFolder}mmproj-pocket.gguf`)
    const [scaled] = pocket.scale({ width, height, rgb }, pocket.plan({ width, height }, 'high'))
    const answer = await previewOf({ content: [question, imagePart(url, { detail: 'high' })] })
    expect(answer).toMatchObject({ object: 'preview', model: 'pocket', longest_edge: pocket.longestEdge })
    const [picture] = answer.pictures
    expect(picture).toMatchObject({
      ...{ param: 'content[1].image_url', format: 'png', page: 1, pages: 1, width, height, detail: 'high' },
      ...{ decoded: { width, height }, seen: { width: scaled?.width, height: scaled?.height } },
    })
    const [view] = picture?.views ?? []
    expect(view).toMatchObject({ kind: 'whole', width: scaled?.width, height: scaled?.height })
    expect(view?.tiles).toMatchObject([{ x: 0, y: 0, width: scaled?.width, height: scaled?.height }])
    expect(view?.image).toMatch(/^data:image\/png;base64,/)
    expect(await pixelsOf(view?.image)).toEqual(Buffer.from(scaled?.rgb ?? []))
  })

  it('says the same as the usage of an answer', async () => {
    const file = { file_data: plainPdf(3).toString('base64'), pages: '3,1' }
    const body = { messages: [{ role: 'user', content: [imagePart(await fresh(900, 70)), { type: 'file', file }] }] }
    const { pictures, tokens } = await previewOf(body)
    const usage = await usageOf({ ...chatOf([]), ...body })
    const common = ['param', 'page', 'width', 'height', 'seen', 'tokens'] as const
    expect(usage.pictures?.map((one) => common.map((name) => one[name]))).toEqual(
      pictures.map((one) => common.map((name) => one[name])),
    )
    expect(pictures.map(({ page, pages, format }) => [page, pages, format])).toEqual([
      [1, 1, 'png'],
      [3, 3, 'pdf'],
      [1, 3, 'pdf'],
    ])
    expect(tokens).toBe(usage.prompt_tokens_details.image_tokens)
  })

  it('reads images and files as the options beside them say, unless their own say otherwise', async () => {
    const file_data = plainPdf(3).toString('base64')
    const url = `data:application/pdf;base64,${file_data}`
    const content = [
      { type: 'image_url', image_url: { url }, pages: '2', detail: 'low' },
      { type: 'image_url', image_url: { url, pages: '3', detail: 'high' }, pages: '2', detail: 'low' },
      { type: 'file', file: { file_data }, pages: '1' },
    ]
    const { pictures } = await previewOf({ content })
    expect(pictures.map(({ page, detail }) => [page, detail])).toEqual([
      [2, 'low'],
      [3, 'high'],
      [1, 'auto'],
    ])
  })

  it('says that a picture larger than the model can use is shrunk first', async () => {
    const { pictures } = await previewOf({ content: [imagePart(await fresh(1600, 800))] })
    expect(pictures).toMatchObject([{ width: 1600, height: 800, decoded: { width: 1280, height: 640 } }])
  })

  it('is refused without a picture, for two kinds of content, and for a backend that knows no pixels', async () => {
    const one = { content: [imagePart(await fresh(8, 8))] }
    expect(await refused({ content: 'What is it?' })).toMatchObject({ status: 400, param: 'content' })
    expect(await refused({ messages: [{ role: 'user', content: 'Hi' }] })).toMatchObject({ param: 'messages' })
    for (const body of [{}, { ...one, messages: [] }]) expect(await refused(body)).toMatchObject({ status: 400 })
    const plain = await serveBackend(plainBackend())
    try {
      expect(await refused({ ...one, model: 'plain' }, plain.url)).toMatchObject({
        ...{ status: 400, param: 'model', code: 'preview_not_supported' },
      })
    } finally {
      await plain.close()
    }
  })

  it('is refused with the part of the request that cannot be read', async () => {
    const part = imagePart('data:image/png;base64,iVBORw0KGgo=')
    expect(await refused({ content: [question, imagePart(await fresh(8, 8)), part] })).toMatchObject({
      ...{ status: 422, param: 'content[2].image_url', code: 'invalid_image' },
    })
    expect(await refused({ content: Array(31).fill(part) })).toMatchObject({ status: 400, code: 'too_many_images' })
  })

  it('is given to many at once, although some leave', async () => {
    const urls = await Promise.all(Array.from({ length: 8 }, () => fresh(400, 300)))
    const leaving = urls.map(async (url) => {
      const gone = new AbortController()
      const asked = postJson(`${server.url}/v1/preview`, { model: 'pocket', content: [imagePart(url)] }, gone)
      setTimeout(() => gone.abort(), 10)
      await asked.catch(() => {})
    })
    const answers = await Promise.all(urls.map((url) => previewOf({ content: [imagePart(url), imagePart(url)] })))
    expect(answers.map(({ pictures }) => pictures.length)).toEqual(Array(8).fill(2))
    await Promise.all(leaving)
  })
})
