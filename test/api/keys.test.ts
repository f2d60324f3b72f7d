import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { NewKey } from '../../src/accounts/index.ts'
import type { Usage } from '../../src/api/shapes/usage.ts'
import { createOriel, type OrielSettings } from '../../src/app.ts'
import { dataUrl, shape } from '../support/images.ts'
import { administrator, type KeyedServer, startKeyed } from '../support/keyed.ts'

let server: KeyedServer
let red: string
beforeAll(async () => {
  server = await startKeyed({
    tiers: {
      small: { requests: 2 },
      chatty: { requests: 100, promptTokens: 100_000, generatedTokens: 50, images: 2 },
      single: { concurrentRequests: 1 },
    },
    prices: { pocket: { input: 2, output: 10, image: 0.001 } },
  })
  red = dataUrl(await shape('red'))
})
afterAll(() => server.close())

const keyOf = (tier: string | null, key: Partial<NewKey> = {}) => server.keyOf(key, tier)

const openai = (apiKey: string, base = '/v1') =>
  new OpenAI({ baseURL: `${server.url}${base}`, apiKey, maxRetries: 0, timeout: 60_000 })
const question = { model: 'pocket', max_tokens: 8, messages: [{ role: 'user' as const, content: 'Hello' }] }

describe('a server with keys', () => {
  it.each([['/v1'], ['/inference/v1'], ['/openai']])('wants a key below %s', async (base) => {
    for (const key of ['none', `ork_${'x'.repeat(43)}`])
      await expect(openai(key, base).chat.completions.create(question)).rejects.toThrow(OpenAI.AuthenticationError)
    await expect(openai('none', base).models.list()).rejects.toMatchObject({ status: 401 })
    const { secret } = await keyOf(null)
    const answer = await openai(secret, base).chat.completions.create(question)
    expect(answer.choices).toHaveLength(1)
  })

  it('tells a client without a key how to send one', async () => {
    const response = await fetch(`${server.url}/v1/models`)
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe('Bearer')
    expect(await response.text()).toContain('Authorization: Bearer')
  })

  it("takes Anthropic's header, and answers in its form", async () => {
    const client = (apiKey: string) => new Anthropic({ baseURL: server.url, apiKey, maxRetries: 0 })
    const asked = { model: 'pocket', max_tokens: 8, messages: question.messages }
    await expect(client('wrong').messages.create(asked)).rejects.toThrow(Anthropic.AuthenticationError)
    const { secret } = await keyOf('small')
    await client(secret).messages.create(asked)
    await client(secret).messages.create(asked)
    await expect(client(secret).messages.create(asked)).rejects.toThrow(Anthropic.RateLimitError)
    const other = await keyOf(null, { models: ['other'] })
    await expect(client(other.secret).messages.create(asked)).rejects.toThrow(Anthropic.PermissionDeniedError)
  })

  it('shows anybody whether it is well, and its documentation', async () => {
    for (const open of ['/health', '/ready', '/docs', '/openapi.json'])
      expect((await fetch(`${server.url}${open}`)).status).toBe(200)
    expect(await (await fetch(`${server.url}/health`)).json()).toEqual({ status: 'ok' })
    const { secret } = await keyOf(null, { scopes: ['metrics'] })
    const seen = await fetch(`${server.url}/health`, { headers: { 'x-api-key': secret } })
    expect(await seen.json()).toMatchObject({ status: 'ok', engines: [{ model: 'pocket' }] })
    for (const closed of ['/metrics', '/admin/models', '/v1/models', '/api/tags'])
      expect((await fetch(`${server.url}${closed}`)).status).toBe(401)
  })

  it('refuses what a key is not for', async () => {
    const { secret } = await keyOf(null)
    const get = (url: string, key: string) =>
      fetch(`${server.url}${url}`, { headers: { authorization: `Bearer ${key}` } })
    expect((await get('/admin/models', secret)).status).toBe(403)
    expect((await get('/admin/models', administrator)).status).toBe(200)
    expect((await get('/metrics', secret)).status).toBe(403)
    const reader = await keyOf(null, { scopes: ['metrics'] })
    expect((await get('/metrics', reader.secret)).status).toBe(200)
    expect((await get('/v1/usage', reader.secret)).status).toBe(403)
    const asking = openai(reader.secret).chat.completions.create(question)
    await expect(asking).rejects.toThrow(OpenAI.PermissionDeniedError)
    await expect(asking).rejects.toMatchObject({ code: 'missing_scope' })
  })

  it('lists to a key the models that it may use, and refuses others by any of their names', async () => {
    const { secret } = await keyOf(null, { models: ['other'] })
    expect((await openai(secret).models.list()).data).toEqual([])
    const headers = { 'x-api-key': secret }
    for (const list of ['/api/tags', '/api/ps', '/v1/accounts/me/models'])
      expect(await (await fetch(`${server.url}${list}`, { headers })).json()).toMatchObject({ models: [] })
    for (const model of ['pocket', 'accounts/me/models/pocket'])
      await expect(openai(secret).chat.completions.create({ ...question, model })).rejects.toMatchObject({
        status: 403,
        code: 'model_not_allowed',
        param: 'model',
      })
  })

  it('tells a key for some models nothing of the others, not even whether they exist', async () => {
    const { secret } = await keyOf(null, { models: ['other'] })
    const refusal = async (url: string, body?: object) => {
      const response = await fetch(server.url + url, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { 'x-api-key': secret, 'content-type': 'application/json' },
        ...(body && { body: JSON.stringify(body) }),
      })
      return [response.status, (await response.text()).replaceAll(/"request_id":"[^"]*"/g, '')] as const
    }
    const asks = (model: string) => [
      refusal('/v1/chat/completions', { ...question, model }),
      refusal('/v1/messages/count_tokens', { ...question, model }),
      refusal(`/v1/models/${model}`),
      refusal(`/v1/accounts/me/models/${model}`),
      refusal('/api/show', { model }),
      refusal('/api/pull', { model }),
    ]
    const [here, nowhere] = await Promise.all([Promise.all(asks('pocket')), Promise.all(asks('nowhere'))])
    expect(here.map(([status]) => status)).toEqual([403, 403, 403, 403, 403, 403])
    expect(here.map(([status, text]) => [status, text.replaceAll('pocket', 'nowhere')])).toEqual(nowhere)
    const [status, text] = await refusal('/v1/models/other')
    expect([status, text.includes('pocket')]).toEqual([404, false])
  })

  it('reads no body of a client without a key', async () => {
    const body = JSON.stringify({ ...question, messages: [{ role: 'user', content: 'x'.repeat(1_000_000) }] })
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    expect(response.status).toBe(401)
  })

  it('keeps the responses of an account from others', async () => {
    const [mine, other] = [await keyOf(null), await keyOf(null)]
    const { id } = await openai(mine.secret).responses.create({ model: 'pocket', input: 'Hello' })
    const again = await keyOf(null, { account: mine.account })
    expect((await openai(again.secret).responses.retrieve(id)).id).toBe(id)
    const foreign = openai(other.secret).responses
    for (const ask of [() => foreign.retrieve(id), () => foreign.delete(id), () => foreign.inputItems.list(id)])
      await expect(ask()).rejects.toMatchObject({ status: 404 })
    const continued = foreign.create({ model: 'pocket', input: 'And?', previous_response_id: id })
    await expect(continued).rejects.toMatchObject({ code: 'previous_response_not_found' })
  })

  it('lets no account learn from cached tokens what another has asked', async () => {
    const [mine, other] = [await keyOf(null), await keyOf(null)]
    const asked = { ...question, messages: [{ role: 'user' as const, content: `Count to ${'nine '.repeat(200)}` }] }
    const cached = async (key: string) =>
      (await openai(key).chat.completions.create(asked)).usage?.prompt_tokens_details?.cached_tokens
    expect(await cached(mine.secret)).toBe(0)
    expect(await cached(other.secret)).toBe(0)
    expect(await cached(mine.secret)).toBeGreaterThan(100)
  })

  it('lets no account learn from cached images what another has sent', async () => {
    const [mine, other] = [await keyOf(null), await keyOf(null)]
    const url = dataUrl(await shape('brown', 'square', 90))
    const cached = async (key: string, words: string) => {
      const content = [
        { type: 'text' as const, text: words },
        { type: 'image_url' as const, image_url: { url } },
      ]
      const asked = { ...question, messages: [{ role: 'user' as const, content }], usage: { include: true } }
      const { usage } = await openai(key).chat.completions.create(asked)
      return (usage as Usage | undefined)?.pictures?.map((picture) => picture.cached)
    }
    expect(await cached(mine.secret, 'What is it?')).toEqual([null])
    expect(await cached(mine.secret, 'Describe it.')).toEqual(['encoder'])
    expect(await cached(other.secret, 'Describe it.')).toEqual([null])
  })
})

