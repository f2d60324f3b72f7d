import { readFileSync } from 'node:fs'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postJson } from '../support/http.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { serveBackend } from '../support/scripted.ts'

/** The answer to "What is this?" about two images. */
const said = 'You asked "What is this?" about 2 images with 0 tools.'
const url = 'data:image/png;base64,iVBORw0KGgo='

describe('a backend that knows neither tokens nor pixels', () => {
  let server: { url: string; close(): Promise<void> }
  let openai: OpenAI
  let anthropic: Anthropic
  beforeAll(async () => {
    server = await serveBackend(plainBackend())
    openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
    anthropic = new Anthropic({ baseURL: server.url, apiKey: 'none', maxRetries: 0 })
  })
  afterAll(() => server.close())

  const chat = {
    model: 'plain',
    messages: [
      {
        role: 'user' as const,
        content: [
          { type: 'image_url' as const, image_url: { url } },
          { type: 'image_url' as const, image_url: { url } },
          { type: 'text' as const, text: 'What is this?' },
        ],
      },
    ],
  }

  it('is under 80 lines', () => {
    const source = readFileSync(new URL('../support/plain-backend.ts', import.meta.url), 'utf8')
    expect(source.split('\n').length).toBeLessThan(80)
    expect(source).not.toMatch(/engine\/|media\/|language\//)
  })

  it('answers chat completions in every base, whole and streamed', async () => {
    for (const base of ['/v1', '/inference/v1', '/openai/v1', '/v3/openai']) {
      const client = new OpenAI({ baseURL: `${server.url}${base}`, apiKey: 'none', maxRetries: 0 })
      const { choices, usage } = await client.chat.completions.create({ ...chat, n: 2 })
      expect(choices.map(({ message, finish_reason }) => [message.content, finish_reason])).toEqual([
        [said, 'stop'],
        [said, 'stop'],
      ])
      expect(usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 22, total_tokens: 25 })
      let text = ''
      let reason: string | null = null
      for await (const chunk of await client.chat.completions.create({ ...chat, max_tokens: 4, stream: true })) {
        text += chunk.choices[0]?.delta.content ?? ''
        reason = chunk.choices[0]?.finish_reason ?? reason
      }
      expect([text, reason]).toEqual(['You asked "What is ', 'length'])
    }
  })

  it('answers completions with one image for each <image>', async () => {
    const images = { images: [url, url] } as object
    const { choices } = await openai.completions.create({
      model: 'plain',
      prompt: '<image><image>What is this?',
      max_tokens: 100,
      ...images,
    })
    expect(choices[0]).toMatchObject({ text: said, finish_reason: 'stop' })
  })

  it('answers responses, whole and streamed', async () => {
    const image = { type: 'input_image' as const, image_url: url, detail: 'auto' as const }
    const body = {
      model: 'plain',
      input: [
        { role: 'user' as const, content: [image, image, { type: 'input_text' as const, text: 'What is this?' }] },
      ],
    }
    const whole = await openai.responses.create(body)
    expect([whole.status, whole.output_text, whole.usage?.output_tokens]).toEqual(['completed', said, 11])
    let text = ''
    for await (const event of await openai.responses.create({ ...body, stream: true }))
      if (event.type === 'response.output_text.delta') text += event.delta
    expect(text).toBe(said)
  })

  it('answers and counts messages, whole and streamed', async () => {
    const image = { type: 'image' as const, source: { type: 'url' as const, url } }
    const messages = [
      { role: 'user' as const, content: [image, image, { type: 'text' as const, text: 'What is this?' }] },
    ]
    const body = { model: 'plain', max_tokens: 100, messages }
    expect(await anthropic.messages.create(body)).toMatchObject({
      content: [{ type: 'text', text: said }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 3, output_tokens: 11 },
    })
    expect(await anthropic.messages.stream(body).finalText()).toBe(said)
    expect(await anthropic.messages.countTokens({ model: 'plain', messages })).toEqual({ input_tokens: 3 })
  })

  it('passes its tools, and counts without answering', async () => {
    const tools = [{ type: 'function' as const, function: { name: 'now', parameters: { type: 'object' } } }]
    const { choices } = await openai.chat.completions.create({ ...chat, tools })
    expect(choices[0]?.message.content).toContain('with 1 tools')
    const counted = await postJson(`${server.url}/v1/tokenize`, {
      model: 'plain',
      messages: [{ role: 'user', content: 'one two three' }],
    })
    expect(await counted.json()).toMatchObject({
      count: 3,
      max_model_len: 1000,
      parts: [{ type: 'text', param: 'messages[0].content', tokens: 3 }],
    })
    const dry = await openai.chat.completions.create({ ...chat, max_tokens: 5, ...({ dry_run: true } as object) })
    expect(dry).toMatchObject({
      object: 'dry_run',
      usage: { prompt_tokens: 3 },
      cost: { prompt: 3e-6, answer_at_most: 1e-5 },
    })
  })

  it('is listed, reported as healthy and refuses what it does not accept', async () => {
    expect(await openai.models.retrieve('plain')).toMatchObject({
      id: 'plain',
      state: 'loaded',
      context_length: 1000,
      supports_image_input: true,
      supports_tools: true,
    })
    expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({
      engines: [{ model: 'plain', status: 'ok', running: 0, waiting: 0 }],
    })
    const text = await serveBackend({ ...plainBackend(), info: { ...plainBackend().info, inputs: [] } })
    const response = await postJson(`${text.url}/v1/chat/completions`, chat)
    await text.close()
    expect([response.status, await response.json()]).toEqual([
      400,
      {
        error: {
          message: expect.stringMatching(
            /^The model plain does not accept images\. Models on this server that do: .*pocket/,
          ),
          type: 'invalid_request_error',
          param: 'messages[0].content[0].image_url',
          code: 'image_not_supported',
        },
      },
    ])
  })
})
