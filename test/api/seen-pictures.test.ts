import sharp from 'sharp'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Usage } from '../../src/api/shapes/usage.ts'
import { OrielError } from '../../src/errors.ts'
import { DecoderPool } from '../../src/media/decoder/pool.ts'
import { plainPdf } from '../media/plain-pdf.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { dataUrl } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'

const decodes = vi.spyOn(DecoderPool.prototype, 'decode')
const pagesDecoded = () =>
  decodes.mock.calls.map(([, { options }]) => options.wanted.kind === 'image' && options.wanted.pages)
beforeEach(() => void decodes.mockClear())

/** One keeps embeddings; the other none, so that only prefixes are cached. */
let server: TestServer
let forgetful: TestServer
beforeAll(async () => {
  ;[server, forgetful] = await Promise.all([startServer(), startServer({ engine: { encoderCacheBytes: 1 } })])
})
afterAll(() => Promise.all([server.close(), forgetful.close()]))

let made = 0
/** A picture that no other test has sent. */
async function fresh(): Promise<string> {
  const background = { r: (made++ * 7) & 255, g: 90, b: 200 }
  return dataUrl(
    await sharp({ create: { width: 300, height: 200, channels: 3, background } })
      .png()
      .toBuffer(),
  )
}
const picture = (url: string, options: object = {}) => ({ type: 'image_url', image_url: { url, ...options } })
const words = (text: string) => ({ type: 'text', text })

interface Answer {
  choices: { message: { content: string } }[]
  usage: Usage
}
const bodyOf = (content: readonly object[], more: object) => ({
  ...{ model: 'pocket', temperature: 0, max_tokens: 4, usage: { include: true } },
  ...{ messages: [{ role: 'user', content }], ...more },
})
async function ask(content: readonly object[], from = server, more: object = {}) {
  const response = await postJson(`${from.url}/v1/chat/completions`, bodyOf(content, more))
  const answer = (await response.json()) as Answer
  expect({ status: response.status, answer }).toMatchObject({ status: 200 })
  const { pictures = [] } = answer.usage
  return { text: answer.choices[0]?.message.content, pictures, usage: answer.usage }
}

describe('a picture that was sent before', () => {
  it('is not decoded in the turns of a chat that sends it again, nor in another question', async () => {
    const pictures = [picture(await fresh()), picture(await fresh()), picture(dataUrl(plainPdf(2)))]
    const first = await ask([...pictures, words('What is this?')])
    expect(pagesDecoded()).toHaveLength(3)
    const again = await ask([...pictures, words('What is this?')])
    const other = await ask([words('Tell me about them:'), ...pictures])
    expect(pagesDecoded()).toHaveLength(3)
    expect(again.text).toBe(first.text)
    expect(again.pictures.map(({ cached, decode_ms }) => [cached, decode_ms])).toEqual(
      [0, 1, 2, 3].map(() => ['prefix', 0]),
    )
    expect(other.pictures.map(({ cached, decode_ms }) => [cached, decode_ms])).toEqual(
      [0, 1, 2, 3].map(() => ['encoder', 0]),
    )
    // All else that is reported is the same.
    const reported = ({ pictures }: typeof first) =>
      pictures.map(({ param: _, cached: __, decode_ms: ___, encode_ms: ____, ...facts }) => facts)
    expect(reported(again)).toEqual(reported(first))
    expect(reported(other)).toEqual(reported(first))
    expect(again.usage.prompt_tokens_details.images).toEqual(first.usage.prompt_tokens_details.images)
  })

  it('is decoded for another isolation key, whose time to answer must tell nothing', async () => {
    const content = [picture(await fresh()), words('What is this?')]
    await ask(content)
    await ask(content, server, { prompt_cache_isolation_key: 'mine' })
    await ask(content, server, { prompt_cache_isolation_key: 'mine' })
    expect(pagesDecoded()).toHaveLength(2)
  })

  it('is encoded again for another detail, from pixels that are decoded once more', async () => {
    const url = await fresh()
    await ask([picture(url, { detail: 'low' }), words('What is this?')])
    const { pictures } = await ask([words('What is this?'), picture(url, { detail: 'high' })])
    const [{ cached, decode_ms } = { cached: null, decode_ms: 0 }] = pictures
    expect([cached, decode_ms > 0]).toEqual(cached === null ? [null, true] : ['encoder', false])
  })

  it('shows what the model sees of it in a preview', async () => {
    const content = [picture(await fresh())]
    await ask(content)
    const preview = async () => {
      const response = await postJson(`${server.url}/v1/preview`, { model: 'pocket', content })
      return { status: response.status, body: await response.json() }
    }
    const shown = await preview()
    expect(shown).toMatchObject({ status: 200, body: { pictures: [{ width: 300, height: 200 }] } })
    expect(await preview()).toEqual(shown)
  })

  it('is counted without its pixels', async () => {
    const content = [picture(await fresh()), words('What is this?')]
    const count = async () => {
      const response = await postJson(`${server.url}/v1/tokenize`, {
        model: 'pocket',
        messages: [{ role: 'user', content }],
      })
      return { status: response.status, body: await response.json() }
    }
    const first = await count()
    expect(first.status).toBe(200)
    expect(await count()).toEqual(first)
    expect(pagesDecoded()).toHaveLength(1)
  })
})