describe('limits', () => {
  it('are in the headers of each answer, and a refusal says when to come back', async () => {
    const { secret } = await keyOf('small')
    const ask = () => openai(secret).chat.completions.create(question).withResponse()
    const { response } = await ask()
    expect(response.headers.get('x-ratelimit-limit-requests')).toBe('2')
    expect(response.headers.get('x-ratelimit-remaining-requests')).toBe('1')
    expect(response.headers.get('x-ratelimit-over-limit')).toBe('no')
    expect((await ask()).response.headers.get('x-ratelimit-over-limit')).toBe('yes')
    const refused = await ask().catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(OpenAI.RateLimitError)
    const { headers, code } = refused as InstanceType<typeof OpenAI.RateLimitError>
    expect(code).toBe('rate_limit_exceeded')
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('0')
    expect(headers.get('x-ratelimit-over-limit')).toBe('yes')
  })

  it('count tokens of prompts and answers, and images, also of streams', async () => {
    const { secret } = await keyOf('chatty')
    const content = [
      { type: 'text' as const, text: 'What is this?' },
      { type: 'image_url' as const, image_url: { url: red } },
    ]
    const asked = { ...question, messages: [{ role: 'user' as const, content }] }
    const { data, response } = await openai(secret)
      .chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } })
      .withResponse()
    expect(response.headers.get('x-ratelimit-limit-tokens-generated')).toBe('50')
    expect(response.headers.get('x-ratelimit-limit-tokens-prompt')).toBe('100000')
    let prompt = 0
    let generated = 0
    for await (const { usage } of data) {
      prompt += usage?.prompt_tokens ?? 0
      generated += usage?.completion_tokens ?? 0
    }
    expect(generated).toBeGreaterThan(0)
    // The stream is settled when its connection is free again.
    const next = await openai(secret)
      .chat.completions.create({ ...question, max_tokens: 1 })
      .withResponse()
    const left = Number(next.response.headers.get('x-ratelimit-remaining-tokens-generated'))
    expect(left).toBe(50 - generated - 1)
    const leftOfPrompts = Number(next.response.headers.get('x-ratelimit-remaining-tokens-prompt'))
    expect(leftOfPrompts).toBeLessThanOrEqual(100_000 - prompt)
    await openai(secret).chat.completions.create({ ...asked, max_tokens: 1 })
    await expect(openai(secret).chat.completions.create({ ...asked, max_tokens: 1 })).rejects.toMatchObject({
      status: 429,
    })
  })

  it('take a preview for a request without images and tokens', async () => {
    const preview = (key: string) =>
      fetch(`${server.url}/v1/preview`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JSON.stringify({ model: 'pocket', content: Array(3).fill({ type: 'image_url', image_url: red }) }),
      })
    const { headers } = await preview((await keyOf('chatty')).secret)
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('99')
    expect(headers.get('x-ratelimit-remaining-images')).toBe('2')
    const { secret } = await keyOf('small')
    const statuses = [await preview(secret), await preview(secret), await preview(secret)].map(({ status }) => status)
    expect(statuses).toEqual([200, 200, 429])
    expect((await preview('none')).status).toBe(401)
  })

  it('free the place of a client that leaves', async () => {
    const { secret } = await keyOf('single')
    const long = { ...question, max_tokens: 2000, ignore_eos: true, stream: true as const }
    const stream = await openai(secret).chat.completions.create(long)
    for await (const _ of stream) break
    await vi.waitFor(() => openai(secret).chat.completions.create(question), { timeout: 10_000 })
    const first = await openai(secret).chat.completions.create(long)
    await expect(openai(secret).chat.completions.create(question)).rejects.toThrow(OpenAI.RateLimitError)
    first.controller.abort()
  })
})

