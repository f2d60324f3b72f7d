import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { z } from 'zod'
import type { NewKey } from '../../src/accounts/index.ts'
import { completionsUsagePage, costsPage } from '../../src/api/usage/organization.ts'
import { usagePage, type usageSum } from '../../src/api/usage/usage.ts'
import { dataUrl, shape } from '../support/images.ts'
import { administrator, type KeyedServer, startKeyed } from '../support/keyed.ts'
import { patient } from '../support/wait.ts'

let server: KeyedServer
let red: string
beforeAll(async () => {
  server = await startKeyed({ prices: { pocket: { input: 2, output: 10, image: 0.001 } } })
  red = dataUrl(await shape('red'))
})
afterAll(() => server.close())

const keyOf = (key: Partial<NewKey> = {}) => server.keyOf(key)

const get = (url: string, secret: string, headers = {}) =>
  fetch(`${server.url}${url}`, { headers: { authorization: `Bearer ${secret}`, ...headers } })

type Sum = z.output<typeof usageSum>

async function usage(url: string, secret: string): Promise<z.output<typeof usagePage>> {
  const response = await get(url, secret)
  const text = await response.text()
  expect(response.status, text).toBe(200)
  return usagePage.parse(JSON.parse(text))
}

/** The sums of an account when the ledger has `requests` of it. */
const used = (secret: string, requests: number, groups = ''): Promise<Sum[]> =>
  vi.waitFor(async () => {
    const { data } = await usage(`/v1/usage?group_by=${groups}`, secret)
    expect(data.reduce((sum, row) => sum + row.requests, 0)).toBe(requests)
    return data
  }, patient)

const openai = (apiKey: string) => new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries: 0 })
const question = { model: 'pocket', max_tokens: 8, messages: [{ role: 'user' as const, content: 'Hello' }] }
const content = () => [
  { type: 'text' as const, text: 'What is in this image?' },
  { type: 'image_url' as const, image_url: { url: red } },
]

