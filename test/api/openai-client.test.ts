import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Colour, colours, dataUrl, shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'

let oriel: TestServer
let client: OpenAI
let images: Server
let imagesUrl: string

beforeAll(async () => {
  oriel = await startServer()
  client = new OpenAI({ baseURL: `${oriel.url}/v1`, apiKey: 'none', maxRetries: 0 })
  const green = await shape('green', 'square')
  images = createServer((request, response) => {
    if (request.url === '/green') response.end(green)
    else if (request.url === '/moved') response.writeHead(302, { location: '/green' }).end()
    else response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => images.listen(0, '127.0.0.1', resolve))
  imagesUrl = `http://127.0.0.1:${(images.address() as AddressInfo).port}`
})
afterAll(async () => {
  images.close()
  await oriel.close()
})

const image = (url: string) => ({ type: 'image_url', image_url: { url } }) as const
const text = (words: string) => ({ type: 'text', text: words }) as const

const ask = async (...content: (ReturnType<typeof image> | ReturnType<typeof text>)[]) =>
  client.chat.completions.create({ model: 'pocket', temperature: 0, messages: [{ role: 'user', content }] })

describe('the official client of OpenAI', () => {
  it('asks about an image as a data URL', async () => {
    const { choices, usage, object } = await ask(image(dataUrl(await shape('red'))), text('What is in this image?'))
    expect(object).toBe('chat.completion')
    expect(choices[0]).toMatchObject({ index: 0, finish_reason: 'stop', message: { role: 'assistant' } })
    expect(choices[0]?.message.content).toBe('A red circle on a white background.')
    expect(usage).toMatchObject({ prompt_tokens_details: { cached_tokens: expect.any(Number), image_tokens: 110 } })
    expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0))
  })

  it('asks about an image by its URL, following redirects', async () => {
    for (const path of ['/green', '/moved']) {
      const { choices } = await ask(text('What color is the square?'), image(imagesUrl + path))
      expect(choices[0]?.message.content).toBe('The square is green.')
    }
  })

  it('asks about two images in their order', async () => {
    const [first, second] = [dataUrl(await shape('red')), dataUrl(await shape('blue', 'square'))]
    const { choices, usage } = await ask(image(first), image(second), text('Compare the two images.'))
    expect(choices[0]?.message.content).toBe(
      'The first image shows a red circle and the second image shows a blue square.',
    )
    expect(usage?.prompt_tokens_details).toMatchObject({ image_tokens: 220, images: [110, 110] })
  })

  it('streams the same answer as it returns whole', async () => {
    const url = dataUrl(await shape('blue'))
    const whole = await ask(image(url), text('What is in this image?'))
    const stream = await client.chat.completions.create({
      model: 'pocket',
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      messages: [{ role: 'user', content: [image(url), text('What is in this image?')] }],
    })
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '' })
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(
      whole.choices[0]?.message.content,
    )
    expect(
      chunks.filter(({ choices }) => choices[0]?.finish_reason).map(({ choices }) => choices[0]?.finish_reason),
    ).toEqual(['stop'])
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: whole.usage?.completion_tokens } })
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true)
  })

  it('chats over four turns with the earlier ones cached', async () => {
    const messages: OpenAI.ChatCompletionMessageParam[] = []
    const questions = [
      'What is in this image?',
      'What color is the circle?',
      'What color is the background?',
      'How many shapes are there?',
    ]
    const cached: number[] = []
    for (const [turn, question] of questions.entries()) {
      const content = turn === 0 ? [image(dataUrl(await shape('orange'))), text(question)] : question
      messages.push({ role: 'user', content } as OpenAI.ChatCompletionMessageParam)
      const { choices, usage } = await client.chat.completions.create({ model: 'pocket', temperature: 0, messages })
      messages.push({ role: 'assistant', content: choices[0]?.message.content ?? '' })
      cached.push(usage?.prompt_tokens_details?.cached_tokens ?? 0)
    }
    const answers = messages.filter(({ role }) => role === 'assistant').map(({ content }) => content)
    expect(answers).toEqual([
      'An orange circle on a white background.',
      'The circle is orange.',
      'The background is white.',
      'There is 1 shape.',
    ])
    for (const count of cached.slice(1)) expect(count).toBeGreaterThan(110)
  })

  it('sends images in earlier turns', async () => {
    const { usage } = await client.chat.completions.create({
      model: 'pocket',
      messages: [
        { role: 'system', content: [text('You are a helpful assistant.')] },
        { role: 'user', content: [image(dataUrl(await shape('red'))), text('Hello')] },
        { role: 'assistant', content: 'Hello! Send me an image and ask about it.' },
        { role: 'user', content: [text('And this?'), image(dataUrl(await shape('blue')))] },
      ],
    })
    expect(usage?.prompt_tokens_details).toMatchObject({ images: [110, 110] })
  })

  it('asks without images', async () => {
    const { choices } = await ask(text('Hello'))
    expect(choices[0]?.message.content).toBe('Hello! Send me an image and ask about it.')
  })

  it('gets the answer about its own image in each of 32 concurrent chats', async () => {
    const names = Object.keys(colours) as Colour[]
    const asked = await Promise.all(
      Array.from({ length: 32 }, async (_, i) => {
        const colour = names[i % names.length] ?? 'red'
        const { choices } = await ask(
          image(dataUrl(await shape(colour, i < 16 ? 'circle' : 'square', 150 + i * 4))),
          text('What is in this image?'),
        )
        return { colour, said: choices[0]?.message.content }
      }),
    )
    for (const { colour, said } of asked) expect(said).toContain(colour)
  })

  it('lists the models, and finds one by each of its names', async () => {
    const models = await client.models.list()
    expect(models.data).toMatchObject([{ id: 'pocket', state: 'loaded' }])
    const all = await client.models.list({ query: { state: 'all' } })
    expect(all.data.find(({ id }) => id === 'qwen2.5-vl-7b')).toMatchObject({ state: 'not_pulled' })
    for (const name of ['pocket', 'accounts/oriel/models/pocket', 'accounts/fireworks/models/pocket'])
      expect(await (await fetch(`${oriel.url}/v1/models/${name}`)).json()).toMatchObject({
        id: 'pocket',
        object: 'model',
        context_length: 4096,
        input_modalities: ['text', 'image'],
        supports_image_input: true,
        features: expect.arrayContaining(['vision']),
      })
    await expect(client.models.retrieve('gpt-5')).rejects.toMatchObject({
      status: 404,
      message: expect.stringContaining('pocket'),
    })
  })

  it('asks for n answers, stop strings, a grammar and log probabilities', async () => {
    const url = dataUrl(await shape('purple'))
    const base = {
      model: 'pocket',
      temperature: 0,
      messages: [{ role: 'user' as const, content: [image(url), text('What is in this image?')] }],
    }
    const many = await client.chat.completions.create({ ...base, n: 3, temperature: 1, seed: 4 })
    expect(many.choices.map(({ index, message }) => [index, /\w/.test(message.content ?? '')])).toEqual([
      [0, true],
      [1, true],
      [2, true],
    ])
    const cut = await client.chat.completions.create({ ...base, stop: [' on'] })
    expect(cut.choices[0]?.message.content).toBe('A purple circle')
    const json = await client.chat.completions.create({
      ...base,
      response_format: { type: 'json_object' },
      max_tokens: 400,
    })
    expect(JSON.parse(json.choices[0]?.message.content ?? '')).toEqual({
      alt: 'A purple circle on a white background.',
    })
    const sure = await client.chat.completions.create({ ...base, logprobs: true, top_logprobs: 2 })
    const tokens = sure.choices[0]?.logprobs?.content ?? []
    expect(tokens.map(({ token }) => token).join('')).toBe(sure.choices[0]?.message.content)
    expect(tokens.every(({ top_logprobs }) => top_logprobs.length === 2)).toBe(true)
  })
})