describe('prices and budgets', () => {
  it('are in the list of models, and the cost in dry runs and usage', async () => {
    const { secret } = await keyOf(null)
    const [pocket] = (await openai(secret).models.list()).data
    expect(pocket).toMatchObject({
      input_token_price_per_m: 2,
      cached_input_token_price_per_m: 1,
      output_token_price_per_m: 10,
      least_image_price: 0.001,
    })
    const extra = { usage: { include: true } } as object
    const { usage } = await openai(secret).chat.completions.create({ ...question, ...extra })
    const { prompt_tokens = 0, completion_tokens = 0 } = usage ?? {}
    expect(usage).toHaveProperty('cost', (prompt_tokens * 2 + completion_tokens * 10) / 1e6)
    let cost: unknown
    const options = { ...question, ...extra, stream: true as const, stream_options: { include_usage: true } }
    for await (const chunk of await openai(secret).chat.completions.create(options)) cost ??= chunk.usage
    expect(cost).toHaveProperty('cost')
  })

  it('end the requests of a key with 402', async () => {
    const { secret } = await keyOf(null, { budget: 1 })
    await openai(secret).chat.completions.create(question)
    await expect(openai(secret).chat.completions.create(question)).rejects.toMatchObject({
      status: 402,
      code: 'key_budget_spent',
    })
    const refused = await fetch(`${server.url}/v1/chat/completions`, {
      ...{ method: 'POST', body: JSON.stringify(question) },
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    })
    // It says when to come again.
    const { error } = (await refused.json()) as { error: { message: string } }
    const [day = ''] = /\d{4}-\d\d-01/.exec(error.message) ?? []
    const wait = Number(refused.headers.get('retry-after')) * 1000
    expect(Math.abs(Date.now() + wait - Date.parse(day))).toBeLessThan(60_000)
    // Novita's documents have 403 for it.
    await expect(openai(secret, '/openai').chat.completions.create(question)).rejects.toThrow(
      OpenAI.PermissionDeniedError,
    )
  })
})

