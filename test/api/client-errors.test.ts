import { createFireworks } from '@ai-sdk/fireworks'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import Anthropic from '@anthropic-ai/sdk'
import { ChatOpenAI } from '@langchain/openai'
import { generateText, type LanguageModel } from 'ai'
import { Ollama } from 'ollama'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type KeyedServer, startKeyed } from '../support/keyed.ts'
import { send } from '../support/raw.ts'

/** How the clients that people use take the refusals of accounts: their own errors, and whether they come back in time. */

let server: KeyedServer
/** A key for each refusal. */
const keys = { wrong: `ork_${'x'.repeat(43)}`, foreign: '', spent: '', limited: '' }
beforeAll(async () => {
  server = await startKeyed({ tiers: { one: { requests: 1 }, single: { concurrentRequests: 1 } } })
  keys.foreign = (await server.keyOf({ models: ['other'] })).secret
  keys.spent = (await server.keyOf({ budget: 0 })).secret
  keys.limited = (await server.keyOf({}, 'one')).secret
  await post('/v1/chat/completions', keys.limited)
})
afterAll(() => server.close())

const messages = [{ role: 'user' as const, content: 'Hello' }]
const asked = { model: 'pocket', max_tokens: 2, messages }
const post = (url: string, key: string) =>
  send(server.url + url, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(asked),
  })

/** Asks once. @param retries after a refusal */
type Ask = (key: string, retries?: number) => Promise<unknown>

const ai = (model: (key: string) => LanguageModel): Ask => {
  return (key, maxRetries = 0) => generateText({ model: model(key), prompt: 'Hello', maxOutputTokens: 2, maxRetries })
}
const clients: { name: string; ask: Ask; status: string }[] = [
  {
    name: 'openai',
    status: 'status',
    ask: (apiKey, maxRetries = 0) =>
      new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries }).chat.completions.create(asked),
  },
  {
    name: '@anthropic-ai/sdk',
    status: 'status',
    ask: (apiKey, maxRetries = 0) => new Anthropic({ baseURL: server.url, apiKey, maxRetries }).messages.create(asked),
  },
  {
    name: '@ai-sdk/openai-compatible',
    status: 'statusCode',
    ask: ai((apiKey) => createOpenAICompatible({ name: 'oriel', baseURL: `${server.url}/v1`, apiKey })('pocket')),
  },
  {
    name: '@ai-sdk/fireworks',
    status: 'statusCode',
    ask: ai((apiKey) => createFireworks({ baseURL: `${server.url}/inference/v1`, apiKey })('pocket')),
  },
  {
    name: '@langchain/openai',
    status: 'status',
    ask: (apiKey, maxRetries = 0) =>
      new ChatOpenAI({
        ...{ model: 'pocket', maxTokens: 2, apiKey, maxRetries },
        configuration: { baseURL: `${server.url}/v1` },
      }).invoke('Hello'),
  },
  {
    name: 'ollama',
    status: 'status_code',
    ask: (key) =>
      new Ollama({ host: server.url, headers: { authorization: `Bearer ${key}` } }).chat({ model: 'pocket', messages }),
  },
]

describe.each(clients)('$name', ({ name, ask, status }) => {
  const refused = async (key: string): Promise<Record<string, unknown>> =>
    (await ask(key).then(
      () => expect.fail('it was let in'),
      (error: unknown) => error,
    )) as Record<string, unknown>

  it('tells which refusal it was', async () => {
    expect((await refused(keys.wrong))[status]).toBe(401)
    expect((await refused(keys.foreign))[status]).toBe(403)
    expect((await refused(keys.spent))[status]).toBe(402)
    const error = await refused(keys.limited)
    expect(error[status]).toBe(429)
    expect(String(error.message)).toContain('The limit for pocket is 1 request a minute')
  })

  // Ollama's client never asks again.
  it.skipIf(name === 'ollama')('asks again when a refusal says so, after that time, and is let in', async () => {
    const { secret } = await server.keyOf({}, 'single')
    const over = new AbortController()
    const running = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...asked, max_tokens: 3900, ignore_eos: true, stream: true }),
      signal: over.signal,
    })
    expect(running.status).toBe(200)
    const first = await post('/v1/chat/completions', secret)
    expect([first.status, first.headers['retry-after']]).toEqual([429, '1'])
    const begun = performance.now()
    const answer = ask(secret, 5)
    setTimeout(() => over.abort(), 500)
    await answer
    // Without the header they would come back earlier.
    expect(performance.now() - begun).toBeGreaterThan(900)
  })
})

describe('the bases of Fireworks', () => {
  // Its Python client raises an error of its own for each of these statuses, as its API documents them.
  it('answer with the statuses and headers that its clients read', async () => {
    for (const [key, status] of [
      [keys.wrong, 401],
      [keys.spent, 402],
      [keys.foreign, 403],
      [keys.limited, 429],
    ] as const) {
      const response = await post('/inference/v1/chat/completions', key)
      expect(response.status).toBe(status)
      expect(JSON.parse(response.text)).toMatchObject({
        error: { message: expect.any(String), code: expect.any(String) },
      })
      expect(response.headers['x-request-id']).toBeTruthy()
    }
    const { headers } = await post('/inference/v1/chat/completions', keys.limited)
    expect(headers).toMatchObject({
      'retry-after': expect.stringMatching(/^\d+$/),
      'x-ratelimit-limit-requests': '1',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-over-limit': 'yes',
    })
  })
})
