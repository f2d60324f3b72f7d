import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accountModel, accountModelList } from '../../src/api/models/accounts.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { startWords } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let client: OpenAI
let red: string
beforeAll(async () => {
  server = await startServer()
  client = new OpenAI({ baseURL: server.url, apiKey: 'none', maxRetries: 0 })
  red = dataUrl(await shape('red'))
})
afterAll(() => server.close())

const report = {
  name: 'report',
  parameters: {
    type: 'object',
    properties: { colour: { type: 'string', enum: ['red', 'green', 'blue'] } },
    required: ['colour'],
    additionalProperties: false,
  },
}
const asked = () => ({
  model: 'pocket',
  max_tokens: 200,
  messages: [
    {
      role: 'user' as const,
      content: [
        { type: 'image_url' as const, image_url: { url: red } },
        { type: 'text' as const, text: 'Report the color.' },
      ],
    },
  ],
})

describe('a client that knows functions and no tools', () => {
  it('gets a function_call, whole and streamed', async () => {
    const body = { ...asked(), functions: [report], function_call: { name: 'report' } }
    const { choices } = await client.chat.completions.create(body)
    expect(choices).toMatchObject([
      { finish_reason: 'function_call', message: { content: null, function_call: { name: 'report' } } },
    ])
    expect(choices[0]?.message).not.toHaveProperty('tool_calls')
    expect(JSON.parse(choices[0]?.message.function_call?.arguments ?? '')).toEqual({ colour: expect.any(String) })
    const call = { name: '', arguments: '' }
    const reasons: unknown[] = []
    for await (const { choices } of await client.chat.completions.create({ ...body, stream: true }))
      for (const { delta, finish_reason } of choices) {
        call.name += delta.function_call?.name ?? ''
        call.arguments += delta.function_call?.arguments ?? ''
        reasons.push(finish_reason)
      }
    expect([call.name, Object.keys(JSON.parse(call.arguments))]).toEqual(['report', ['colour']])
    expect(reasons.at(-1)).toBe('function_call')
  })

  it('sends the result as a message of the role function', async () => {
    const { url, close, promptText } = await startWords(['Good.'])
    try {
      const answer = await postJson(`${url}/v1/chat/completions`, {
        model: 'scripted',
        functions: [report],
        messages: [
          { role: 'user', content: 'Report it.' },
          { role: 'assistant', content: null, function_call: { name: 'report', arguments: '{"colour": "red"}' } },
          { role: 'function', name: 'report', content: 'reported' },
        ],
      })
      expect(answer.status).toBe(200)
      expect(promptText()).toMatch(/"name":"report","arguments":\{"colour":"red"\}.*<tool_response>\nreported/s)
    } finally {
      await close()
    }
  })

  it.each([
    [{ functions: [report, report] }, 'functions', 'functions has two functions named "report".'],
    [{ functions: [report], function_call: { name: 'no' } }, 'function_call', 'which is not in functions'],
    [{ functions: [report], tools: [] }, 'functions', 'functions and tools are both present'],
    [
      { functions: [{ name: 'a', parameters: { type: 3 } }], function_call: { name: 'a' } },
      'functions[0].parameters',
      '',
    ],
  ])('is refused in its own words: %j', async (more, param, message) => {
    const answer = await postJson(`${server.url}/v1/chat/completions`, { ...asked(), ...more })
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      { error: { param, message: expect.stringContaining(message) } },
    ])
  })
})

describe("Fireworks' clients", () => {
  it('list the models of an account, page by page', async () => {
    for (const base of ['/v1', '/inference/v1']) {
      const list = await (await fetch(`${server.url}${base}/accounts/fireworks/models?pageSize=1`)).json()
      const { models, nextPageToken } = accountModelList.parse(list)
      expect([models, nextPageToken]).toMatchObject([
        [{ name: 'accounts/fireworks/models/pocket', state: 'READY', contextLength: 4096, supportsImageInput: true }],
        '',
      ])
    }
    const past = await fetch(`${server.url}/v1/accounts/fireworks/models?pageToken=9`)
    expect([past.status, await past.json()]).toMatchObject([400, { error: { object: 'error', param: 'pageToken' } }])
  })

  it('get one model by its name, and ask it', async () => {
    const one = await (await fetch(`${server.url}/v1/accounts/me/models/pocket`)).json()
    const { name } = accountModel.parse(one)
    expect(name).toBe('accounts/me/models/pocket')
    expect(await client.chat.completions.create({ ...asked(), model: name })).toMatchObject({ model: name })
    const missing = await fetch(`${server.url}/v1/accounts/me/models/none`)
    expect([missing.status, await missing.json()]).toMatchObject([404, { error: { object: 'error' } }])
  })

  it('leave max_tokens out of messages, which only they may', async () => {
    const body = { model: 'pocket', messages: [{ role: 'user', content: 'Hello' }] }
    expect((await postJson(`${server.url}/inference/v1/messages`, body)).status).toBe(200)
    const refused = await postJson(`${server.url}/v1/messages`, body)
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { error: { message: 'max_tokens must be a number; found nothing.' } },
    ])
  })
})

describe('a request', () => {
  it('for more tokens than fit is refused with the number that would fit, which then does', async () => {
    const messages = [{ role: 'user' as const, content: 'Hello' }]
    const most = await client.chat.completions
      .create({ model: 'pocket', messages, max_tokens: 5000 })
      .catch((error: Error) => {
        return Number(/at most (\d+) would fit/.exec(error.message)?.[1])
      })
    expect(
      await client.chat.completions.create({ model: 'pocket', messages, max_tokens: most as number }),
    ).toMatchObject({
      choices: [{ finish_reason: 'stop' }],
    })
  })

  it('may leave /v1 out of its URL', async () => {
    const { data } = await client.models.list()
    expect(data).toMatchObject([{ id: 'pocket' }])
    for (const path of ['/completions', '/responses', '/messages', '/tokenize']) {
      const answer = await postJson(server.url + path, {
        model: 'none',
        prompt: 'a',
        input: 'a',
        max_tokens: 1,
        messages: [],
      })
      expect([400, 404]).toContain(answer.status)
      expect(JSON.stringify(await answer.json())).not.toContain('Unknown URL')
    }
  })
})