describe('GET /v1/usage', () => {
  it('has exactly what the answers said that they took: text, images, streams, choices, every API, and counts', async () => {
    const { secret, account, id } = await keyOf()
    const client = openai(secret)
    const taken = { prompt_tokens: 0, completion_tokens: 0, cached_tokens: 0, image_tokens: 0, images: 0 }
    const add = (usage: OpenAI.CompletionUsage | null | undefined): void => {
      const { prompt_tokens = 0, completion_tokens = 0, prompt_tokens_details: details } = usage ?? {}
      const {
        cached_tokens = 0,
        image_tokens = 0,
        images = [],
      } = (details ?? {}) as {
        cached_tokens?: number
        image_tokens?: number
        images?: number[]
      }
      taken.prompt_tokens += prompt_tokens
      taken.completion_tokens += completion_tokens
      taken.cached_tokens += cached_tokens
      taken.image_tokens += image_tokens
      taken.images += images.length
    }
    add((await client.chat.completions.create(question)).usage)
    add((await client.chat.completions.create({ ...question, n: 3 })).usage)
    for (let turn = 0; turn < 2; turn++)
      add(
        (await client.chat.completions.create({ ...question, messages: [{ role: 'user', content: content() }] })).usage,
      )
    const stream = { ...question, stream: true as const, stream_options: { include_usage: true } }
    for await (const { usage } of await client.chat.completions.create(stream)) add(usage)
    add((await client.completions.create({ model: 'pocket', prompt: ['A', 'B'], max_tokens: 4 })).usage)

    const { usage: response } = await client.responses.create({ model: 'pocket', input: 'Hi', max_output_tokens: 4 })
    taken.prompt_tokens += response?.input_tokens ?? 0
    taken.cached_tokens += response?.input_tokens_details.cached_tokens ?? 0
    taken.completion_tokens += response?.output_tokens ?? 0
    const anthropic = new Anthropic({ baseURL: server.url, apiKey: secret, maxRetries: 0 })
    const { usage: message } = await anthropic.messages.create({ ...question, max_tokens: 4 })
    taken.prompt_tokens += message.input_tokens + (message.cache_read_input_tokens ?? 0)
    taken.cached_tokens += message.cache_read_input_tokens ?? 0
    taken.completion_tokens += message.output_tokens
    await anthropic.messages.countTokens(question)
    await client.post('/tokenize', { body: { model: 'pocket', prompt: 'Hello' } })

    const [sum] = await used(secret, 10)
    expect(sum).toMatchObject({ ...taken, text_tokens: taken.prompt_tokens - taken.image_tokens, audio_tokens: 0 })
    expect(taken.images).toBe(2)
    expect(taken.cached_tokens).toBeGreaterThan(0)

    const byEndpoint = await used(secret, 10, 'endpoint,dialect,key,account,model,status')
    expect(byEndpoint.map(({ endpoint, requests }) => [endpoint, requests])).toEqual([
      ['/v1/chat/completions', 5],
      ['/v1/completions', 1],
      ['/v1/messages', 1],
      ['/v1/messages/count_tokens', 1],
      ['/v1/responses', 1],
      ['/v1/tokenize', 1],
    ])
    for (const row of byEndpoint) expect(row).toMatchObject({ account, key: id, model: 'pocket', status: 200 })
    expect(byEndpoint.reduce((total, row) => total + row.completion_tokens, 0)).toBe(taken.completion_tokens)
    expect(byEndpoint.filter(({ endpoint }) => /tokens|tokenize/.test(endpoint ?? ''))).toMatchObject([
      { prompt_tokens: 0, cost: 0 },
      { prompt_tokens: 0, cost: 0 },
    ])
  })

  it('has the cost that answers said', async () => {
    const { secret } = await keyOf()
    const asked = { ...question, messages: [{ role: 'user' as const, content: content() }], usage: { include: true } }
    const { usage } = await openai(secret).chat.completions.create(asked)
    const { cost } = usage as unknown as { cost: number }
    expect(cost).toBeGreaterThan(0.001)
    expect(await used(secret, 1)).toMatchObject([{ cost }])
  })

  it('has what a stream had generated when its client left', async () => {
    const { secret } = await keyOf()
    const stream = await openai(secret).chat.completions.create({
      ...question,
      ...{ max_tokens: 2000, ignore_eos: true, stream: true as const },
    })
    let chunks = 0
    for await (const { choices } of stream) {
      if (choices[0]?.delta.content) chunks++
      if (chunks === 5) break
    }
    const [sum] = await used(secret, 1, 'status')
    expect(sum?.status).toBe(499)
    const { prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, cost } = sum ?? {}
    expect(completion_tokens).toBeGreaterThanOrEqual(chunks)
    expect(completion_tokens).toBeLessThan(2000)
    const millionths = (prompt_tokens - cached_tokens) * 2 + cached_tokens + completion_tokens * 10
    expect(cost).toBe(millionths / 1_000_000)
  })

  it('counts a refused request once, free of charge', async () => {
    const { secret } = await keyOf()
    const broken = [{ type: 'image_url' as const, image_url: { url: 'data:image/png;base64,AAAA' } }]
    const asked = openai(secret).chat.completions.create({ ...question, messages: [{ role: 'user', content: broken }] })
    const refusal: unknown = await asked.catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(OpenAI.APIError)
    const { status } = refusal as InstanceType<typeof OpenAI.APIError>
    expect(await used(secret, 1, 'status')).toMatchObject([{ status, cost: 0, completion_tokens: 0 }])
  })

  it('is of the own account only, whatever is asked', async () => {
    const [mine, other] = [await keyOf(), await keyOf()]
    for (const { secret } of [mine, other]) await openai(secret).chat.completions.create(question)
    await used(other.secret, 1)
    await used(mine.secret, 1)
    const rows = async (query: string) => (await usage(`/v1/usage?${query}`, mine.secret)).data
    expect(await rows(`group_by=account`)).toMatchObject([{ account: mine.account, requests: 1 }])
    expect(await rows(`key=${other.id}`)).toEqual([])
    expect(await rows(`key=${other.id},${mine.id}&group_by=key`)).toMatchObject([{ key: mine.id }])
    const refused = await get(`/v1/usage?account=${other.account}`, mine.secret)
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('unknown_parameter')])
    const none = await keyOf({ scopes: ['inference'] })
    expect((await get('/v1/usage', none.secret)).status).toBe(403)
    expect((await get('/v1/usage', 'none')).status).toBe(401)
  })

  it('is summed by time', async () => {
    const { secret } = await keyOf()
    await openai(secret).chat.completions.create(question)
    await used(secret, 1)
    const day = new Date().toISOString().slice(0, 10)
    const { data } = await usage(`/v1/usage?group_by=day,model&start_time=${day}`, secret)
    expect(data).toMatchObject([{ start: `${day}T00:00:00.000Z`, model: 'pocket', requests: 1 }])
    expect((await usage(`/v1/usage?group_by=minute&start_time=2020-01-01&end_time=${day}`, secret)).data).toEqual([])
    expect((await usage('/v1/usage?start_time=2090-01-01&end_time=2090-01-02', secret)).data).toEqual([])
  })

  it.each([
    ['group_by=week', 'group_by[0]'],
    ['group_by=day,hour', 'group_by'],
    ['start_time=yesterday', 'start_time'],
    ['start_time=2026-02-30', 'start_time'],
    ['start_time=2090-01-01', 'end_time'],
    ['start_time=2026-02-02&end_time=2026-02-01', 'end_time'],
    ['limit=0', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['page=-1', 'page'],
    ['format=xml', 'format'],
    ['model=%00', 'model[0]'],
    ['groupby=day', 'groupby'],
  ])('refuses ?%s', async (query, param) => {
    const response = await get(`/v1/usage?${query}`, administrator)
    expect(await response.json()).toMatchObject({ error: { param, message: expect.stringMatching(/\.$/) } })
    expect(response.status).toBe(400)
  })
})

