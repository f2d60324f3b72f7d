import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openaiDialects } from '../../src/api/dialects/index.ts'
import { type ImageArchitecture, needImageArchitecture } from '../../src/encoders/index.ts'
import { tokensIn } from '../encoders/image-tokens/page.ts'
import { plainPdf } from '../media/plain-pdf.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { inputs } from '../support/long.ts'
import { pocketFolder } from '../support/pocket.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let pocket: ImageArchitecture
beforeAll(async () => {
  server = await startServer()
  pocket = await needImageArchitecture(`${pocketFolder}mmproj-pocket.gguf`)
})
afterAll(() => server.close())

type Size = readonly [width: number, height: number]

function stripes(width: number, height: number): Buffer {
  const rgb = Buffer.alloc(width * height * 3)
  for (let at = 0; at < rgb.length; at++) rgb[at] = (at / width) % 256
  return rgb
}

const png = async (width: number, height: number): Promise<string> =>
  (
    await sharp(stripes(width, height), { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer()
  ).toString('base64')

async function gif(width: number, height: number, frames: number): Promise<string> {
  const raw = { width, height: height * frames, channels: 3, pageHeight: height } as const
  return (
    await sharp(stripes(width, height * frames), { raw })
      .gif()
      .toBuffer()
  ).toString('base64')
}

const pdf = (pages: number): string => plainPdf(pages).toString('base64')
/** A page of A4, which is drawn with twice the pixels that the built-in model can use. */
const page: Size = [Math.round((595 * 768) / 842), 768]

const bases = openaiDialects.flatMap((dialect) => dialect.bases)

const question = 'What is it?'
const questionPart = { type: 'text', text: question }
const greedy = { model: 'pocket', temperature: 0 }

const chatOf = (...parts: object[]) => ({
  ...greedy,
  messages: [{ role: 'user', content: [...parts, questionPart] }],
})
const imagePart = (url: string, options: object = {}) => ({ type: 'image_url', image_url: { url, ...options } })
const filePart = (data: string, options: object = {}) => ({ type: 'file', file: { file_data: data, ...options } })

async function post<T>(path: string, body: object): Promise<T> {
  const response = await postJson(server.url + path, body)
  const answer = (await response.json()) as T
  expect({ path, status: response.status, answer }).toMatchObject({ path, status: 200 })
  return answer
}

interface Usage {
  prompt_tokens: number
  prompt_tokens_details: { image_tokens: number; images: number[] }
}

const usageOf = async (path: string, body: object): Promise<Usage> => (await post<{ usage: Usage }>(path, body)).usage

const sum = (tokens: readonly number[]): number => tokens.reduce((total, one) => total + one, 0)

/** The usage of a chat with a question about images: their tokens are planned from their sizes, the rest is counted. */
async function expected(sizes: readonly Size[], detail: 'low' | 'auto' | 'high' = 'auto'): Promise<Usage> {
  const images = sizes.map(([width, height]) => tokensIn(pocket, width, height, detail))
  const text = await usageOf('/v1/chat/completions', { ...chatOf(), dry_run: true })
  expect(text.prompt_tokens_details).toMatchObject({ image_tokens: 0, images: [] })
  return {
    prompt_tokens: text.prompt_tokens + sum(images),
    prompt_tokens_details: { image_tokens: sum(images), images },
  }
}

interface Case {
  images?: () => Promise<string>[]
  documents?: () => string[]
  /** Of all images that are read. */
  sizes: readonly Size[]
}

const large: Size = [1920, 1080]
const wide: Size = [512, 200]
const tall: Size = [300, 400]

describe.each<[title: string, of: Case]>([
  ['an icon', { images: () => [png(16, 16)], sizes: [[16, 16]] }],
  ['a banner', { images: () => [png(900, 70)], sizes: [[900, 70]] }],
  ['a screen', { images: () => [png(...large)], sizes: [large] }],
  [
    'three images, two of them equal',
    { images: () => [wide, tall, wide].map((size) => png(...size)), sizes: [wide, tall, wide] },
  ],
  ['an animation, of which the first frame is read', { images: () => [gif(200, 120, 4)], sizes: [[200, 120]] }],
  ['a PDF of three pages', { documents: () => [pdf(3)], sizes: [page, page, page] }],
])('the tokens of %s', (title, { images = () => [], documents = () => [], sizes }) => {
  let told: Usage
  let seen: string[]
  let read: string[]
  beforeAll(async () => {
    told = await expected(sizes)
    seen = await Promise.all(images())
    read = documents()
  })

  it.each(inputs(title === 'a screen' ? bases : bases.slice(0, 1), bases))(
    'are those of its text and of each image, before, in and after a chat: base "%s"',
    async (base) => {
      const chat = chatOf(...seen.map((url) => imagePart(url)), ...read.map((data) => filePart(data)))
      expect(await usageOf(`${base}/chat/completions`, { ...chat, dry_run: true })).toMatchObject(told)
      const counted = await post<{ count: number; parts: { pictures?: { tokens: number }[] }[] }>(
        `${base}/tokenize`,
        chat,
      )
      expect(counted.count).toBe(told.prompt_tokens)
      expect(counted.parts.flatMap(({ pictures = [] }) => pictures.map(({ tokens }) => tokens))).toEqual(
        told.prompt_tokens_details.images,
      )
      expect(await usageOf(`${base}/chat/completions`, { ...chat, max_tokens: 2 })).toMatchObject(told)
      const stream = { ...chat, max_tokens: 2, stream: true, stream_options: { include_usage: true } }
      const streamed = await (await postJson(`${server.url}${base}/chat/completions`, stream)).text()
      expect(eventsOf<{ usage?: Usage }>(streamed).at(-1)?.usage).toMatchObject(told)
    },
  )

  it('are the same in completions', async () => {
    const all = [...seen, ...read]
    const body = { ...greedy, prompt: `${'<image>'.repeat(all.length)}${question}`, images: all, max_tokens: 2 }
    const counted = await usageOf('/v1/completions', { ...body, dry_run: true })
    expect(counted.prompt_tokens_details).toMatchObject(told.prompt_tokens_details)
    const { prompt_tokens } = await usageOf('/v1/completions', body)
    expect(prompt_tokens).toBe(counted.prompt_tokens)
  })

  it('are the same in responses', async () => {
    const parts = [
      ...seen.map((url) => ({ type: 'input_image', image_url: url })),
      ...read.map((data) => ({ type: 'input_file', file_data: data })),
      { type: 'input_text', text: question },
    ]
    const body = { ...greedy, input: [{ role: 'user', content: parts }] }
    const { prompt_tokens: input_tokens } = told
    expect(await post('/v1/responses/input_tokens', body)).toMatchObject({ input_tokens })
    expect(await post('/v1/responses', { ...body, max_output_tokens: 2 })).toMatchObject({ usage: { input_tokens } })
  })

  it('are the same in messages', async () => {
    const source = (data: string) => ({ type: 'base64', data })
    const blocks = [
      ...seen.map((data) => ({ type: 'image', source: source(data) })),
      ...read.map((data) => ({ type: 'document', source: source(data) })),
    ]
    const { model, messages } = chatOf(...blocks)
    expect(await post('/v1/messages/count_tokens', { model, messages })).toEqual({ input_tokens: told.prompt_tokens })
    const { usage } = await post<{ usage: { input_tokens: number; cache_read_input_tokens: number } }>('/v1/messages', {
      ...{ model, messages, max_tokens: 2 },
    })
    expect(usage.input_tokens + usage.cache_read_input_tokens).toBe(told.prompt_tokens)
  })

  it("are the same in Ollama's chats", async () => {
    const messages = [{ role: 'user', content: question, images: [...seen, ...read] }]
    const body = { model: 'pocket', stream: false, messages, options: { num_predict: 2 } }
    expect(await post('/api/chat', body)).toMatchObject({ prompt_eval_count: told.prompt_tokens })
  })
})

describe('the tokens of an image', () => {
  const bothWays = async (chat: object, told: Usage) => {
    for (const body of [{ dry_run: true }, { max_tokens: 2 }, { max_tokens: 2 }])
      expect(await usageOf('/v1/chat/completions', { ...chat, ...body })).toMatchObject(told)
  }

  it.each<[detail: 'low' | 'auto' | 'high', width: number, height: number]>([
    ['low', 640, 480],
    ['auto', 640, 480],
    ['high', 640, 480],
    ['low', 30, 500],
    ['high', 2480, 3508],
  ])('follow from its size and detail, in the cache or not: %s, %i x %i', async (detail, width, height) => {
    await bothWays(chatOf(imagePart(await png(width, height), { detail })), await expected([[width, height]], detail))
  })

  it('are counted for each selected frame of an animation and each selected page of a document', async () => {
    const frame: Size = [200, 120]
    const chat = chatOf(imagePart(await gif(...frame, 5), { frames: '2-4' }), filePart(pdf(4), { pages: '4,1' }))
    await bothWays(chat, await expected([frame, frame, frame, page, page]))
  })

  it('follow from what stands next to the URL, also in the short form', async () => {
    const url = await gif(200, 120, 4)
    const chat = chatOf({ type: 'image_url', image_url: url, frames: '2-3', detail: 'low' })
    const frame: Size = [200, 120]
    await bothWays(chat, await expected([frame, frame], 'low'))
  })

  it('are summed up over all prompts of a completion', async () => {
    const [a, b] = [await png(100, 100), await png(400, 100)]
    const prompts = ['<image>Is it red?', '<image><image>And they?']
    const images = [[a], [a, b]]
    const each = await Promise.all(
      prompts.map((prompt, at) => usageOf('/v1/completions', { ...greedy, prompt, images: images[at], dry_run: true })),
    )
    const usage = await usageOf('/v1/completions', { ...greedy, prompt: prompts, images, max_tokens: 2 })
    expect(usage.prompt_tokens).toBe(sum(each.map(({ prompt_tokens }) => prompt_tokens)))
    expect(usage.prompt_tokens_details.images).toEqual(each.flatMap((one) => one.prompt_tokens_details.images))
  })
})
