import Anthropic from '@anthropic-ai/sdk'
import { betaZodOutputFormat, betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod'
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod'
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import type { message, messageEvent } from '../../src/api/messages/answer.ts'
import type { anthropicModel, anthropicModels } from '../../src/api/models/anthropic.ts'
import { createOriel } from '../../src/app.ts'
import { scriptedBackend, startTurns } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

const clientOf = (url: string) => new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0 })

describe('Anthropic’s client, with the built-in model', () => {
  let oriel: TestServer
  let client: Anthropic
  beforeAll(async () => {
    oriel = await startServer()
    client = clientOf(oriel.url)
  })
  afterAll(() => oriel.close())

  const question = {
    model: 'pocket',
    max_tokens: 100,
    messages: [{ role: 'user' as const, content: 'What colour is the sky?' }],
  }
  const exact = { ...question, temperature: 0 }
  const Sky = z.object({ colour: z.enum(['red', 'blue']), clouds: z.int().min(0).max(9) })

  it('creates, streams and counts messages, beta or not', async () => {
    const whole = await client.messages.create(exact)
    const streamed = await client.messages.stream(exact).finalMessage()
    expect(streamed.content).toMatchObject(whole.content.map((block) => block.type === 'text' && { text: block.text }))
    expect(streamed.usage.output_tokens).toBe(whole.usage.output_tokens)
    const beta = await client.beta.messages.create({ ...exact, betas: ['files-api-2025-04-14'] })
    expect(beta.content).toEqual(whole.content)
    const { input_tokens } = await client.messages.countTokens(question)
    expect(input_tokens).toBe(whole.usage.input_tokens + Number(whole.usage.cache_read_input_tokens))
    expect(await client.beta.messages.countTokens(question)).toMatchObject({ input_tokens })
  })

  it('parses answers that follow a schema', async () => {
    const output_config = { format: zodOutputFormat(Sky) }
    const parsed = await client.messages.parse({ ...question, output_config })
    Sky.parse(parsed.parsed_output)
    const streamed = await client.messages.stream({ ...question, output_config }).finalMessage()
    Sky.parse(streamed.parsed_output)
    const beta = await client.beta.messages.parse({ ...question, output_config: { format: betaZodOutputFormat(Sky) } })
    Sky.parse(beta.parsed_output)
    // Clients of 2025 sent it under another name.
    const { parse: _, ...output_format } = zodOutputFormat(Sky)
    const { content } = await client.post<Anthropic.Message>('/v1/messages', { body: { ...question, output_format } })
    Sky.parse(JSON.parse(content[0]?.type === 'text' ? content[0].text : ''))
  })

  it('lists and retrieves models', async () => {
    const page = await client.models.list()
    expect(page).toMatchObject({ has_more: false, first_id: 'pocket', last_id: 'pocket' })
    expect(page.data.map(({ id }) => id)).toEqual(['pocket'])
    const model = await client.models.retrieve('pocket')
    expect(page.data).toEqual([model])
    expect(model).toMatchObject({ type: 'model', display_name: 'Pocket', max_input_tokens: 4096 })
    expect(new Date(model.created_at).toISOString()).toBe(model.created_at)
    expect(await client.beta.models.retrieve('accounts/oriel/models/pocket')).toEqual(model)
  })

  it('reads errors in its own form from endpoints that it shares, and from unknown ones', async () => {
    await expect(client.models.retrieve('claude')).rejects.toMatchObject({
      status: 404,
      requestID: expect.any(String),
      error: { type: 'error', error: { type: 'not_found_error' }, request_id: expect.any(String) },
    })
    await expect(client.models.list({ limit: 0 })).rejects.toThrow(/limit must be at least 1; found/)
    await expect(client.models.list({ after_id: 'claude' })).rejects.toThrow(/after_id is not the id of a model/)
    await expect(client.messages.batches.list()).rejects.toMatchObject({ error: { type: 'error' } })
  })
})

describe('Anthropic’s client, with any model', () => {
  it('has types for what the server sends', () => {
    type Event = Exclude<z.output<typeof messageEvent>, { type: 'ping' }>
    type Page = z.output<typeof anthropicModels>
    expectTypeOf<z.output<typeof message>>().toExtend<Anthropic.Message>()
    expectTypeOf<Event>().toExtend<Anthropic.RawMessageStreamEvent>()
    expectTypeOf<z.output<typeof anthropicModel>>().toExtend<Anthropic.ModelInfo>()
    expectTypeOf<Page>().toExtend<Pick<Anthropic.ModelInfosPage, keyof Page>>()
  })

  it('runs tools until the model answers', async () => {
    const call = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
    const { url, prompts, close } = await startTurns([call, 'Sunny.'])
    const weather = betaZodTool({
      name: 'get_weather',
      description: 'The weather in a city',
      inputSchema: z.object({ city: z.string() }),
      run: ({ city }) => `sunny in ${city}`,
    })
    const question = { model: 'scripted', max_tokens: 50, tools: [weather] }
    const messages = [{ role: 'user' as const, content: 'How is the weather?' }]
    const last = await clientOf(url).beta.messages.toolRunner({ ...question, messages })
    expect(last.content).toMatchObject([{ type: 'text', text: 'Sunny.' }])
    expect(prompts.at(-1)).toContain('sunny in Paris')
    await close()
  })

  it('pages through models, forwards and backwards', async () => {
    const names = ['a', 'b', 'c', 'd', 'e']
    const all = names.map((id) => ({ ...scriptedBackend(async function* () {}).info, id, aliases: [] }))
    const backends = all.map((info) => ({ ...scriptedBackend(async function* () {}), info }))
    const oriel = await createOriel({ model: [], logLevel: 'silent', server: { port: 0 } }, { backends })
    const { models } = clientOf((await oriel.listen()).url)
    const ids = async (pages: AsyncIterable<{ id: string }>): Promise<string[]> => {
      const found: string[] = []
      for await (const { id } of pages) found.push(id)
      return found
    }
    const listed = (await models.list()).data.map(({ id }) => id)
    expect(listed).toEqual(expect.arrayContaining(names))
    expect(await ids(models.list({ limit: 2 }))).toEqual(listed)
    expect(await models.list({ after_id: listed[0] ?? '', limit: 1 })).toMatchObject({
      data: [{ id: listed[1] }],
      has_more: true,
      first_id: listed[1],
      last_id: listed[1],
    })
    const last = listed.at(-1) ?? ''
    expect(await models.list({ after_id: last })).toMatchObject({ data: [], has_more: false, last_id: null })
    const before = await ids(models.list({ before_id: last, limit: 2 }))
    expect(before.toSorted()).toEqual(listed.slice(0, -1).toSorted())
    await oriel.close()
  })
})
