import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { homedir } from 'node:os'
import path from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { startFront } from '../support/front.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { pocketFolder } from '../support/pocket.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

const ask = 'What colour is the shape?'
const about = (url: string) => [
  {
    role: 'user' as const,
    content: [
      { type: 'image_url' as const, image_url: { url } },
      { type: 'text' as const, text: ask },
    ],
  },
]

/** As `bench/` builds it. */
const llamaServer = path.join(
  process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'),
  'oriel/bench/peer-3.22.1/build/bin/llama-server',
)

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

let red: string
beforeAll(async () => {
  red = dataUrl(await shape('red'))
})

describe('another Oriel as upstream', () => {
  let behind: TestServer
  let front: TestServer
  let direct: OpenAI
  let openai: OpenAI
  beforeAll(async () => {
    behind = await startServer()
    front = await startFront([{ api: 'oriel', url: behind.url, as: 'there', model: 'pocket' }])
    direct = new OpenAI({ baseURL: `${behind.url}/v1`, apiKey: 'none', maxRetries: 0 })
    openai = new OpenAI({ baseURL: `${front.url}/v1`, apiKey: 'none', maxRetries: 0 })
  })
  afterAll(async () => {
    await front.close()
    await behind.close()
  })

  it('answers about a picture as it does by itself, with the same usage', async () => {
    const body = { messages: about(red), temperature: 0, max_tokens: 20 }
    const expected = await direct.chat.completions.create({ model: 'pocket', ...body })
    const { choices, usage } = await openai.chat.completions.create({ model: 'there', ...body })
    expect(choices[0]?.message.content).toBe(expected.choices[0]?.message.content)
    expect(choices[0]?.message.content).toMatch(/red/i)
    const { prompt_tokens, completion_tokens, prompt_tokens_details: details } = expected.usage ?? {}
    expect(usage).toMatchObject({ prompt_tokens, completion_tokens })
    expect(usage?.prompt_tokens_details).toMatchObject({ images: (details as { images?: number[] }).images })
  })

  it('takes every setting that it has itself', async () => {
    const settings = {
      ...{ top_k: 5, min_p: 0.1, typical_p: 0.9, repetition_penalty: 1.1, frequency_penalty: 0.1, seed: 7, n: 2 },
      ...{ min_tokens: 2, stop_token_ids: [1], include_stop_str_in_output: true, stop: ['zebra'], ignore_eos: true },
      ...{ mirostat_target: 3, logit_bias: { 5: 1 }, prompt_cache_max_len: 50, prompt_cache_isolation_key: 'a' },
      ...{ structured_outputs: { regex: '[a-z ]{1,200}' }, context_length_exceeded_behavior: 'truncate' },
      ...{ logprobs: true, top_logprobs: 2, prompt_cache_key: 'chat', chat_template_kwargs: { tone: 'dry' } },
    }
    const body = { messages: [{ role: 'user', content: ask }], max_tokens: 8, ...settings }
    const answersOf = async (url: string, model: string) => {
      const response = await postJson(`${url}/v1/chat/completions`, { model, ...body })
      expect(response.status).toBe(200)
      const { choices } = (await response.json()) as OpenAI.ChatCompletion
      return choices.map(({ message, logprobs }) => ({
        message,
        tokens: logprobs?.content?.map(({ token, top_logprobs }) => [token, top_logprobs.length]),
      }))
    }
    const expected = await answersOf(behind.url, 'pocket')
    expect(await answersOf(front.url, 'there')).toEqual(expected)
  })

  it('completes plain prompts with pictures, and prompts of tokens', async () => {
    const images = { images: [red] }
    const body = { prompt: `<image>${ask}`, max_tokens: 5, temperature: 0 }
    const expected = await direct.completions.create({ model: 'pocket', ...body, ...images })
    const { choices, usage } = await openai.completions.create({ model: 'there', ...body, ...images })
    expect(choices[0]?.text).toBe(expected.choices[0]?.text)
    expect(usage?.prompt_tokens).toBe(expected.usage?.prompt_tokens)
    const tokens = await openai.completions.create({ model: 'there', prompt: [5, 6, 7], max_tokens: 2 })
    expect(tokens.usage?.prompt_tokens).toBe(3)
  })

  it('counts a prompt without an answer', async () => {
    const anthropic = new Anthropic({ baseURL: front.url, apiKey: 'none', maxRetries: 0 })
    const messages = [{ role: 'user' as const, content: ask }]
    const counted = await anthropic.messages.countTokens({ model: 'there', messages })
    const { usage } = await openai.chat.completions.create({ model: 'there', messages, max_tokens: 1 })
    expect(counted.input_tokens).toBe(usage?.prompt_tokens)
  })

  it('says what is wrong with a picture before it is asked', async () => {
    const response = await postJson(`${front.url}/v1/chat/completions`, {
      model: 'there',
      messages: about('data:image/png;base64,iVBORw0KGgo='),
    })
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({ error: { param: 'messages[0].content[0].image_url' } })
  })

  it('refuses a prompt that is too long, by the words of our API', async () => {
    const response = await postJson(`${front.url}/v1/chat/completions`, {
      ...{ model: 'there', messages: [{ role: 'user', content: 'word '.repeat(20_000) }], max_tokens: 5 },
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: 'context_length_exceeded', param: 'messages' } })
  })
})