describe('what became of a picture', () => {
  const user = (content: unknown) => ({ messages: [{ role: 'user', content }] })
  const asked = (url: string): [path: string, body: object, param: string][] => {
    const data = url.slice(url.indexOf(',') + 1)
    const source = { type: 'base64', media_type: 'image/png', data }
    const first = 'messages[0].content[0]'
    return [
      ['/v1/chat/completions', { max_tokens: 2, ...user([picture(url), words('Hi')]) }, `${first}.image_url`],
      ['/inference/v1/completions', { max_tokens: 2, prompt: '<image>Hi', images: [url] }, 'images[0]'],
      [
        '/v1/responses',
        { max_output_tokens: 16, input: user([{ type: 'input_image', image_url: url }]).messages },
        'input[0].content[0].image_url',
      ],
      ['/v1/messages', { max_tokens: 2, ...user([{ type: 'image', source }, words('Hi')]) }, `${first}.source`],
      [
        '/api/chat',
        { options: { num_predict: 2 }, messages: [{ role: 'user', images: [data] }] },
        'messages[0].images[0]',
      ],
      ['/api/generate', { options: { num_predict: 2 }, prompt: 'Hi', images: [data] }, 'images[0]'],
    ]
  }

  it('is told in every protocol, once in a stream, and only if the request includes its usage', async () => {
    const url = await fresh()
    for (const [path, body, param] of asked(url))
      for (const stream of [false, true]) {
        const told = async (usage: object | null) => {
          const response = await postJson(server.url + path, {
            model: 'pocket',
            ...body,
            stream,
            usage,
          })
          const text = await response.text()
          expect({ path, text, status: response.status }).toMatchObject({ status: 200 })
          expect(response.headers.get('x-oriel-ignored-parameters')).toBeNull()
          const lines = text.split('\n').filter((line) => line !== '')
          const parts =
            stream && !path.startsWith('/api') ? eventsOf<object>(text) : lines.map((line) => JSON.parse(line))
          return { all: parts.flatMap(includedIn), last: parts.slice(-2).flatMap(includedIn) }
        }
        const { all, last } = await told({ include: true })
        const about = { param, page: 1, width: 300, height: 200, tiles: 1 }
        expect({ path, stream, all }).toMatchObject({
          ...{ path, stream },
          all: [{ cost: expect.any(Number), pictures: [{ ...about, fetch_ms: 0, encode_ms: expect.any(Number) }] }],
        })
        expect(last).toEqual(all)
        expect(await told({ include: false })).toEqual({ all: [], last: [] })
        expect(await told(null)).toEqual({ all: [], last: [] })
      }
  })
})

