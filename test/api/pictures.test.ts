import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Usage } from '../../src/api/shapes/usage.ts'
import { plainPdf } from '../media/plain-pdf.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { plainBackend } from '../support/plain-backend.ts'
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
    const { pictures } = await usageOf(chatOf([], { messages, prompt_truncate_len: 60 }))
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