describe.skipIf(!existsSync(llamaServer))('llama-server as upstream, if bench/ has built it', () => {
  let child: ChildProcess
  let front: TestServer
  let openai: OpenAI
  beforeAll(async () => {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const args = ['--model', `${pocketFolder}pocket.gguf`, '--mmproj', `${pocketFolder}mmproj-pocket.gguf`]
    child = spawn(
      llamaServer,
      [...args, '--port', String(port), '--threads', '1', '--ctx-size', '2048', '--parallel', '2', '--jinja'],
      {
        stdio: 'ignore',
      },
    )
    await vi.waitFor(async () => expect((await fetch(`${url}/health`)).status).toBe(200), patient)
    front = await startFront([{ api: 'llama-server', url, model: `${pocketFolder}pocket.gguf`, as: 'peer' }])
    openai = new OpenAI({ baseURL: `${front.url}/v1`, apiKey: 'none', maxRetries: 0 })
  })
  afterAll(async () => {
    child?.kill('SIGKILL')
    await front?.close()
  })

  it('tells its context and what it reads', async () => {
    await vi.waitFor(async () => {
      const { data } = (await (await fetch(`${front.url}/v1/models`)).json()) as { data: object[] }
      const told = { id: 'peer', context_length: 1024, supports_image_input: true }
      expect(data).toContainEqual(expect.objectContaining(told))
    }, patient)
  })

  it('answers about a picture, streamed, with exact usage', async () => {
    let text = ''
    let usage: OpenAI.CompletionUsage | null | undefined
    const body = { model: 'peer', messages: about(red), temperature: 0, max_tokens: 20 }
    const stream = { stream: true as const, stream_options: { include_usage: true } }
    for await (const chunk of await openai.chat.completions.create({ ...body, ...stream })) {
      text += chunk.choices[0]?.delta.content ?? ''
      usage = chunk.usage ?? usage
    }
    expect(text).toMatch(/red/i)
    expect(usage?.prompt_tokens).toBeGreaterThan(20)
    const whole = await openai.chat.completions.create(body)
    expect(whole.choices[0]?.message.content).toBe(text)
    expect(whole.usage).toMatchObject({
      prompt_tokens: usage?.prompt_tokens,
      completion_tokens: usage?.completion_tokens,
    })
  })

  it('answers with its settings, a grammar and log probabilities', async () => {
    const response = await postJson(`${front.url}/v1/chat/completions`, {
      ...{ model: 'peer', messages: [{ role: 'user', content: ask }], max_tokens: 10 },
      ...{ top_k: 5, min_p: 0.1, repetition_penalty: 1.1, seed: 7, n: 2, logprobs: true, top_logprobs: 2 },
      grammar: 'root ::= "yes" | "no"',
    })
    const { choices } = (await response.json()) as OpenAI.ChatCompletion
    expect(choices).toHaveLength(2)
    for (const { message, logprobs } of choices) {
      expect(message.content).toMatch(/^(yes|no)$/)
      expect(logprobs?.content?.map(({ token }) => token).join('')).toBe(message.content)
      expect(logprobs?.content?.[0]?.top_logprobs).toHaveLength(2)
    }
  })

  it('counts the tokens of a picture without an answer', async () => {
    const anthropic = new Anthropic({ baseURL: front.url, apiKey: 'none', maxRetries: 0 })
    const source = { type: 'base64' as const, media_type: 'image/png' as const, data: red.split(',')[1] ?? '' }
    const messages = [
      {
        role: 'user' as const,
        content: [
          { type: 'image' as const, source },
          { type: 'text' as const, text: ask },
        ],
      },
    ]
    const counted = await anthropic.messages.countTokens({ model: 'peer', messages })
    const message = await anthropic.messages.create({ model: 'peer', max_tokens: 1, messages })
    expect(counted.input_tokens).toBe(message.usage.input_tokens + (message.usage.cache_read_input_tokens ?? 0))
  })

  it('refuses a prompt that is too long', async () => {
    const response = await postJson(`${front.url}/v1/chat/completions`, {
      ...{ model: 'peer', messages: [{ role: 'user', content: 'word '.repeat(3000) }], max_tokens: 5 },
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: 'context_length_exceeded', param: 'messages' } })
  })
})