describe('a picture whose embeddings are gone', () => {
  it('is not decoded as long as the prefix with it is cached', async () => {
    const url = await fresh()
    await ask([picture(url), words('What is this?')], forgetful)
    const { pictures } = await ask([picture(url), words('What is that?')], forgetful)
    expect(pictures.map(({ cached, decode_ms }) => [cached, decode_ms])).toEqual([['prefix', 0]])
    expect(pagesDecoded()).toHaveLength(1)
  })

  it('is decoded once more and encoded, and the answer is the same', async () => {
    const url = await fresh()
    const whole = await ask([words('Say it again:'), picture(url)], server)
    await ask([picture(url), words('What is this?')], forgetful)
    decodes.mockClear()
    const again = await ask([words('Say it again:'), picture(url)], forgetful)
    expect(pagesDecoded()).toEqual(['1'])
    expect(again.text).toBe(whole.text)
    const [{ cached, decode_ms } = { cached: 'none', decode_ms: 0 }] = again.pictures
    expect([cached, decode_ms > 0]).toEqual([null, true])
  })

  it('is decoded once for all requests that need it', async () => {
    const url = await fresh()
    await ask([picture(url), words('What is this?')], forgetful)
    decodes.mockClear()
    const questions = ['One:', 'Two:', 'Three:', 'Four:']
    await Promise.all(questions.map((question) => ask([words(question), picture(url)], forgetful)))
    // Its embeddings are not kept, so a request that comes when it has been encoded has it encoded again.
    expect(pagesDecoded().length).toBeGreaterThan(0)
    expect(pagesDecoded().length).toBeLessThan(questions.length)
  })

  it('is decoded with the pages behind it, and without those before it', async () => {
    const file = picture(dataUrl(plainPdf(4)), { pages: '1-4' })
    await ask([file, words('What is this?')], forgetful)
    decodes.mockClear()
    const { pictures } = await ask([words('Read it:'), file], forgetful)
    expect(pagesDecoded()).toEqual(['1,2,3,4'])
    expect(pictures.map(({ page, cached }) => [page, cached])).toEqual([1, 2, 3, 4].map((page) => [page, null]))
  })

  it('costs its request a clear error if it cannot be decoded now, and nobody else', async () => {
    const url = await fresh()
    await ask([picture(url), words('What is this?')], forgetful)
    decodes.mockRejectedValueOnce(new OrielError('overloaded', 'Too much.', { code: 'busy', retryAfter: 1 }))
    const content = [words('Say it again:'), picture(url)]
    const response = await postJson(`${forgetful.url}/v1/chat/completions`, bodyOf(content, {}))
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({
      error: { message: 'Too much.', code: 'busy', param: 'messages[0].content[1].image_url' },
    })
    expect((await ask(content, forgetful)).pictures).toMatchObject([{ cached: null }])
  })

  it('is decoded by an engine that has just started again', async () => {
    const content = [picture(await fresh()), words('What is this?')]
    const before = await ask(content, forgetful)
    forgetful.kill()
    await vi.waitFor(() => expect(forgetful.engines().length).toBeGreaterThan(0), 20_000)
    decodes.mockClear()
    await vi.waitFor(async () => expect((await ask(content, forgetful)).text).toBe(before.text), 20_000)
    expect(pagesDecoded().length).toBeGreaterThan(0)
  })
})

/** The cost and the pictures anywhere in a body. */
function includedIn(value: unknown): object[] {
  if (typeof value !== 'object' || value === null) return []
  const { cost, pictures } = value as { cost?: number; pictures?: object[] }
  return cost === undefined && pictures === undefined ? Object.values(value).flatMap(includedIn) : [{ cost, pictures }]
}