describe('usage of all accounts', () => {
  const groups = 2345
  let robot: Awaited<ReturnType<typeof keyOf>>
  beforeAll(async () => {
    robot = await keyOf({ account: 'robot' })
    const who = await server.elsewhere.authenticate(robot.secret)
    for (let model = 0; model < groups; model++) {
      const reservation = await server.elsewhere.admit(who, `model-${model}`, {
        promptTokens: 1,
        generatedTokens: 1,
        images: 0,
      })
      reservation.settle({ endpoint: '/v1/chat/completions', dialect: 'OpenAI', status: 200, textTokens: model })
    }
    await used(robot.secret, groups)
  })
  const total = (groups * (groups - 1)) / 2

  it('is for administrators', async () => {
    for (const url of [
      '/admin/usage',
      '/v1/organization/usage/completions?start_time=0',
      '/v1/organization/costs?start_time=0',
    ])
      expect((await get(url, robot.secret)).status).toBe(403)
    const { data } = await usage('/admin/usage?group_by=account,key', administrator)
    expect(data.find(({ account }) => account === 'robot')).toMatchObject({ key: robot.id, requests: groups })
  })

  it('is read in pages', async () => {
    const rows: Sum[] = []
    for (let page = ''; ; ) {
      const part = await usage(`/admin/usage?account=robot&group_by=model&limit=900${page}`, administrator)
      rows.push(...part.data)
      expect(part.has_more).toBe(part.next_page !== null)
      if (part.next_page === null) break
      page = `&page=${part.next_page}`
    }
    expect(new Set(rows.map(({ model }) => model)).size).toBe(groups)
    expect(rows).toHaveLength(groups)
    expect(rows.reduce((sum, row) => sum + row.text_tokens, 0)).toBe(total)
  })

  it.each([
    ['the parameter format', '&format=csv', {}],
    ['the header Accept', '', { accept: 'text/csv' }],
  ])('is CSV, all of it, with %s', async (_, parameter, headers) => {
    const response = await get(`/admin/usage?account=robot&group_by=day,model${parameter}`, administrator, headers)
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    const [header = '', ...lines] = (await response.text()).trimEnd().split('\r\n')
    const column = header.split(',').indexOf('text_tokens')
    expect(lines).toHaveLength(groups)
    expect(lines.reduce((sum, line) => sum + Number(line.split(',')[column]), 0)).toBe(total)
    expect((await get('/admin/usage?format=csv&model=none', administrator)).headers.get('content-type')).toContain(
      'csv',
    )
  })

  describe("as OpenAI's client reads it", () => {
    const organization = () =>
      new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', adminAPIKey: administrator, maxRetries: 0 }).admin
        .organization.usage
    const today = Math.floor(Date.now() / 86_400_000) * 86_400

    it('is in buckets of days, those without a request included', async () => {
      const answer = await organization().completions({ start_time: today - 2 * 86_400 + 5, project_ids: ['robot'] })
      const { data, has_more, next_page } = completionsUsagePage.parse(answer)
      expect(data.slice(0, 2)).toEqual([
        { object: 'bucket', start_time: today - 2 * 86_400, end_time: today - 86_400, results: [] },
        { object: 'bucket', start_time: today - 86_400, end_time: today, results: [] },
      ])
      expect(data[2]?.results).toEqual([
        {
          object: 'organization.usage.completions.result',
          ...{ input_tokens: total, input_cached_tokens: 0, input_uncached_tokens: total, output_tokens: 0 },
          ...{ input_audio_tokens: 0, output_audio_tokens: 0, num_model_requests: groups },
          ...{ project_id: null, user_id: null, api_key_id: null, model: null, batch: null, service_tier: null },
        },
      ])
      expect({ has_more, next_page }).toEqual({ has_more: false, next_page: null })
    })

    it('is grouped, and goes on in the next page within a bucket that has many results', async () => {
      const results = []
      const pages = []
      for (let page: string | undefined; pages.length === 0 || page !== undefined; ) {
        const answer = await organization().completions({
          start_time: today,
          ...{ api_key_ids: [robot.id], group_by: ['model', 'project_id', 'batch'], ...(page && { page }) },
        })
        const parsed = completionsUsagePage.parse(answer)
        pages.push(parsed.data.map(({ results }) => results.length))
        results.push(...parsed.data.flatMap(({ results }) => results))
        page = parsed.next_page ?? undefined
      }
      expect(pages.flat()).toEqual([2000, groups - 2000])
      expect(new Set(results.map(({ model }) => model)).size).toBe(groups)
      expect(results[0]).toMatchObject({ project_id: 'robot', api_key_id: null, batch: false })
    })

    it.each([
      ['1h', 168, 3600],
      ['1m', 1440, 60],
    ] as const)('is in buckets of %s, page after page', async (bucket_width, limit, seconds) => {
      const start_time = today - 86_400
      const end_time = today + 86_400
      const starts: number[] = []
      let requests = 0
      for (let page: string | undefined | null; page !== null; ) {
        const query = {
          start_time,
          end_time,
          bucket_width,
          limit: limit / 4,
          project_ids: ['robot'],
          ...(page && { page }),
        }
        const { data, next_page } = completionsUsagePage.parse(await organization().completions(query))
        expect(data.length).toBeLessThanOrEqual(limit / 4)
        starts.push(...data.map(({ start_time }) => start_time))
        requests += data.flatMap(({ results }) => results).reduce((sum, result) => sum + result.num_model_requests, 0)
        page = next_page
      }
      expect(starts).toEqual(Array.from({ length: (2 * 86_400) / seconds }, (_, index) => start_time + index * seconds))
      expect(requests).toBe(groups)
    })

    it('has costs by day, which are those of the ledger', async () => {
      const { secret, account } = await keyOf()
      await openai(secret).chat.completions.create(question)
      const [sum] = await used(secret, 1)
      const answer = await organization().costs({ start_time: today, group_by: ['line_item'], project_ids: [account] })
      expect(costsPage.parse(answer).data[0]?.results).toEqual([
        {
          object: 'organization.costs.result',
          amount: { value: sum?.cost, currency: 'xxx' },
          ...{ line_item: 'pocket', project_id: null, api_key_id: null },
        },
      ])
    })

    it('has no batches and no users', async () => {
      const { data } = completionsUsagePage.parse(await organization().completions({ start_time: today, batch: true }))
      expect(data.flatMap(({ results }) => results)).toEqual([])
      const users = organization().completions({ start_time: today, user_ids: ['me'] })
      await expect(users).rejects.toMatchObject({ status: 400, param: 'user_ids' })
    })

    it.each([
      ['usage/completions', '', 'start_time'],
      ['usage/completions', 'start_time=0&limit=32', 'limit'],
      ['usage/completions', 'start_time=0&bucket_width=1w', 'bucket_width'],
      ['usage/completions', 'start_time=0&group_by=line_item', 'group_by[0]'],
      ['usage/completions', 'start_time=0&page=page_1_0', 'page'],
      ['usage/completions', 'start_time=0&page=next', 'page'],
      ['usage/completions', `start_time=${today}&end_time=${today}`, 'end_time'],
      ['costs', 'start_time=0&limit=181', 'limit'],
      ['costs', 'start_time=0&bucket_width=1h', 'bucket_width'],
    ])('refuses %s?%s', async (url, query, param) => {
      const response = await get(`/v1/organization/${url}?${query}`, administrator)
      expect(await response.json()).toMatchObject({ error: { param, message: expect.stringMatching(/\.$/) } })
      expect(response.status).toBe(400)
    })
  })
})