describe('a server without keys', () => {
  const listen = async (host: string, over: OrielSettings['server'] = {}, env: NodeJS.ProcessEnv = {}) => {
    const dataDir = mkdtempSync(path.join(tmpdir(), 'oriel-open-'))
    const settings = { model: [], logLevel: 'silent' as const, server: { port: 0, ...over } }
    const oriel = await createOriel(settings, { env: { ORIEL_DATA_DIR: dataDir, ...env } })
    try {
      return await oriel.listen({ host })
    } finally {
      await oriel.close()
      rmSync(dataDir, { recursive: true, force: true })
    }
  }

  it('listens where only this machine can reach it', async () => {
    for (const host of ['127.0.0.1', 'localhost', '::1', '127.1.2.3'])
      expect(await listen(host)).toMatchObject({ needsKey: false })
    for (const host of ['0.0.0.0', '::'])
      await expect(listen(host)).rejects.toMatchObject({ code: 'keys_needed', kind: 'invalid' })
  })

  it('listens elsewhere if it must, or with a key for its administrator', async () => {
    expect(await listen('0.0.0.0', { insecure: true })).toMatchObject({ needsKey: false })
    expect(await listen('0.0.0.0', {}, { ORIEL_ADMIN_KEY: administrator })).toMatchObject({
      needsKey: true,
    })
  })
})
