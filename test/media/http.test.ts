import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { plainPdf } from './plain-pdf.ts'

let oriel: TestServer
let host: Server
let origin: string
let fetched = 0
let gif: string
const files = new Map<string, Buffer>()

beforeAll(async () => {
  const frames = await Promise.all((['red', 'green', 'blue', 'yellow'] as const).map((colour) => shape(colour)))
  const animation = sharp(frames, { join: { animated: true } }).gif({ delay: [100, 100, 100, 100] })
  files.set('/a.gif', await animation.toBuffer())
  files.set('/a.pdf', plainPdf(4))
  gif = dataUrl(files.get('/a.gif') ?? Buffer.alloc(0), 'image/gif')
  host = createServer(({ url = '' }, response) => {
    fetched++
    response.writeHead(200, { 'cache-control': 'max-age=60' }).end(files.get(url))
  })
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`
  oriel = await startServer({ media: { allowPrivate: ['127.0.0.1'], urlTimeoutMs: 5000 } })
})
afterAll(async () => {
  host.close()
  await oriel.close()
})

interface Answer {
  status: number
  body: {
    error?: { message: string; param: string | null; code: string | null }
    usage?: { prompt_tokens_details: { images: number[] } }
  }
}

async function ask(part: object): Promise<Answer> {
  const response = await postJson(`${oriel.url}/v1/chat/completions`, {
    model: 'pocket',
    max_tokens: 1,
    messages: [{ role: 'user', content: [part] }],
  })
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

/** The number of images that the model got. */
async function imagesOf(part: object): Promise<number> {
  const { status, body } = await ask(part)
  expect(status).toBe(200)
  return body.usage?.prompt_tokens_details.images.length ?? 0
}

const image = (url: string, over: object = {}) => ({ type: 'image_url', image_url: { url, ...over } })
const pdf = (pages = 4) => dataUrl(plainPdf(pages), 'application/pdf')

describe('selected frames and pages in a request', () => {
  const requests: [what: string, part: () => object, images: number][] = [
    ['the first frame of a gif by default', () => image(gif), 1],
    ['frames: "all"', () => image(gif, { frames: 'all' }), 4],
    ['frames: 3', () => image(gif, { frames: 3 }), 3],
    ['frames: "2-3"', () => image(gif, { frames: '2-3' }), 2],
    ['frames of an input_image', () => ({ type: 'input_image', image_url: gif, frames: 2 }), 2],
    ['all pages of a pdf by default', () => image(pdf()), 4],
    ['pages: "1-2,4"', () => image(pdf(), { pages: '1-2,4' }), 3],
    ['a pdf by URL', () => image(`${origin}/a.pdf`, { pages: '2-3' }), 2],
    ['a file part', () => ({ type: 'file', file: { filename: 'a.pdf', file_data: pdf() } }), 4],
    ['a file part, plain base64', () => ({ type: 'file', file: { file_data: plainPdf(2).toString('base64') } }), 2],
    ['pages of a file part', () => ({ type: 'file', file: { file_data: pdf(), pages: '3' } }), 1],
    ['an input_file', () => ({ type: 'input_file', filename: 'a.pdf', file_data: pdf(3) }), 3],
    ['an input_file by URL', () => ({ type: 'input_file', file_url: `${origin}/a.pdf`, pages: 2 }), 2],
  ]
  it.for(requests)('sends the model the selected images: %s', async ([, part, images]) => {
    expect(await imagesOf(part())).toBe(images)
  })

  const refusals: [what: string, part: () => object, status: number, param: string, says: RegExp][] = [
    [
      'more pages than images are allowed',
      () => ({ type: 'file', file: { file_data: pdf(31) } }),
      400,
      'messages[0].content[0].file.file_data',
      /selects 31 of the file's 31 pages; at most 30 images can be read.*extension "pages".*"pages": "1-30"/,
    ],
    [
      'a page that does not exist',
      () => image(pdf(), { pages: '9' }),
      400,
      'messages[0].content[0].image_url',
      /page 9 does not exist, the file has 4 pages/,
    ],
    [
      'pages in words',
      () => image(pdf(), { pages: 'two' }),
      400,
      'messages[0].content[0].image_url',
      /"two" is not a page number or a range.*"1-3,7"/,
    ],
    [
      'pages of a wrong type',
      () => image(pdf(), { pages: true }),
      400,
      'messages[0].content[0].image_url.pages',
      /must be a string like "1-3,7".*found true/,
    ],
    ['zero frames', () => image(gif, { frames: 0 }), 400, 'messages[0].content[0].image_url.frames', /found 0/],
    [
      'a damaged pdf',
      () => image(dataUrl(plainPdf(2).subarray(0, 60))),
      422,
      'messages[0].content[0].image_url',
      /pdf data is damaged/,
    ],
    [
      'an input_file without a file',
      () => ({ type: 'input_file', filename: 'a.pdf' }),
      400,
      'messages[0].content[0].file_data',
      /file_url is required, but not both.*; found nothing/,
    ],
    [
      'a file id',
      () => ({ type: 'file', file: { file_id: 'file-1' } }),
      400,
      'messages[0].content[0].file.file_data',
      /must be a string: the file as a data: URL.*; found nothing/,
    ],
  ]
  it.for(refusals)('refuses %s', async ([, part, status, param, says]) => {
    const answer = await ask(part())
    expect(answer.body.error?.message).toMatch(says)
    expect({ status: answer.status, param: answer.body.error?.param }).toEqual({ status, param })
  })
})

it('DELETE /admin/cache makes the next request fetch again', async () => {
  const part = image(`${origin}/a.gif`)
  await ask(part)
  const before = fetched
  await ask(part)
  expect(fetched).toBe(before)
  const response = await fetch(`${oriel.url}/admin/cache`, { method: 'DELETE' })
  expect(response.status).toBe(204)
  await ask(part)
  expect(fetched).toBe(before + 1)
})

it('answers about an image of one pixel', async () => {
  const pixel = sharp({ create: { width: 1, height: 1, channels: 3, background: 'red' } })
  expect(await imagesOf(image(dataUrl(await pixel.png().toBuffer())))).toBe(1)
})
